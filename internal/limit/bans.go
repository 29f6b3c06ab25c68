package limit

import (
	"iter"
	"time"

	"posthouse/internal/lru"
)

// Ban says why and for how long somebody is not let in.
type Ban struct {
	Why          string // a constant of ours: a reason, not a stranger's words
	Since, Until time.Time
}

// Bans are who is not let in, for a time.
type Bans[K comparable] struct{ keys *lru.Cache[K, Ban] }

// NewBans makes Bans for at most so many keys.
func NewBans[K comparable](keys int) *Bans[K] { return &Bans[K]{lru.New[K, Ban](keys)} }

// Add bans a key; one that is banned for longer already stays so.
func (b *Bans[K]) Add(key K, ban Ban) {
	b.keys.Update(key, func(old Ban) Ban {
		if old.Until.After(ban.Until) {
			return old
		}
		return ban
	})
}

// Find is the ban of a key, if it has one now.
func (b *Bans[K]) Find(key K, now time.Time) (Ban, bool) {
	return b.keys.Get(key, func(ban Ban) bool { return now.Before(ban.Until) })
}

// Lift ends a ban.
func (b *Bans[K]) Lift(key K) { b.keys.Delete(key) }

// All are the bans there are now.
func (b *Bans[K]) All(now time.Time) iter.Seq2[K, Ban] {
	return func(yield func(K, Ban) bool) {
		for key, ban := range b.keys.All() {
			if now.Before(ban.Until) && !yield(key, ban) {
				return
			}
		}
	}
}
