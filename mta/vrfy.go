package mta

import (
	"context"
	"errors"
	"strings"

	"posthouse/directory"
	"posthouse/mail"
	"posthouse/mail/smtp"
)

// maxListed is how many targets of an alias EXPN tells.
const maxListed = 100

// vrfy is VRFY: RFC 5321 §3.5. It tells our users who is here, and nobody else (§7.3).
func vrfy(ctx context.Context, s *session, args []byte) answer {
	return say(s.tell(ctx, args, func(a mail.Address, _ []mail.Address) []mail.Address { return []mail.Address{a} }))
}

// expn is EXPN: RFC 5321 §3.5. It tells our users whom an alias stands for.
func expn(ctx context.Context, s *session, args []byte) answer {
	return say(s.tell(ctx, args, func(a mail.Address, targets []mail.Address) []mail.Address {
		if len(targets) == 0 {
			return []mail.Address{a}
		}
		return targets
	}))
}

// utf8Word is the parameter of VRFY and EXPN.
const utf8Word = " SMTPUTF8"

// tell answers a question about an address with what pick makes of it and of the targets it has as an alias.
func (s *session) tell(ctx context.Context, args []byte, pick func(mail.Address, []mail.Address) []mail.Address) smtp.Reply {
	if len(args) == 0 {
		return replyTo(smtp.ErrSyntax)
	}
	if s.account.ID == "" {
		return replyCannotSay
	}
	// RFC 6531 §3.7.4.2: whoever asks with SMTPUTF8 can read such an answer.
	text, utf8 := string(args), false
	if i := len(text) - len(utf8Word); i > 0 && strings.EqualFold(text[i:], utf8Word) {
		text, utf8 = text[:i], true
	}
	a, err := mail.ParseAddress(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(text), "<"), ">"))
	if err != nil {
		return replyTo(smtp.ErrPath)
	}
	res, err := s.server.opts.Directory.Resolve(ctx, a)
	switch {
	case errors.Is(err, directory.ErrNotLocal):
		return replyCannotSay
	case err != nil:
		return replyTo(err)
	}
	list := pick(a, res.Targets)
	if len(list) > maxListed {
		return replyCannotSay
	}
	lines := make([]string, len(list))
	for i, a := range list {
		if a.NeedsUTF8() && !utf8 {
			return replyNeedsUTF8
		}
		lines[i] = "<" + a.String() + ">"
	}
	return reply(250, smtp.Enhanced{2, 1, 5}, strings.Join(lines, "\n"))
}
