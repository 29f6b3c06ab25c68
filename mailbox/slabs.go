package mailbox

import (
	"fmt"
	"sort"

	"posthouse/internal/db"

	"zombiezen.com/go/sqlite"
)

// How a box is cut into slabs. New messages go to the last one, which stays small so that a delivery rewrites little; full, it is
// merged into the one before, unless that is so much larger that the next one should be filled first. So each message is rewritten
// a few times until it lies in a slab of about slabSize.
const (
	slabSize  = 1024 // messages of a whole slab
	tailSize  = 32   // of the last one
	tailRatio = 8    // a slab that many times as large as the one after it is left alone
)

// messages are a slab's; read if need be. They are not to be changed.
func (c *change) messages(b *box, s *slab) ([]Message, error) {
	if held := s.messages.Load(); held != nil {
		return held.Messages, nil
	}
	held, err := readSlab(c.conn, b.ID, s)
	if err != nil {
		return nil, err
	}
	if held == nil {
		return nil, fmt.Errorf("%w: slab %d of box %d is not what its directory says", ErrCorrupt, s.key, b.ID)
	}
	s.messages.Store(held)
	return held.Messages, nil
}

// readSlab reads a slab's row; nil if the database holds another version of it.
func readSlab(conn *sqlite.Conn, box BoxID, s *slab) (found *Slab, err error) {
	err = rows(conn, "SELECT data FROM slab WHERE key = ? AND version = ?", func(st *sqlite.Stmt) error {
		messages, err := parseSlab(db.Bytes(st, 0))
		found = &Slab{Messages: messages}
		return err
	}, slabKey(box, s.key), int64(s.version))
	return found, err
}

// fresh is the slab at i for changing: made by this change, or a copy.
func (c *change) fresh(b *box, i int) (*slab, error) {
	s := b.slabs[i]
	if s.version == c.modseq {
		return s, nil
	}
	messages, err := c.messages(b, s)
	if err != nil {
		return nil, err
	}
	s = newSlab(c.modseq, s.key, append(make([]Message, 0, len(messages)+tailSize), messages...))
	b.slabs[i] = s
	return s, nil
}

// span is the positions in messages of the UIDs of r.
func span(messages []Message, r UIDRange) (from, to int) {
	from = sort.Search(len(messages), func(i int) bool { return messages[i].UID >= r.First })
	return from, from + sort.Search(len(messages)-from, func(i int) bool { return messages[from+i].UID > r.Last })
}

// within are the ranges of the set that can have members among the UIDs from first to last.
func (s UIDSet) within(first, last UID) UIDSet {
	from := sort.Search(len(s), func(i int) bool { return s[i].Last >= first })
	to := sort.Search(len(s), func(i int) bool { return s[i].First > last })
	return s[from:max(from, to)]
}

// update hands f each message of the set, ascending; f tells whether it changed it.
func (c *change) update(b *box, uids UIDSet, f func(*Message) bool) error {
	var m Message
	for i, s := range b.slabs {
		ranges := uids.within(s.key, s.last)
		if len(ranges) == 0 {
			continue
		}
		messages, err := c.messages(b, s)
		if err != nil {
			return err
		}
		for _, r := range ranges {
			from, to := span(messages, r)
			for j := from; j < to; j++ {
				m = messages[j]
				if !f(&m) {
					continue
				}
				own, err := c.fresh(b, i)
				if err != nil {
					return err
				}
				own.messages.Load().Messages[j] = m
			}
		}
	}
	return nil
}

