package mailbox

import (
	"container/list"
	"sync"
	"unsafe"
)

// slabCache bounds the messages' state held in memory, of all accounts: the boxes that were not read for the longest time lose
// theirs, and it is read again when needed. Snapshots in use keep what they hold.
type slabCache struct {
	mu    sync.Mutex
	limit int64
	size  int64
	order *list.List // of *cachedBox, the last used first
	boxes map[boxKey]*list.Element
}

type boxKey struct {
	account *account
	id      BoxID
}

type cachedBox struct {
	boxKey
	size int64
}

const (
	messageSize = int64(unsafe.Sizeof(Message{}))
	markSize    = int64(unsafe.Sizeof(mark{}))
)

func (c *slabCache) init(limit int64) {
	c.limit, c.order, c.boxes = limit, list.New(), make(map[boxKey]*list.Element)
}

// note tells that a box is used as it stands (nil: it is gone), and lets others go if there is too much. The box itself stays, however
// large; one without messages has nothing to let go of.
func (c *slabCache) note(a *account, id BoxID, b *box) {
	key := boxKey{a, id}
	c.mu.Lock()
	e := c.boxes[key]
	if b == nil || len(b.slabs)+len(b.readers) == 0 {
		c.drop(e)
		c.mu.Unlock()
		return
	}
	if e == nil {
		e = c.order.PushFront(&cachedBox{boxKey: key})
		c.boxes[key] = e
	}
	c.order.MoveToFront(e)
	held := e.Value.(*cachedBox)
	size := b.held()
	c.size += size - held.size
	held.size = size
	var evicted []boxKey
	for c.size > c.limit && c.order.Back() != e {
		evicted = append(evicted, c.order.Back().Value.(*cachedBox).boxKey)
		c.drop(c.order.Back())
	}
	c.mu.Unlock()
	for _, k := range evicted {
		k.account.evict(k.id)
	}
}

// drop forgets an element; mu is held.
func (c *slabCache) drop(e *list.Element) {
	if e != nil {
		held := c.order.Remove(e).(*cachedBox)
		delete(c.boxes, held.boxKey)
		c.size -= held.size
	}
}

// forget drops an account's boxes.
func (c *slabCache) forget(a *account) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, e := range c.boxes {
		if key.account == a {
			c.drop(e)
		}
	}
}

// held is the octets of the box's messages that are in memory.
func (b *box) held() (n int64) {
	for _, s := range b.slabs {
		if s.messages.Load() != nil {
			n += int64(s.n) * messageSize
		}
	}
	for _, r := range b.readers {
		for _, p := range r.parts {
			if held := p.marks.Load(); held != nil {
				n += int64(len(*held)) * markSize
			}
		}
	}
	return n
}

// evict lets go of a box's messages.
func (a *account) evict(id BoxID) {
	a.mu.RLock()
	b := a.base.boxes[id]
	a.mu.RUnlock()
	if b == nil {
		return
	}
	b.snapshot.Store(nil)
	for _, s := range b.slabs {
		s.messages.Store(nil)
	}
	for _, r := range b.readers {
		r.unseen.Store(nil)
		for _, p := range r.parts {
			p.marks.Store(nil)
		}
	}
}
