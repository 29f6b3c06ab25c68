package imapd

import "time"

// within is WITHIN: RFC 5032.
func within() extension {
	return extension{
		name: "WITHIN", rfc: "RFC 5032",
		search: []searchKey{
			ageKey("OLDER", func(age, seconds int64) bool { return age >= seconds }),
			ageKey("YOUNGER", func(age, seconds int64) bool { return age <= seconds }),
		},
	}
}

// ageKey compares how long ago a message came, by its internal date: RFC 5032 §3.
func ageKey(name string, holds func(age, seconds int64) bool) searchKey {
	return searchKey{name, func(p *parser, g *program) (matcher, bool) {
		var seconds uint32
		if !p.SP() || !p.NZNumber(&seconds) {
			return nil, false
		}
		var now int64
		g.ages = true
		g.prepare = append(g.prepare, func(*view) error {
			now = time.Now().Unix()
			return nil
		})
		return func(c *candidate) answer { return answerTo(holds(now-c.message.Internal, int64(seconds))) }, true
	}}
}
