package imapd

import (
	"iter"

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

// blobs are the contents of the messages that a cursor is before. The cursor itself stays where it is.
func blobs(c cursor) iter.Seq[mailbox.BlobID] {
	return func(yield func(mailbox.BlobID) bool) {
		for c := c; ; {
			_, m, ok := c.next()
			if !ok || !yield(m.Blob) {
				return
			}
		}
	}
}