// remove takes out those messages of the set for which f says so.
func (c *change) remove(b *box, uids UIDSet, f func(*Message) bool) error {
	var gone UIDSet
	kept := b.slabs[:0]
	for _, s := range b.slabs {
		ranges := uids.within(s.key, s.last)
		if len(ranges) == 0 {
			kept = append(kept, s)
			continue
		}
		messages, err := c.messages(b, s)
		if err != nil {
			return err
		}
		rest := make([]Message, 0, len(messages))
		next := 0
		for _, r := range ranges {
			from, to := span(messages, r)
			rest = append(rest, messages[next:from]...)
			for j := from; j < to; j++ {
				if f(&messages[j]) {
					b.count(&messages[j], -1)
					gone = gone.Append(messages[j].UID)
				} else {
					rest = append(rest, messages[j])
				}
			}
			next = to
		}
		rest = append(rest, messages[next:]...)
		switch {
		case len(rest) == len(messages):
			kept = append(kept, s)
		case len(rest) > 0:
			kept = append(kept, newSlab(c.modseq, s.key, rest))
		}
	}
	b.slabs = kept
	if len(gone) > 0 {
		b.shrunk = true
		c.gone[b.ID] = append(c.gone[b.ID], gone)
	}
	return nil
}

// append adds a message under the box's next UID.
func (c *change) append(b *box, m Message) (UID, error) {
	if b.UIDNext == ^UID(0) {
		return 0, ErrLimit
	}
	m.UID, m.ModSeq, m.Saved = b.UIDNext, c.modseq, c.now
	b.UIDNext++
	b.count(&m, 1)
	if n := len(b.slabs); n > 0 {
		tail := b.slabs[n-1]
		if tail.version == c.modseq && tail.n < slabSize || tail.n < tailSize {
			tail, err := c.fresh(b, n-1)
			if err != nil {
				return 0, err
			}
			tail.set(append(tail.messages.Load().Messages, m))
			return m.UID, nil
		}
	}
	b.slabs = append(b.slabs, newSlab(c.modseq, m.UID, append(make([]Message, 0, tailSize), m)))
	return m.UID, nil
}

// compact merges slabs that became full tails or small remainders.
func (c *change) compact(b *box) error {
	if b.shrunk {
		for i := len(b.slabs) - 2; i >= 0; i-- {
			if a, z := b.slabs[i], b.slabs[i+1]; a.n+z.n <= slabSize/2 && (a.version == c.modseq || z.version == c.modseq) {
				if err := c.merge(b, i); err != nil {
					return err
				}
			}
		}
	}
	for i := len(b.slabs) - 2; i >= 0; i-- {
		a, z := b.slabs[i], b.slabs[i+1]
		if z.n < tailSize || a.n+z.n > slabSize || a.n >= tailRatio*z.n {
			return nil
		}
		if err := c.merge(b, i); err != nil {
			return err
		}
	}
	return nil
}

// merge makes one slab of those at i and i+1.
func (c *change) merge(b *box, i int) error {
	first, err := c.fresh(b, i)
	if err != nil {
		return err
	}
	more, err := c.messages(b, b.slabs[i+1])
	if err != nil {
		return err
	}
	first.set(append(first.messages.Load().Messages, more...))
	b.slabs = append(b.slabs[:i+1], b.slabs[i+2:]...)
	return nil
}

// writeSlabs writes the slabs that the change made and deletes those that are no more; old is the box before it, nil if it is new.
func (c *change) writeSlabs(b, old *box) error {
	for _, s := range b.slabs {
		if s.version != c.modseq {
			continue
		}
		if err := c.writeSlab(b.ID, s); err != nil {
			return err
		}
	}
	if old == nil {
		return nil
	}
	i := 0
	for _, s := range old.slabs {
		for i < len(b.slabs) && b.slabs[i].key < s.key {
			i++
		}
		if i < len(b.slabs) && b.slabs[i].key == s.key {
			continue
		}
		if err := exec(c.conn, "DELETE FROM slab WHERE key = ?", slabKey(b.ID, s.key)); err != nil {
			return err
		}
	}
	return nil
}

func (c *change) writeSlab(box BoxID, s *slab) error {
	data := appendSlab(nil, s.messages.Load().Messages)
	return db.Exec(c.conn, `INSERT INTO slab VALUES(?1, ?2, ?3, ?4, ?5)
		ON CONFLICT DO UPDATE SET version = ?2, messages = ?3, last = ?4, data = ?5`, func(st *sqlite.Stmt) {
		db.Ints(slabKey(box, s.key), int64(s.version), int64(s.n), int64(s.last))(st)
		st.BindBytes(5, data)
	})
}
