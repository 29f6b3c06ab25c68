package mta

import (
	"context"
	"strings"

	"posthouse/mail/smtp"
)

// greeting is what a client said of itself.
type greeting struct {
	name     string          // empty: it has not greeted yet
	extended bool            // by EHLO or LHLO
	offered  smtp.Extensions // what we answered
}

// ehlo is EHLO and LHLO: RFC 5321 §4.1.1.1, RFC 2033 §4.1. It ends a transaction, as RSET does (§4.1.4).
func ehlo(ctx context.Context, s *session, args []byte) answer {
	name, err := smtp.ParseHello(args)
	if err != nil {
		return say(replyTo(err))
	}
	s.endTransaction()
	if r := s.judgeHello(ctx, name); r.Code != 0 {
		s.hello = greeting{}
		return sayAll(r)
	}
	s.hello = greeting{name: name, extended: true}
	lines := []string{s.server.opts.Hostname}
	for i := range s.server.extensions {
		if e := &s.server.extensions[i]; e.isOffered(s) {
			s.hello.offered |= e.bit
			lines = append(lines, e.line(s))
		}
	}
	return say(smtp.Reply{Code: 250, Text: strings.Join(lines, "\n")})
}

// helo is HELO: RFC 5321 §4.1.1.1. Without extensions.
func helo(ctx context.Context, s *session, args []byte) answer {
	name, err := smtp.ParseHello(args)
	if err != nil {
		return say(replyTo(err))
	}
	s.endTransaction()
	if r := s.judgeHello(ctx, name); r.Code != 0 {
		s.hello = greeting{}
		return sayAll(r)
	}
	s.hello = greeting{name: name}
	return say(smtp.Reply{Code: 250, Text: s.server.opts.Hostname})
}
