package imapd

import (
	"posthouse/mailbox"
)

// objectID is OBJECTID: RFC 8474. Threads have no IDs here: §5.2 has that said by NIL.
func objectID() extension {
	return extension{
		name: "OBJECTID", rfc: "RFC 8474",
		fetch: []fetchItem{{"EMAILID", emailIDItem.parse}, {"THREADID", threadIDItem.parse}},
		search: []searchKey{
			idKey("EMAILID", func(id string, box *mailbox.Box, m *mailbox.Message) bool { return box.EmailID(m.Blob) == id }),
			idKey("THREADID", func(string, *mailbox.Box, *mailbox.Message) bool { return false }),
		},
		status: []statusItem{{"MAILBOXID", appendMailboxID}},
	}
}

var (
	emailIDItem = &plain{append: func(b []byte, t *target) []byte {
		return append(append(append(b, "EMAILID ("...), t.box.EmailID(t.message.Blob)...), ')')
	}}
	threadIDItem = &plain{append: func(b []byte, _ *target) []byte { return append(b, "THREADID NIL"...) }}
)

func appendMailboxID(b []byte, box *mailbox.Box) []byte {
	return append(append(append(b, '('), box.ObjectID()...), ')')
}

func idKey(name string, holds func(id string, box *mailbox.Box, m *mailbox.Message) bool) searchKey {
	return searchKey{name, func(p *parser, g *program) (matcher, bool) {
		var id string
		var box *mailbox.Box
		g.prepare = append(g.prepare, func(v *view) error {
			box = &v.told.Box
			return nil
		})
		ok := p.SP() && p.AString(&id)
		return func(c *candidate) answer { return answerTo(holds(id, box, c.message)) }, ok
	}}
}
