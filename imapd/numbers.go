package imapd

import (
	"posthouse/imapd/wire"
	"posthouse/mailbox"
)

// appendUIDs writes a UID set.
func appendUIDs(b []byte, set mailbox.UIDSet) []byte {
	for i, r := range set {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendUIDRange(b, r)
	}
	return b
}

func appendUIDRange(b []byte, r mailbox.UIDRange) []byte {
	b = wire.AppendNumber(b, r.First)
	if r.Last != r.First {
		b = append(b, ':')
		b = wire.AppendNumber(b, r.Last)
	}
	return b
}
