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

// facts yields the messages that a cursor is before, and moves it on. Messages whose content is gone, since they were expunged
// meanwhile, are yielded without facts. Nothing may be written to a client before the iteration has ended: a store may hold a
// transaction for it.
func (s *session) facts(ctx context.Context, want mailbox.FactSet, at *cursor) iter.Seq2[known, error] {
	return func(yield func(known, error) bool) {
		for facts, err := range s.account.Facts(ctx, want, blobs(*at)) {
			if err != nil {
				yield(known{}, err)
				return
			}
			for {
				pos, m, ok := at.next()
				if !ok {
					return
				}
				if m.Blob != facts.Blob {
					if !yield(known{pos: pos, message: m}, nil) {
						return
					}
					continue
				}
				if !yield(known{facts, pos, m}, nil) {
					return
				}
				break
			}
		}
		for pos, m, ok := at.next(); ok && yield(known{pos: pos, message: m}, nil); pos, m, ok = at.next() {
		}
	}
}
