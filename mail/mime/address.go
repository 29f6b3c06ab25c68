package mime

import "bytes"

// ParseAddresses reads an address list (RFC 5322 §3.4, §4.4). It never fails: what is no address becomes the mailbox of one without
// a host. At most MaxAddresses are read, groups' marks counted.
func ParseAddresses(value []byte) []Address {
	return parseAddresses(&keeper{left: MaxKept}, value)
}

func parseAddresses(k *keeper, value []byte) []Address {
	l := addressList{in: value[:min(len(value), MaxField)], keeper: k, at: -1}
	for len(l.in) > 0 && len(l.out) < MaxAddresses-2 {
		l.step()
	}
	l.endAddress()
	l.endGroup()
	return l.out
}

// addressList reads addresses. What stands before "<", ":" or a separator gathers in text, unquoted.
type addressList struct {
	in     []byte // what is left
	keeper *keeper
	out    []Address

	text    []byte
	at      int  // of the last unquoted "@" in text; -1: none
	space   bool // white space stood before what comes
	comment []byte
	angle   *Address // of "<…>", once read
	inGroup bool
}

// step reads one lexical token.
func (l *addressList) step() {
	switch c := l.in[0]; c {
	case ' ', '\t', '\r', '\n', 0:
		l.in, l.space = l.in[1:], true
	case '(':
		end := commentEnd(l.in)
		l.comment = appendComment(l.comment[:0], l.in[:end])
		l.in, l.space = l.in[end:], true
	case ',':
		l.in = l.in[1:]
		l.endAddress()
	case ';': // RFC 5322 ends a group by it; some senders separate by it
		l.in = l.in[1:]
		l.endAddress()
		l.endGroup()
	case ':':
		l.in = l.in[1:]
		l.startGroup()
	case '<':
		if l.angle != nil { // no comma between two: whoever judges authors must see both
			l.endAddress()
		}
		l.in = l.in[1:]
		l.readAngle()
	case '>':
		l.in = l.in[1:]
	default:
		l.word()
	}
}

// word adds one word, quoted string, domain literal or single octet to text.
func (l *addressList) word() {
	if l.space && len(l.text) > 0 {
		l.text = append(l.text, ' ')
	}
	l.space = false
	switch c := l.in[0]; c {
	case '"':
		var s []byte
		s, l.in = cutQuoted(l.in)
		l.text = append(l.text, s...)
	case '[':
		end := bytes.IndexByte(l.in, ']') + 1
		if end == 0 {
			end = len(l.in)
		}
		l.text = AppendUnfolded(l.text, l.in[:end])
		l.in = l.in[end:]
	case '@':
		l.at = len(l.text)
		l.text, l.in = append(l.text, c), l.in[1:]
	case '\\':
		l.in = l.in[1:]
		if len(l.in) > 0 {
			l.text, l.in = append(l.text, l.in[0]), l.in[1:]
		}
	default:
		end := bytes.IndexAny(l.in, " \t\r\n\x00(,;:<>\"[@\\")
		if end < 0 {
			end = len(l.in)
		}
		l.text, l.in = append(l.text, l.in[:end]...), l.in[end:]
	}
}

// readAngle reads the rest of "<" [route ":"] addr-spec ">". The text before it is the name.
func (l *addressList) readAngle() {
	spec := addressList{in: l.in, keeper: l.keeper, at: -1}
	for len(spec.in) > 0 {
		switch spec.in[0] {
		case '>':
			l.in = spec.in[1:]
			l.angle = new(spec.addrSpec())
			return
		case ':': // the end of an obsolete route: RFC 5322 §4.4
			spec.in, spec.text, spec.at = spec.in[1:], nil, -1
		case ',':
			if len(spec.text) == 0 || spec.text[0] != '@' { // not in a route: the ">" is missing
				l.in, l.angle = spec.in, new(spec.addrSpec())
				return
			}
			spec.in = spec.in[1:]
		case ';', '<':
			spec.in = spec.in[1:]
		case '(':
			spec.in = spec.in[commentEnd(spec.in):]
		case ' ', '\t', '\r', '\n', 0:
			spec.in, spec.space = spec.in[1:], true
		default:
			spec.word()
		}
	}
	l.in, l.angle = nil, new(spec.addrSpec())
}

// addrSpec is local-part@domain in text.
func (l *addressList) addrSpec() Address {
	if l.at < 0 {
		return Address{Mailbox: l.keeper.keep(trimDots(l.text))}
	}
	host := trimDots(l.text[l.at+1:])
	if len(host) > 0 && host[0] != '[' {
		host, _, _ = bytes.Cut(host, []byte{' '})
	}
	return Address{Mailbox: l.keeper.keep(trimDots(l.text[:l.at])), Host: l.keeper.keep(host)}
}

// trimDots takes away the space that RFC 5322 §4.4 lets stand around dots, and around it all.
func trimDots(b []byte) []byte {
	b = bytes.TrimSpace(b)
	if !bytes.Contains(b, []byte(" .")) && !bytes.Contains(b, []byte(". ")) {
		return b
	}
	b = bytes.ReplaceAll(b, []byte(" ."), []byte{'.'})
	return bytes.ReplaceAll(b, []byte(". "), []byte{'.'})
}

// endAddress files what was read since the last separator.
func (l *addressList) endAddress() {
	switch {
	case l.angle != nil:
		l.angle.Name = l.name()
		l.out = append(l.out, *l.angle)
	case len(l.text) > 0:
		a := l.addrSpec()
		l.text = l.text[:0]
		a.Name = l.name()
		l.out = append(l.out, a)
	}
	l.reset()
}

// name is the display name: the phrase, or the comment that older senders wrote in its place.
func (l *addressList) name() string {
	if len(l.text) > 0 {
		return l.keeper.keep(l.text)
	}
	return l.keeper.keep(l.comment)
}

func (l *addressList) reset() {
	l.text, l.comment, l.at, l.space, l.angle = l.text[:0], l.comment[:0], -1, false, nil
}

// startGroup makes the text a group's name. Groups do not nest: inside one the ":" is text.
func (l *addressList) startGroup() {
	if l.inGroup || l.angle != nil {
		l.text = append(l.text, ':')
		return
	}
	l.inGroup = true
	l.out = append(l.out, Address{Mailbox: l.keeper.keep(l.text), Group: GroupStart})
	l.reset()
}

func (l *addressList) endGroup() {
	if l.inGroup {
		l.inGroup = false
		l.out = append(l.out, Address{Group: GroupEnd})
	}
}

// appendComment appends what stands between the outer parentheses, unquoted and unfolded.
func appendComment(b, comment []byte) []byte {
	comment = bytes.TrimSuffix(comment[1:], []byte{')'})
	start := len(b)
	for i := 0; i < len(comment); i++ {
		if comment[i] == '\\' && i+1 < len(comment) {
			i++
		}
		b = append(b, comment[i])
	}
	return append(b[:start], AppendUnfolded(nil, b[start:])...)
}
