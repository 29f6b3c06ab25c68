package stage

import (
	"context"
	"time"

	"posthouse/internal/limit"
	"posthouse/mail"
	"posthouse/mail/smtp"
)

const (
	recipientWindow = time.Hour
	maxRecipients   = 100_000 // addresses whose mail is counted at once
)

// Recipient bounds how much mail one address gets in an hour, so that somebody whom another floods by way of many servers is left with
// a mailbox. That there is such an address the directory has said before. Only what was taken counts: otherwise RCPT alone would be a way
// to keep mail from somebody.
type Recipient struct {
	most int
	seen *limit.Window[mail.Address]
}

// NewRecipient makes the stage, which lets so many messages an hour through to each address.
func NewRecipient(perHour int) *Recipient {
	return &Recipient{perHour, limit.NewWindow[mail.Address](recipientWindow, maxRecipients)}
}

// Name is Stage.
func (*Recipient) Name() string { return "recipient" }

var flooded = smtp.Reply{Code: 450, Enhanced: smtp.Enhanced{4, 2, 1}, Text: "the mailbox gets too much mail now, try again later"}

// Rcpt is RcptStage.
func (s *Recipient) Rcpt(_ context.Context, m *Message, to mail.Address) Verdict {
	to = to.FoldLocal()
	if s.seen.Count(to, time.Now()) >= s.most {
		return Verdict{Result: "flooded", Detail: to.String()}.answered(flooded)
	}
	m.named = append(m.named, to)
	return Verdict{}
}

// Taken is TakenStage.
func (s *Recipient) Taken(m *Message) {
	now, counted := time.Now(), map[mail.Address]bool{}
	for _, to := range m.named {
		if !counted[to] {
			counted[to] = true
			s.seen.Add(to, 1, now)
		}
	}
}
