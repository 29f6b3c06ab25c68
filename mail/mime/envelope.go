package mime

// envelopeFields are the fields of an ENVELOPE, by name in lower case: RFC 9051 §7.5.2.
var envelopeFields = map[string]func(*keeper, *Envelope, []byte){
	"date":        func(k *keeper, e *Envelope, v []byte) { e.text(k, HasDate, &e.Date, v) },
	"subject":     func(k *keeper, e *Envelope, v []byte) { e.text(k, HasSubject, &e.Subject, v) },
	"in-reply-to": func(k *keeper, e *Envelope, v []byte) { e.text(k, HasInReplyTo, &e.InReplyTo, v) },
	"message-id":  func(k *keeper, e *Envelope, v []byte) { e.text(k, HasMessageID, &e.MessageID, v) },
	"from":        func(k *keeper, e *Envelope, v []byte) { first(k, &e.From, v) },
	"sender":      func(k *keeper, e *Envelope, v []byte) { first(k, &e.Sender, v) },
	"reply-to":    func(k *keeper, e *Envelope, v []byte) { first(k, &e.ReplyTo, v) },
	"to":          func(k *keeper, e *Envelope, v []byte) { all(k, &e.To, v) },
	"cc":          func(k *keeper, e *Envelope, v []byte) { all(k, &e.Cc, v) },
	"bcc":         func(k *keeper, e *Envelope, v []byte) { all(k, &e.Bcc, v) },
}

// text sets a text the first time its field is seen.
func (e *Envelope) text(k *keeper, bit Present, dst *string, value []byte) {
	if e.Present&bit == 0 {
		e.Present |= bit
		*dst = k.text(value)
	}
}

func first(k *keeper, dst *[]Address, value []byte) {
	if *dst == nil {
		*dst = parseAddresses(k, value)
	}
}

// all adds the addresses of a field that stands several times, as if it were one.
func all(k *keeper, dst *[]Address, value []byte) {
	more := parseAddresses(k, value)
	if len(*dst)+len(more) <= MaxAddresses {
		*dst = append(*dst, more...)
	}
}

// AppendEnvelope appends the envelope of RFC 9051 §7.5.2.
func AppendEnvelope(b []byte, e *Envelope) []byte {
	sender, replyTo := e.Sender, e.ReplyTo
	if len(sender) == 0 {
		sender = e.From
	}
	if len(replyTo) == 0 {
		replyTo = e.From
	}
	b = append(b, '(')
	b = e.appendText(b, HasDate, e.Date)
	b = append(b, ' ')
	b = e.appendText(b, HasSubject, e.Subject)
	for _, list := range [...][]Address{e.From, sender, replyTo, e.To, e.Cc, e.Bcc} {
		b = append(b, ' ')
		b = appendAddresses(b, list)
	}
	b = append(b, ' ')
	b = e.appendText(b, HasInReplyTo, e.InReplyTo)
	b = append(b, ' ')
	b = e.appendText(b, HasMessageID, e.MessageID)
	return append(b, ')')
}

func (e *Envelope) appendText(b []byte, bit Present, s string) []byte {
	if e.Present&bit != 0 {
		return appendString(b, s)
	}
	return appendNString(b, s)
}

func appendAddresses(b []byte, list []Address) []byte {
	if len(list) == 0 {
		return append(b, "NIL"...)
	}
	b = append(b, '(')
	for i := range list {
		b = appendAddress(b, &list[i])
	}
	return append(b, ')')
}

// appendAddress appends "(" name SP adl SP mailbox SP host ")". Only a group's marks have no host.
func appendAddress(b []byte, a *Address) []byte {
	switch a.Group {
	case GroupStart:
		b = append(b, "(NIL NIL "...)
		b = appendString(b, a.Mailbox)
		return append(b, " NIL)"...)
	case GroupEnd:
		return append(b, "(NIL NIL NIL NIL)"...)
	}
	b = append(b, '(')
	b = appendNString(b, a.Name)
	b = append(b, " NIL "...)
	b = appendString(b, a.Mailbox)
	b = append(b, ' ')
	b = appendString(b, a.Host)
	return append(b, ')')
}
