package mailbox

import (
	"maps"
	"slices"
	"sync/atomic"
)

// box is a box in memory. One that is in a committed layer is never changed: a change works on a clone.
type box struct {
	Box
	keywords []string
	slabs    []*slab
	known    ModSeq    // expunges after it are all recorded
	graves   int64     // rows in which they are
	shrunk   bool      // messages were taken out by the change that works on it
	readers  []*reader // by user

	snapshot atomic.Pointer[Snapshot] // made on demand
}

func (b *box) clone() *box {
	return &box{Box: b.Box, keywords: b.keywords, slabs: slices.Clone(b.slabs), known: b.known, graves: b.graves, readers: b.readers}
}

// counters are what an account counts, never downwards.
type counters struct {
	modseq      ModSeq
	uidValidity uint32 // the last one given
	nextBox     BoxID
	nextBlob    BlobID
}

// layer is an account's state, or what a change makes different in the one under it. There are three: what is committed, on it what
// the open transaction changed so far, and on that what the change at work does. So a change that fails leaves no trace, and nothing
// is seen before it is durable.
type layer struct {
	under      *layer
	counters   counters
	boxes      map[BoxID]*box  // nil: gone
	subscribed map[string]bool // false: gone
	filed      map[BlobID]bool // staged content written by a change that is not committed
	names      map[string]BoxID
}

// over is an empty layer on l.
func (l *layer) over() *layer {
	return &layer{under: l, counters: l.counters, boxes: make(map[BoxID]*box), subscribed: make(map[string]bool),
		filed: make(map[BlobID]bool)}
}

// find is the box with the ID, nil if there is none.
func (l *layer) find(id BoxID) *box {
	for ; l != nil; l = l.under {
		if b, ok := l.boxes[id]; ok {
			return b
		}
	}
	return nil
}

// byName is the box with the canonical name, nil if there is none.
func (l *layer) byName(name string) *box {
	at := l
	for ; at.under != nil; at = at.under {
		for id, b := range at.boxes {
			if b != nil && b.Name == name && l.find(id) == b {
				return b
			}
		}
	}
	if b := l.find(at.names[name]); b != nil && b.Name == name {
		return b
	}
	return nil
}

// all are all boxes, in no order.
func (l *layer) all() map[BoxID]*box {
	if l.under == nil {
		return l.boxes
	}
	all := maps.Clone(l.under.all())
	for id, b := range l.boxes {
		if b == nil {
			delete(all, id)
		} else {
			all[id] = b
		}
	}
	return all
}

// countBoxes counts them without looking at each.
func (l *layer) countBoxes() int {
	if l.under == nil {
		return len(l.boxes)
	}
	n := l.under.countBoxes()
	for id, b := range l.boxes {
		switch was := l.under.find(id); {
		case was == nil && b != nil:
			n++
		case was != nil && b == nil:
			n--
		}
	}
	return n
}

func (l *layer) isSubscribed(name string) bool {
	for ; l != nil; l = l.under {
		if is, ok := l.subscribed[name]; ok {
			return is
		}
	}
	return false
}

func (l *layer) isFiled(id BlobID) bool {
	for ; l != nil; l = l.under {
		if l.filed[id] {
			return true
		}
	}
	return false
}

// absorb makes the changes of the layer over l changes of l.
func (l *layer) absorb(over *layer) {
	l.counters = over.counters
	maps.Copy(l.boxes, over.boxes)
	maps.Copy(l.subscribed, over.subscribed)
	maps.Copy(l.filed, over.filed)
}

// settle is absorb for the layer that has none under it: it holds nothing that is gone, and knows its names.
func (l *layer) settle(over *layer) {
	for id, b := range over.boxes {
		if old := l.boxes[id]; old != nil && l.names[old.Name] == id {
			delete(l.names, old.Name)
		}
		if b == nil {
			delete(l.boxes, id)
		}
	}
	for id, b := range over.boxes {
		if b != nil {
			l.boxes[id] = b
			l.names[b.Name] = id
		}
	}
	for name, is := range over.subscribed {
		if is {
			l.subscribed[name] = true
		} else {
			delete(l.subscribed, name)
		}
	}
	l.counters = over.counters
}
