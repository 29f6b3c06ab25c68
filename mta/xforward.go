package mta

import (
	"context"
	"net/netip"
	"strings"

	"posthouse/mail"
	"posthouse/mail/smtp"
)

// xforward is XFORWARD, as Postfix documents it in XFORWARD_README: where the next message came from before the filter that hands it on.
// It says whose the message is, for the log and the trace: it gives no rights, and who is judged is the filter.
func xforward() extension {
	return extension{
		name:    "XFORWARD",
		rfc:     "XFORWARD_README",
		bit:     smtp.XForward,
		offered: (*session).fromProxy,
		params:  func(*session) string { return strings.Join(xforwardNames, " ") },
		verbs:   []verb{{"XFORWARD", "XFORWARD_README", needsHello, runXForward}},
		mail: func(s *session, _ *smtp.Mail, t *transaction) smtp.Reply {
			s.forwarded.setOrigin(&t.env.Origin)
			return smtp.Reply{}
		},
	}
}

// runXForward adds to what was said since the last message.
func runXForward(_ context.Context, s *session, args []byte) answer {
	if s.tx != nil {
		return say(replyInMail)
	}
	var c proxied
	if s.forwarded != nil {
		c = *s.forwarded
	}
	if err := c.read(args, xforwardNames); err != nil {
		return say(replyTo(smtp.ErrSyntax))
	}
	s.forwarded = &c
	s.log.Info("message forwarded", "name", c.name, "address", c.addr, "helo", c.helo, "ident", c.ident, "source", c.source)
	return say(replyOK)
}

// setOrigin puts what a filter said of a message in the place of what we see of the filter; nil: it said nothing.
func (c *proxied) setOrigin(o *mail.Origin) {
	if c == nil {
		return
	}
	if c.addr.IsValid() {
		o.Remote = netip.AddrPortFrom(c.addr, c.port)
	}
	if c.helo != "" {
		o.HELO = c.helo
	}
}
