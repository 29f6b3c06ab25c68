package stage

import (
	"context"
	"io"

	"posthouse/mail"
	"posthouse/mail/smtp"
)

// Sanity looks at the form of a message. By default only several From fields refuse it, since a reader would see one author and a filter
// may have judged another; all else that RFC 5322 §3.6 forbids comes from honest senders every day, and is tagged.
type Sanity struct {
	From     Action // on several From fields
	EightBit Action // on octets above 127 that the client has not announced by SMTPUTF8 or 8BITMIME
	Other    Action // on a field that is missing, or there twice
}

// Name is Stage. It is named after what it looks at.
func (Sanity) Name() string { return "header" }

var (
	severalFrom  = smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{5, 6, 0}, Text: "the message must have one From field"}                // RFC 5322 §3.6.2
	notAnnounced = smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{5, 6, 3}, Text: "8-bit content needs BODY=8BITMIME, or SMTPUTF8"}      // RFC 6152 §3
	badHeader    = smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{5, 6, 0}, Text: "a field of the header is missing, or is there twice"} // RFC 5322 §3.6
)

// Judge is DataStage.
func (s Sanity) Judge(_ context.Context, m *Message) Verdict {
	h := m.Header
	switch {
	case h.FromFields > 1:
		return Verdict{Result: "several-from"}.by(s.From, severalFrom)
	case !m.Envelope.UTF8 && h.eightBit:
		return Verdict{Result: "eight-bit-header"}.by(s.EightBit, notAnnounced)
	case !m.Envelope.UTF8 && m.Envelope.Body == mail.Body7Bit && s.EightBit != Accept && isEightBit(m):
		return Verdict{Result: "eight-bit-body"}.by(s.EightBit, notAnnounced)
	case h.FromFields == 0:
		return Verdict{Result: "no-from"}.by(s.Other, badHeader)
	case h.dates == 0:
		return Verdict{Result: "no-date"}.by(s.Other, badHeader)
	case h.dates > 1:
		return Verdict{Result: "several-date"}.by(s.Other, badHeader)
	case h.messageIDs > 1:
		return Verdict{Result: "several-message-id"}.by(s.Other, badHeader)
	}
	return Verdict{Result: "pass"}
}

// isEightBit tells whether there is an octet above 127 in the message. What cannot be read now is found out when it is committed.
func isEightBit(m *Message) bool {
	buf := make([]byte, min(m.Size, 32<<10))
	for r := io.NewSectionReader(m.Content, 0, m.Size); ; {
		n, err := r.Read(buf)
		if !mail.IsASCII(buf[:n]) {
			return true
		}
		if err != nil {
			return false
		}
	}
}
