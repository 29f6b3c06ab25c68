package directory

import (
	"sync/atomic"

	"posthouse/internal/lru"
	"posthouse/mail"
)

// maxOwn is how many accounts are remembered by their addresses.
const maxOwn = 10_000

// ownCache remembers whose an address is: each message asks twice, at the door and where it is filed. Every change of the directory makes all
// of it outdated.
type ownCache struct {
	state    *atomic.Int64 // how often the directory was changed
	accounts *lru.Cache[mail.Address, remembered]
}

// remembered is what was found when the directory was in that state, or later.
type remembered struct {
	Resolution
	state int64
}

func newOwnCache() ownCache {
	return ownCache{state: new(atomic.Int64), accounts: lru.New[mail.Address, remembered](maxOwn)}
}

// outdate forgets everything.
func (c *ownCache) outdate() { c.state.Add(1) }

func (c *ownCache) get(a mail.Address) (Resolution, bool) {
	r, ok := c.accounts.Get(a, func(r remembered) bool { return r.state == c.state.Load() })
	return r.Resolution, ok
}

// put remembers what was found; state is from before it was looked for.
func (c *ownCache) put(a mail.Address, r Resolution, state int64) {
	c.accounts.Put(a, remembered{r, state})
}
