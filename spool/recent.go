package spool

import (
	"container/list"
	"sync"

	"posthouse/mail"
)

// maxRecent bounds the memory of the bodies that were committed last: most are read once, at once, and reading one costs a fifth of
// a message's whole life.
const maxRecent = 32 << 20

// recent holds the small messages that were committed last. Its zero value is ready.
type recent struct {
	mu    sync.Mutex // guards what follows
	byID  map[mail.ID]*list.Element
	order list.List // of *kept, the oldest first
	size  int
}

// kept is one message: its body with what was put before it, and its envelope, decoded and encoded. Nothing of it is changed any more.
type kept struct {
	id           mail.ID
	prefix, body []byte
	env          mail.Envelope
	envelope     []byte
}

// memory counts the encoded envelope twice, since the decoded one is about as large.
func (k *kept) memory() int { return cap(k.prefix) + cap(k.body) + 2*cap(k.envelope) }

func (r *recent) put(k *kept) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID == nil {
		r.byID = make(map[mail.ID]*list.Element)
	}
	r.byID[k.id] = r.order.PushBack(k)
	for r.size += k.memory(); r.size > maxRecent; {
		r.remove(r.order.Front())
	}
}

func (r *recent) get(id mail.ID) *kept {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.byID[id]; e != nil {
		return e.Value.(*kept)
	}
	return nil
}

func (r *recent) drop(id mail.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.byID[id]; e != nil {
		r.remove(e)
	}
}

func (r *recent) remove(e *list.Element) {
	k := r.order.Remove(e).(*kept)
	r.size -= k.memory()
	delete(r.byID, k.id)
}
