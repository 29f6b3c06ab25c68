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
			idKey("EMAILID", func(id string, c *candidate) bool { return c.message.Blob.ObjectID() == id }),
			idKey("THREADID", func(string, *candidate) bool { return false }),
		},
		status: []statusItem{{"MAILBOXID", appendMailboxID}},
	}
}

var (
	emailIDItem = &plain{append: func(b []byte, t *target) []byte {
		return append(append(append(b, "EMAILID ("...), t.message.Blob.ObjectID()...), ')')
	}}
	threadIDItem = &plain{append: func(b []byte, _ *target) []byte { return append(b, "THREADID NIL"...) }}
)

func appendMailboxID(b []byte, box *mailbox.Box) []byte {
	return append(append(append(b, '('), box.ID.ObjectID()...), ')')
}

func idKey(name string, holds func(id string, c *candidate) bool) searchKey {
	return searchKey{name, func(p *parser, _ *program) (matcher, bool) {
		var id string
		ok := p.SP() && p.AString(&id)
		return func(c *candidate) answer { return answerTo(holds(id, c)) }, ok
	}}
}
