package imapd

import (
	"context"
	"log/slog"
)

func id() extension {
	return extension{
		name: "ID", rfc: "RFC 2971",
		commands: []command{{name: "ID", rfc: "RFC 2971 §3.1", in: anyState, beside: true, parse: parseID}},
	}
}

type idCommand struct{ pairs []any } // as the log takes them

func parseID(p *parser) (runner, error) {
	c := &idCommand{}
	if !p.SP() || !p.Word("NIL") && !p.idPairs(c) || !p.End() {
		return nil, p.Err()
	}
	return c, nil
}

// idPairs decodes a list of fields and values, within the limits of RFC 2971 §3.3.
func (p *parser) idPairs(c *idCommand) bool {
	return p.List(func() bool {
		var field, value string
		if !p.String(&field) || !p.SP() || !p.NString(&value) {
			return false
		}
		if len(c.pairs) >= 2*maxIDPairs || len(field) > maxIDField || len(value) > maxIDValue {
			return p.Refuse(errTooMany)
		}
		c.pairs = append(c.pairs, field, value)
		return true
	})
}

func (c *idCommand) run(_ context.Context, s *session) (reply, error) {
	s.log.Debug("client", slog.Group("id", c.pairs...))
	return reply{}, s.out.WriteString("* ID (\"name\" \"Posthouse\")\r\n")
}
