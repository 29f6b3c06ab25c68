package imapd

import (
	"context"
	"iter"

	"posthouse/mailbox"
)

// known is a message of a view with what is known of its content.
type known struct {
	*mailbox.Facts
	pos     int
	message *mailbox.Message
}

// facts yields the messages of a selection with what is known of them. Those whose content is gone, since they were expunged
// meanwhile, are yielded without facts; so are all if nothing is wanted.
func (v *view) facts(ctx context.Context, want mailbox.FactSet, sel selection) iter.Seq2[known, error] {
	at := v.walk(sel)
	return func(yield func(known, error) bool) {
		if want != 0 {
			for facts, err := range v.account.Facts(ctx, want, blobs(at)) {
				if err != nil {
					yield(known{}, err)
					return
				}
				if !yieldUntil(facts, &at, yield) {
					return
				}
			}
		}
		for pos, m, ok := at.next(); ok && yield(known{pos: pos, message: m}, nil); pos, m, ok = at.next() {
		}
	}
}

// yieldUntil yields the messages up to the one that the facts are of.
func yieldUntil(facts *mailbox.Facts, at *cursor, yield func(known, error) bool) bool {
	for {
		pos, m, ok := at.next()
		switch {
		case !ok:
			return false
		case m.Blob == facts.Blob:
			return yield(known{facts, pos, m}, nil)
		case !yield(known{pos: pos, message: m}, nil):
			return false
		}
	}
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
