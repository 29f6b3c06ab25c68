package imapd

import (
	"math"

	"posthouse/mailbox"
)

// side is one of two snapshots of a box that are walked over together.
type side struct {
	slabs []*mailbox.Slab
	start int // position of the first message of slabs[0]
	at    int // the next message, in slabs[0]
}

func (s *side) message() *mailbox.Message { return &s.slabs[0].Messages[s.at] }

func (s *side) pos() int { return s.start + s.at }

func (s *side) step() {
	if s.at++; s.at == len(s.slabs[0].Messages) {
		s.skip()
	}
}

// skip goes to the next slab.
func (s *side) skip() {
	s.start += len(s.slabs[0].Messages)
	s.slabs, s.at = s.slabs[1:], 0
}

// compare walks over both snapshots by UID, past the slabs that both have. visit is called at every message of the others, with nil
// for the side that lacks it, until it is false; messages that came after all of old are left out.
func compare(old, now *mailbox.Snapshot, visit func(a, b *side) bool) {
	a, b := side{slabs: old.Slabs}, side{slabs: now.Slabs}
	for len(a.slabs) > 0 && len(b.slabs) > 0 {
		if a.slabs[0] == b.slabs[0] && a.at == b.at {
			a.skip()
			b.skip()
			continue
		}
		left, right := a.message().UID, b.message().UID
		var goOn bool
		switch {
		case left == right:
			goOn = visit(&a, &b)
		case left < right:
			goOn = visit(&a, nil)
		default:
			goOn = visit(nil, &b)
		}
		if !goOn {
			return
		}
		if left <= right {
			a.step()
		}
		if right <= left {
			b.step()
		}
	}
	for len(a.slabs) > 0 && visit(&a, nil) {
		a.step()
	}
}

// vanished are the positions in old of messages that now has not, ascending.
func vanished(old, now *mailbox.Snapshot) (gone []int) {
	if old == now {
		return nil
	}
	compare(old, now, func(a, b *side) bool {
		if b == nil {
			gone = append(gone, a.pos())
		}
		return true
	})
	return gone
}

// changed calls f for the messages that were changed, with their positions in now.
func changed(old, now *mailbox.Snapshot, f func(was, is *mailbox.Message, pos int) bool) {
	if old == now {
		return
	}
	compare(old, now, func(a, b *side) bool {
		return a == nil || b == nil || a.message().ModSeq == b.message().ModSeq || f(a.message(), b.message(), b.pos())
	})
}

// keep is now with the messages of old at the positions given.
func keep(old, now *mailbox.Snapshot, gone []int) *mailbox.Snapshot {
	var slabs []*mailbox.Slab
	for k, slab := range now.Slabs {
		end := mailbox.UID(math.MaxUint32)
		if k+1 < len(now.Slabs) {
			end = now.Slabs[k+1].Messages[0].UID
		}
		n := 0
		for n < len(gone) && old.At(gone[n]).UID < end {
			n++
		}
		if n > 0 {
			slab = merge(old, gone[:n], slab)
			gone = gone[n:]
		}
		slabs = append(slabs, slab)
	}
	if len(gone) > 0 {
		slabs = append(slabs, merge(old, gone, &mailbox.Slab{}))
	}
	return mailbox.NewSnapshot(now.Box, now.Keywords, slabs)
}

// merge is a slab with messages of old put in their places.
func merge(old *mailbox.Snapshot, gone []int, slab *mailbox.Slab) *mailbox.Slab {
	messages := make([]mailbox.Message, 0, len(gone)+len(slab.Messages))
	for _, m := range slab.Messages {
		for len(gone) > 0 && old.At(gone[0]).UID < m.UID {
			messages = append(messages, *old.At(gone[0]))
			gone = gone[1:]
		}
		messages = append(messages, m)
	}
	for _, pos := range gone {
		messages = append(messages, *old.At(pos))
	}
	return &mailbox.Slab{Messages: messages}
}
