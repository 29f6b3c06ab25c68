package imapd

import (
	"context"
	"slices"
	"strings"

	"posthouse/imapd/wire"
)

// i18nLevel is I18NLEVEL=2: RFC 5255 §4.4. There is one comparator, the one that a server must have: what is kept of messages to search
// and sort them is in its form (see fold and mime.Keys).
func i18nLevel() extension {
	return extension{
		name: "I18NLEVEL=2", rfc: "RFC 5255",
		commands: []command{{name: "COMPARATOR", rfc: "RFC 5255 §4.7", in: loggedIn, parse: parseComparator}},
	}
}

// unicodeCasemap is the comparator's name: RFC 5051.
const unicodeCasemap = "i;unicode-casemap"

// comparatorCommand chooses a comparator, or asks which one is chosen.
type comparatorCommand struct{ wanted []string }

func parseComparator(p *parser) (runner, error) {
	c := &comparatorCommand{}
	for !p.AtEnd() {
		var order string
		if !p.SP() || !p.AString(&order) {
			return nil, p.Err()
		}
		if len(c.wanted) >= maxPatterns {
			return nil, errTooMany
		}
		if !isCollation(strings.TrimPrefix(order, "+")) && !isCollation(strings.TrimPrefix(order, "-")) {
			return nil, errCollation
		}
		c.wanted = append(c.wanted, strings.ToLower(order))
	}
	return c, nil
}

// isCollation is RFC 4790 §3.2 collation-wild.
func isCollation(s string) bool {
	return s != "" && len(s) <= 254 && !strings.Contains(s, "**") && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-;=.*", r)
	})
}

// run: "-" would turn the order around, which no client asks for that can say REVERSE.
func (c *comparatorCommand) run(_ context.Context, s *session) (reply, error) {
	if len(c.wanted) > 0 && !slices.ContainsFunc(c.wanted, func(order string) bool {
		return order == "default" || match(strings.TrimPrefix(order, "+"), unicodeCasemap)
	}) {
		return reply{}, errComparator
	}
	return reply{}, s.write(func(b []byte) []byte {
		return append(wire.AppendAString(append(b, "* COMPARATOR "...), unicodeCasemap), "\r\n"...)
	})
}
