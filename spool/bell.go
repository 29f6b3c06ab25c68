package spool

import (
	"context"
	"sync"
	"time"
)

// bell wakes those that wait for something to come due: one for each ring, and the next only if the one before may have left
// something. Its zero value is ready.
type bell struct {
	mu     sync.Mutex // guards what follows
	rings  uint64
	asleep []sleeper // in the order they lay down
	timer  *time.Timer
	due    time.Time // when timer rings; zero: it does not
	closed bool
}

type sleeper struct {
	heard uint64 // the rings before it looked
	woken chan struct{}
}

// heard is how often it rang: to be asked before looking for work, and told to wait.
func (b *bell) heard() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rings
}

// ring tells that there may be work.
func (b *bell) ring() {
	b.mu.Lock()
	b.rings++
	b.wake()
	b.mu.Unlock()
}

// pass hands what the caller could not take to the next one.
func (b *bell) pass() {
	b.mu.Lock()
	b.wake()
	b.mu.Unlock()
}

// wake wakes the first that did not look since the last ring.
func (b *bell) wake() {
	for i, s := range b.asleep {
		if s.heard < b.rings {
			b.asleep = append(b.asleep[:i], b.asleep[i+1:]...)
			close(s.woken)
			return
		}
	}
}

// ringAt rings at t, and at no later time that was set before.
func (b *bell) ringAt(t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || !b.due.IsZero() && !t.Before(b.due) {
		return
	}
	b.due = t
	if b.timer == nil {
		b.timer = time.AfterFunc(time.Until(t), b.expire)
	} else {
		b.timer.Reset(time.Until(t))
	}
}

func (b *bell) expire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if wait := time.Until(b.due); wait > 0 { // set anew while the timer ran out, or the wall clock was set back
		b.timer.Reset(wait)
		return
	}
	b.due = time.Time{}
	b.rings++
	b.wake()
}

// wait returns nil when it rang since heard.
func (b *bell) wait(ctx context.Context, heard uint64) error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return ErrClosed
	}
	if b.rings > heard {
		b.mu.Unlock()
		return nil
	}
	woken := make(chan struct{})
	b.asleep = append(b.asleep, sleeper{heard, woken})
	b.mu.Unlock()
	select {
	case <-woken:
		return nil
	case <-ctx.Done():
		b.leave(woken)
		return ctx.Err()
	}
}

// leave takes a sleeper out; what it was woken for goes to the next.
func (b *bell) leave(woken chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, s := range b.asleep {
		if s.woken == woken {
			b.asleep = append(b.asleep[:i], b.asleep[i+1:]...)
			return
		}
	}
	b.wake()
}

// close wakes everybody for good.
func (b *bell) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.timer != nil {
		b.timer.Stop()
	}
	for _, s := range b.asleep {
		close(s.woken)
	}
	b.asleep = nil
}
