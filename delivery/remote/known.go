package remote

import (
	"sync"
	"time"

	"posthouse/delivery/hop"
	"posthouse/mail/smtp"
)

// Limits of what is remembered of hosts.
const (
	maxKnown  = 10_000 // hops
	knownTime = time.Hour
)

// known is what the hosts of each hop said that they offer, for a while. Its zero value is ready.
type known struct {
	mu   sync.Mutex // guards what follows
	hops map[hop.Hop]offer
}

// offer is what any of a hop's hosts offered, since a time. It is a little too much rather than too little: a host that was asked in the
// place of another may not have all that the other has.
type offer struct {
	extensions smtp.Extensions
	since      time.Time
}

// learn takes up what a host of a hop offers.
func (k *known) learn(h hop.Hop, offered smtp.Extensions) {
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if o, ok := k.hops[h]; ok && now.Sub(o.since) < knownTime {
		k.hops[h] = offer{o.extensions | offered, o.since}
		return
	}
	if k.hops == nil || len(k.hops) >= maxKnown { // all is learnt again soon
		k.hops = make(map[hop.Hop]offer)
	}
	k.hops[h] = offer{offered, now}
}

// lacks tells whether a hop's hosts are known not to offer all of the extensions.
func (k *known) lacks(h hop.Hop, x smtp.Extensions) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	o, ok := k.hops[h]
	return ok && time.Since(o.since) < knownTime && !o.extensions.Has(x)
}

// Lacks tells whether a hop is known not to offer all of the extensions, by its route or by what its hosts said in the last hour.
func (c *Client) Lacks(h hop.Hop, x smtp.Extensions) bool {
	return h.Without&x != 0 || c.known.lacks(h, x)
}
