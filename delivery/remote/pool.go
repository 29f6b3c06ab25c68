package remote

import (
	"sync"
	"time"

	"posthouse/delivery/hop"
)

// Limits of what is kept between messages.
const (
	maxIdle       = 200 // connections
	maxIdlePerHop = 20
	idleTime      = 5 * time.Second
	maxAge        = 5 * time.Minute // of a connection that is used again
	maxUses       = 500             // messages over one connection
)

// poolKey says what a connection is good for.
type poolKey struct {
	hop      hop.Hop
	verified bool
}

// pool holds idle connections for a short while. Its zero value is ready.
type pool struct {
	mu      sync.Mutex // guards what follows
	idle    map[poolKey][]*conn
	n       int
	closed  bool
	closing sync.WaitGroup // goodbyes under way
}

// get takes an idle connection, the one used last; nil if there is none.
func (p *pool) get(k poolKey) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.idle[k]
	if len(list) == 0 {
		return nil
	}
	c := list[len(list)-1]
	p.remove(k, len(list)-1)
	c.expiry.Stop()
	return c
}

// put keeps a connection for the next message, or tells that it may not.
func (p *pool) put(k poolKey, c *conn) (kept bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.n >= maxIdle || len(p.idle[k]) >= maxIdlePerHop || c.uses >= maxUses || c.isFull() || time.Since(c.opened) > maxAge {
		return false
	}
	if p.idle == nil {
		p.idle = make(map[poolKey][]*conn)
	}
	p.idle[k] = append(p.idle[k], c)
	p.n++
	if c.expiry == nil {
		c.expiry = time.AfterFunc(idleTime, func() { p.expire(k, c) })
	} else {
		c.expiry.Reset(idleTime)
	}
	return true
}

// expire ends a connection that nobody wanted in time.
func (p *pool) expire(k poolKey, c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.idle[k] {
		if other == c {
			p.remove(k, i)
			p.closing.Go(c.quit)
			return
		}
	}
}

func (p *pool) remove(k poolKey, i int) {
	list := p.idle[k]
	copy(list[i:], list[i+1:])
	list[len(list)-1] = nil
	if list = list[:len(list)-1]; len(list) == 0 {
		delete(p.idle, k)
	} else {
		p.idle[k] = list
	}
	p.n--
}

// close ends all of them, and waits.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	for _, list := range p.idle {
		for _, c := range list {
			c.expiry.Stop()
			p.closing.Go(c.quit)
		}
	}
	p.idle, p.n = nil, 0
	p.mu.Unlock()
	p.closing.Wait()
}
