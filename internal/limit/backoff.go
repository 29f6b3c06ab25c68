package limit

import (
	"time"

	"posthouse/internal/lru"
)

// Patience says how failures are borne.
type Patience struct {
	Free   int           // failures without a wait
	First  time.Duration // the wait after one more, doubled by each further one
	Most   time.Duration // the longest wait
	Forget time.Duration // of quiet, after which all failures are forgotten; longer than Most
}

// Backoff makes who fails wait, longer with every failure. Attempts are counted as failures when they begin and taken back if they
// succeed, so that a thousand at once get no more guesses than a thousand one after another.
type Backoff[K comparable] struct {
	patience Patience
	keys     *lru.Cache[K, failures]
}

type failures struct {
	n            int
	last, before time.Time // of the last attempt that counts, and of the one before
}

// NewBackoff makes a Backoff for at most so many keys.
func NewBackoff[K comparable](p Patience, keys int) *Backoff[K] {
	return &Backoff[K]{p, lru.New[K, failures](keys)}
}

// Wait is how long the key has to wait before its next attempt; 0: it need not.
func (b *Backoff[K]) Wait(key K, now time.Time) time.Duration {
	f, _ := b.keys.Get(key, func(f failures) bool { return now.Sub(f.last) < b.patience.Forget })
	return b.wait(f, now)
}

func (b *Backoff[K]) wait(f failures, now time.Time) time.Duration {
	p := b.patience
	if f.n <= p.Free {
		return 0
	}
	wait := p.Most
	if doublings := f.n - p.Free - 1; doublings < 32 && p.First<<doublings>>doublings == p.First {
		wait = min(wait, p.First<<doublings)
	}
	return max(wait-now.Sub(f.last), 0)
}

// Try begins an attempt, which counts as failed until Undo; if the key has to wait, it is not begun and the wait is returned.
func (b *Backoff[K]) Try(key K, now time.Time) (wait time.Duration) {
	b.keys.Update(key, func(f failures) failures {
		if now.Sub(f.last) >= b.patience.Forget {
			f = failures{}
		}
		if wait = b.wait(f, now); wait > 0 {
			return f
		}
		return failures{f.n + 1, now, f.last}
	})
	return wait
}

// Undo takes an attempt back: it did not fail, and nobody has to wait because of it.
func (b *Backoff[K]) Undo(key K) {
	b.keys.Update(key, func(f failures) failures {
		return failures{max(f.n-1, 0), f.before, f.before}
	})
}

// Forget forgets all failures of a key.
func (b *Backoff[K]) Forget(key K) { b.keys.Delete(key) }
