package mta

import (
	"context"

	"posthouse/mail/smtp"
)

// vrfy is VRFY and EXPN: RFC 5321 §3.5. They tell nobody who is here (§7.3).
func vrfy(_ context.Context, _ *session, args []byte) answer {
	if len(args) == 0 {
		return say(replyTo(smtp.ErrSyntax))
	}
	return say(replyCannotSay)
}
