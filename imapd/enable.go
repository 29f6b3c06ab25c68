package imapd

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
)

func enable() extension {
	return extension{
		name: "ENABLE", rfc: "RFC 5161",
		commands: []command{{name: "ENABLE", rfc: "RFC 9051 §6.3.1", in: loggedIn, parse: parseEnable}},
	}
}

type enableCommand struct{ names []imap.Cap }

func parseEnable(p *parser) (runner, error) {
	c := &enableCommand{}
	for !p.AtEnd() {
		var name string
		if !p.SP() || !p.Atom(&name) {
			return nil, p.Err()
		}
		c.names = append(c.names, imap.Cap(strings.ToUpper(name)))
	}
	if c.names == nil && !p.SP() {
		return nil, p.Err()
	}
	return c, nil
}

// run enables what can be, and passes over the rest: RFC 9051 §6.3.1.
func (c *enableCommand) run(_ context.Context, s *session) (reply, error) {
	var enabled []extension
	b := append(s.out.Available(), "* ENABLED"...)
	for _, e := range s.table.extensions {
		if e.enable != nil && slices.Contains(c.names, imap.Cap(strings.ToUpper(e.name))) {
			enabled = append(enabled, e)
			b = append(append(b, ' '), e.name...)
		}
	}
	err := s.out.Advance(append(b, "\r\n"...))
	for _, e := range enabled {
		err = errors.Join(err, e.enable(s))
	}
	return reply{}, err
}
