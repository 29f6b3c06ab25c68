package mta

import (
	"context"
	"fmt"

	"posthouse/mail/smtp"
)

// limits is LIMITS: RFC 9422. It says what is enforced, and nothing else: recipients of a message, and messages of a session.
func limits() extension {
	return extension{name: "LIMITS", rfc: "RFC 9422", bit: smtp.Limits, mail: countMail, params: func(s *session) string {
		l := &s.server.opts.Limits
		return fmt.Sprintf("MAILMAX=%d RCPTMAX=%d", l.Messages, l.Recipients)
	}}
}

// countMail counts MAIL commands that were good, and refuses the first beyond MAILMAX.
func countMail(s *session, _ *smtp.Mail, _ *transaction) smtp.Reply {
	if s.mails >= s.server.opts.Limits.Messages {
		return replyManyMails
	}
	s.mails++
	return smtp.Reply{}
}

// sayAll ends the session after a refusal that would be that of all further commands too.
func sayAll(r smtp.Reply) answer {
	a := say(r)
	if r.Code == 421 {
		a.then = func(context.Context, *session) (answer, error) { return answer{}, errRefused }
	}
	return a
}
