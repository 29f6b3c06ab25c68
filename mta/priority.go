package mta

import (
	"posthouse/mail/smtp"
)

// priorities is MT-PRIORITY: RFC 6710 §3.
func priorities() extension {
	return extension{name: "MT-PRIORITY", rfc: "RFC 6710", bit: smtp.MTPriority, mail: prioritize}
}

// prioritize takes any priority from our users and the networks we relay for. Nobody else's mail goes before theirs: it is lowered to
// that of mail without one (RFC 6710 §4.1), and the reply to the message says so.
func prioritize(s *session, m *smtp.Mail, t *transaction) smtp.Reply {
	t.env.Priority = m.Priority
	if m.Priority > 0 && s.account.ID == "" && !s.trusted {
		t.env.Priority, t.lowered = 0, true
	}
	return smtp.Reply{}
}

// saysPriority makes the reply to a message tell the priority it got instead of the one it asked for (RFC 6710 §4.1): the first
// word of its text is the new one.
func (t *transaction) saysPriority(r smtp.Reply) smtp.Reply {
	if t.lowered && r.Positive() {
		r.Enhanced, r.Text = smtp.Enhanced{2, 3, 6}, "0 is the priority of the message, "+r.Text
	}
	return r
}
