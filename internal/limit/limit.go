// Package limit counts what somebody does and says when it was enough: budgets over a window of time (Window), a rate with bursts
// (Rate), failures that make one wait ever longer (Backoff), and bans that expire (Bans).
//
// It knows no mail. A key is whatever tells one from another: a client's Network, an account's name. Every type holds at most as many
// keys as it was made for and forgets the one that was used least recently; what has expired counts as forgotten, so that nothing has to
// clean up and there are no goroutines. Time is passed in. All methods may be called from many goroutines.
package limit

import (
	"net/netip"
	"time"

	"posthouse/internal/lru"
)

// network64 is the length of the prefix that one IPv6 subscriber has at least: RFC 6177 §2.
const network64 = 64

// Network is who is counted as one client: an IPv4 address, an IPv6 /64. Zero for an address that is not valid.
func Network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := min(a.BitLen(), network64)
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// Window counts events of each key in a window that begins with the first of them. The zero value is not usable.
type Window[K comparable] struct {
	per  time.Duration
	keys *lru.Cache[K, count]
}

type count struct {
	n     int
	began time.Time
}

// NewWindow makes a Window as long as per, for at most so many keys.
func NewWindow[K comparable](per time.Duration, keys int) *Window[K] {
	return &Window[K]{per, lru.New[K, count](keys)}
}

// Add counts n events and returns how many there are now in the key's window. A negative n takes some back.
func (w *Window[K]) Add(key K, n int, now time.Time) int {
	return w.keys.Update(key, func(c count) count {
		if now.Sub(c.began) >= w.per {
			c = count{began: now}
		}
		c.n = max(c.n+n, 0)
		return c
	}).n
}

// Count is how many events there are in the key's window.
func (w *Window[K]) Count(key K, now time.Time) int {
	c, _ := w.keys.Get(key, func(c count) bool { return now.Sub(c.began) < w.per })
	return c.n
}

// Rate lets each key do so much in a time, evenly, and a burst of that much at once: a token bucket, kept as the time at which the
// bucket will be full again.
type Rate[K comparable] struct {
	burst time.Duration // what a full bucket is worth
	each  time.Duration // what one event costs
	keys  *lru.Cache[K, time.Time]
}

// NewRate makes a Rate of so many events in a time, for at most so many keys.
func NewRate[K comparable](events int, per time.Duration, keys int) *Rate[K] {
	return &Rate[K]{per, per / time.Duration(max(events, 1)), lru.New[K, time.Time](keys)}
}

// Take does n events if the key may do all of them now; otherwise it does none, and tells how long to wait until it may. What is more
// than a burst never may.
func (r *Rate[K]) Take(key K, n int, now time.Time) (wait time.Duration) {
	r.keys.Update(key, func(full time.Time) time.Time {
		if full.Before(now) {
			full = now
		}
		after := full.Add(time.Duration(n) * r.each)
		if wait = after.Sub(now) - r.burst; wait > 0 {
			return full
		}
		return after
	})
	return max(wait, 0)
}
