package mta

import (
	"strconv"
	"time"

	"posthouse/mail"
	"posthouse/mail/smtp"
)

// maxHold is how far ahead a message may be submitted.
const maxHold = 30 * 24 * time.Hour

// futureRelease is FUTURERELEASE: RFC 4865 §3, an extension of submission and of nothing else (§4.2).
func futureRelease() extension {
	return extension{
		name:    "FUTURERELEASE",
		rfc:     "RFC 4865",
		bit:     smtp.FutureRelease,
		offered: func(s *session) bool { return s.server.traits.submission },
		params: func(*session) string {
			return strconv.Itoa(int(maxHold/time.Second)) + " " + time.Now().Add(maxHold).UTC().Format(time.RFC3339)
		},
		mail: hold,
	}
}

// hold puts off the first attempt. A time in the past is no time to hold a message until, and one to be delivered before its release is
// a contradiction (RFC 4865 §4.2, §5.2.2).
func hold(_ *session, m *smtp.Mail, t *transaction) smtp.Reply {
	if m.HoldFor == 0 && m.HoldUntil.IsZero() {
		return smtp.Reply{}
	}
	until, asked := m.HoldUntil, "until;"+m.HoldUntil.Format(time.RFC3339Nano)
	if m.HoldFor > 0 {
		until, asked = t.env.Received.Add(m.HoldFor), "for;"+strconv.FormatInt(int64(m.HoldFor/time.Second), 10)
	}
	ahead := until.Sub(t.env.Received)
	if ahead < 0 || ahead > maxHold || t.env.By != nil && t.env.By.Time.Before(until) {
		return replyHold
	}
	t.env.NotBefore, t.env.Hold = until, asked
	return smtp.Reply{}
}

// holdForUndo lets a message of our user's wait for a moment, unless that would make it late (RFC 2852).
func (s *session) holdForUndo(env *mail.Envelope) {
	window := s.server.opts.UndoWindow
	until := env.Received.Add(window)
	if window > 0 && s.account.ID != "" && s.server.traits.submission && env.NotBefore.Before(until) && (env.By == nil || env.By.Time.After(until)) {
		env.NotBefore = until
	}
}
