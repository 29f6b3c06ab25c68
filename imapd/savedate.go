package imapd

import (
	"time"

	"posthouse/imapd/wire"
)

// saveDate is SAVEDATE: RFC 8514. Every message has one.
func saveDate() extension {
	return extension{
		name: "SAVEDATE", rfc: "RFC 8514",
		fetch: []fetchItem{{"SAVEDATE", saveDateItem.parse}},
		search: []searchKey{
			constant("SAVEDATESUPPORTED", yes),
			savedKey("SAVEDBEFORE", func(day, of int64) bool { return day < of }),
			savedKey("SAVEDON", func(day, of int64) bool { return day == of }),
			savedKey("SAVEDSINCE", func(day, of int64) bool { return day >= of }),
		},
	}
}

var saveDateItem = &plain{append: func(b []byte, t *target) []byte {
	return wire.AppendDateTime(append(b, "SAVEDATE "...), t.message.Saved, 0)
}}

func savedKey(name string, holds func(day, of int64) bool) searchKey {
	return searchKey{name, func(p *parser, _ *program) (matcher, bool) {
		var t time.Time
		if !p.SP() || !p.Date(&t) {
			return nil, false
		}
		of := dayOf(t.Unix())
		return func(c *candidate) answer { return answerTo(holds(dayOf(c.message.Saved), of)) }, true
	}}
}
