package spool

import (
	"sync"
	"time"

	"posthouse/mail"
)

// maxEnded bounds the leases whose time has passed that are remembered for an outcome that comes late; the oldest are forgotten.
const maxEnded = 10_000

// leases are those that were granted and not settled. They are in memory alone, since they end with the process; their recipients' rows
// say Ready all the while, so that a crash leaves nothing to put in order. Writers change them, in their turn; everybody may look.
type leases struct {
	mu          sync.Mutex // guards what follows
	byEpoch     map[int64]*holding
	held        map[place]*holding // recipients that nobody else may take
	late        map[place]*holding // recipients of leases whose time has passed, that nobody took since
	ended       []int64            // epochs of these, the oldest first
	firstExpiry int64              // the earliest lease's end, or earlier; 0: there is none
}

// place names a recipient.
type place struct {
	id mail.ID
	n  int
}

// holding is one lease.
type holding struct {
	Lease
	lane
	recipients []Recipient // as their rows stand
	until      int64
	ended      bool // its time has passed
	departing       // of its message
	whole      bool // the message has no other recipients
}

// departing is what of a message its history keeps when it leaves.
type departing struct {
	size     int64
	large    bool
	envelope []byte // JSON
}

func newLeases() leases {
	return leases{byEpoch: make(map[int64]*holding), held: make(map[place]*holding), late: make(map[place]*holding)}
}

// leased tells whether a worker has a recipient.
func (l *leases) leased(id mail.ID, n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[place{id, n}] != nil
}

// find is a lease, in time or late; nil: it was lost.
func (l *leases) find(lease Lease) *holding {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.byEpoch[lease.Epoch]; h != nil && h.ID == lease.ID {
		return h
	}
	return nil
}

// grant makes a lease known, and takes its recipients from those that had them before.
func (l *leases) grant(h *holding) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byEpoch[h.Epoch] = h
	for i := range h.recipients {
		at := place{h.ID, h.recipients[i].N}
		l.held[at] = h
		delete(l.late, at)
	}
	l.expect(h.until)
}

// revoke forgets a lease.
func (l *leases) revoke(h *holding) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byEpoch, h.Epoch)
	for i := range h.recipients {
		at := place{h.ID, h.recipients[i].N}
		for _, places := range []map[place]*holding{l.held, l.late} {
			if places[at] == h {
				delete(places, at)
			}
		}
	}
}

// restore takes a revoke back.
func (l *leases) restore(h *holding) {
	if !h.ended {
		l.grant(h)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byEpoch[h.Epoch] = h
	for i := range h.recipients {
		if at := (place{h.ID, h.recipients[i].N}); l.held[at] == nil {
			l.late[at] = h
		}
	}
}

// expire ends the leases that lasted until now at most, and returns them.
func (l *leases) expire(now int64) (expired []*holding) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.firstExpiry == 0 || now < l.firstExpiry {
		return nil
	}
	l.firstExpiry = 0
	for _, h := range l.byEpoch {
		switch {
		case h.ended:
		case h.until > now:
			l.expect(h.until)
		default:
			expired = append(expired, h)
			l.end(h)
		}
	}
	return expired
}

// end makes a lease late.
func (l *leases) end(h *holding) {
	h.ended, h.departing = true, departing{} // the envelopes of the others would be a lot of memory
	for i := range h.recipients {
		at := place{h.ID, h.recipients[i].N}
		delete(l.held, at)
		l.late[at] = h
	}
	l.ended = append(l.ended, h.Epoch)
	for len(l.ended) > maxEnded {
		oldest := l.byEpoch[l.ended[0]]
		l.ended = l.ended[1:]
		if oldest == nil {
			continue
		}
		delete(l.byEpoch, oldest.Epoch)
		for i := range oldest.recipients {
			if at := (place{oldest.ID, oldest.recipients[i].N}); l.late[at] == oldest {
				delete(l.late, at)
			}
		}
	}
}

// lateFor tells whether a lease that ended still has a recipient.
func (l *leases) lateFor(h *holding, n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.late[place{h.ID, n}] == h
}

// extend keeps a lease until a time, if it has not ended.
func (l *leases) extend(lease Lease, until time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.byEpoch[lease.Epoch]
	if h == nil || h.ID != lease.ID || h.ended {
		return false
	}
	h.until = until.UnixNano()
	l.expect(h.until)
	return true
}

// expect remembers that a lease ends at until.
func (l *leases) expect(until int64) {
	if l.firstExpiry == 0 || until < l.firstExpiry {
		l.firstExpiry = until
	}
}

// expiry is when the first lease ends; 0: there is none.
func (l *leases) expiry() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.firstExpiry
}

// byDestination counts the recipients that are leased, and tells the oldest message of each destination.
func (l *leases) byDestination() map[string]*leasedThere {
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := make(map[string]*leasedThere)
	for at, h := range l.held {
		c := counts[h.destination]
		if c == nil {
			c = &leasedThere{oldest: at.id}
			counts[h.destination] = c
		}
		c.recipients++
		c.oldest = min(c.oldest, at.id)
	}
	return counts
}

type leasedThere struct {
	recipients int64
	oldest     mail.ID
}
