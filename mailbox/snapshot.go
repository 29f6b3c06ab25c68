package mailbox

import (
	"iter"
	"sort"
)

// Snapshot is a box as it stood at one mod-sequence: immutable, and cheap to hold, since snapshots share the slabs between which
// nothing changed.
type Snapshot struct {
	Box      Box
	Keywords []string // names of Flags bits from FirstKeyword on; only ever appended to
	Slabs    []*Slab  // ascending by UID, none empty
	starts   []int    // position of each slab's first message
	n        int
}

// Slab is a run of messages, column-wise. It is never changed: a change makes another slab.
// Two snapshots that hold the same *Slab hold the same messages there.
type Slab struct {
	Messages []Message
}

// NewSnapshot puts a snapshot together; the slabs are not copied.
func NewSnapshot(box Box, keywords []string, slabs []*Slab) *Snapshot {
	s := &Snapshot{Box: box, Keywords: keywords, Slabs: slabs, starts: make([]int, len(slabs))}
	for i, slab := range slabs {
		s.starts[i] = s.n
		s.n += len(slab.Messages)
	}
	return s
}

// Len is the number of messages.
func (s *Snapshot) Len() int { return s.n }

// At is the message at position i, from 0.
func (s *Snapshot) At(i int) *Message {
	k := sort.SearchInts(s.starts, i+1) - 1
	return &s.Slabs[k].Messages[i-s.starts[k]]
}

// All yields positions and messages in order.
func (s *Snapshot) All() iter.Seq2[int, *Message] {
	return func(yield func(int, *Message) bool) {
		for k, slab := range s.Slabs {
			for i := range slab.Messages {
				if !yield(s.starts[k]+i, &slab.Messages[i]) {
					return
				}
			}
		}
	}
}

// Find is the position of the message with the UID; if there is none, of the first with a greater one.
func (s *Snapshot) Find(uid UID) (int, bool) {
	k := sort.Search(len(s.Slabs), func(k int) bool {
		m := s.Slabs[k].Messages
		return m[len(m)-1].UID >= uid
	})
	if k == len(s.Slabs) {
		return s.n, false
	}
	m := s.Slabs[k].Messages
	i := sort.Search(len(m), func(i int) bool { return m[i].UID >= uid })
	return s.starts[k] + i, m[i].UID == uid
}
