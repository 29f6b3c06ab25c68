package mta

import (
	"iter"
	"net/netip"
	"slices"
	"time"

	"posthouse/internal/limit"
	"posthouse/mail/smtp"
)

const (
	maxClients   = 100_000 // networks that are remembered, of each kind of memory
	clientWindow = time.Hour
)

// ClientsOptions say what is borne of one network: an IPv4 address, an IPv6 /64. Zero fields: anything.
type ClientsOptions struct {
	// Never are networks that are neither counted nor banned: those that are trusted, which do not wait for their greeting either, and the
	// proxies in front of us, behind whose one address everybody is.
	Never       []netip.Prefix
	Connections int           // a minute
	Faults      int           // an hour: refusals before MAIL, noise, too many errors in a session
	Unknown     int           // an hour: recipients that are nobody here
	Ban         time.Duration // how long who exceeds Faults or Unknown is not let in
}

// Clients is what is remembered of those who connect. All servers of a house share one. A nil *Clients remembers nothing.
type Clients struct {
	opts    ClientsOptions
	bans    *limit.Bans[netip.Prefix]
	rate    *limit.Rate[netip.Prefix]
	budgets map[misconduct]budget
}

// misconduct is what clients are banned for, in the words of the list of bans.
type misconduct string

const (
	misbehaving misconduct = "faulty sessions"
	harvesting  misconduct = "unknown recipients"
)

// budget is how much of a misconduct is borne in a window; 0: any amount.
type budget struct {
	most int
	seen *limit.Window[netip.Prefix]
}

// NewClients remembers nobody yet.
func NewClients(o ClientsOptions) *Clients {
	return &Clients{
		opts: o,
		bans: limit.NewBans[netip.Prefix](maxClients),
		rate: limit.NewRate[netip.Prefix](o.Connections, time.Minute, maxClients),
		budgets: map[misconduct]budget{
			misbehaving: {o.Faults, limit.NewWindow[netip.Prefix](clientWindow, maxClients)},
			harvesting:  {o.Unknown, limit.NewWindow[netip.Prefix](clientWindow, maxClients)},
		},
	}
}

// network is whose conduct is counted together; invalid for those that are not counted.
func (c *Clients) network(a netip.Addr) netip.Prefix {
	if c == nil || slices.ContainsFunc(c.opts.Never, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return netip.Prefix{}
	}
	return limit.Network(a)
}

// trusts tells a client that is not counted, and does not wait for its greeting.
func (c *Clients) trusts(a netip.Addr) bool { return c != nil && !c.network(a).IsValid() }

// enter is the reply to a client that is not let in; zero for the others. It is asked before a connection costs anything.
func (c *Clients) enter(a netip.Addr, now time.Time) smtp.Reply {
	network := c.network(a)
	if !network.IsValid() {
		return smtp.Reply{}
	}
	if _, banned := c.bans.Find(network, now); banned {
		return replyBanned
	}
	if c.opts.Connections > 0 && c.rate.Take(network, 1, now) > 0 {
		return replyOften
	}
	return smtp.Reply{}
}

// count counts something that a client does wrong, and bans it if it was enough.
func (c *Clients) count(what misconduct, a netip.Addr) (banned bool) {
	network := c.network(a)
	if !network.IsValid() {
		return false
	}
	now := time.Now()
	if b := c.budgets[what]; b.most == 0 || b.seen.Add(network, 1, now) <= b.most {
		return false
	}
	c.bans.Add(network, limit.Ban{Why: string(what), Since: now, Until: now.Add(c.opts.Ban)})
	return true
}

// Ban is a network that is not let in.
type Ban struct {
	Network netip.Prefix `json:"network"`
	Why     string       `json:"why"`
	Since   time.Time    `json:"since"`
	Until   time.Time    `json:"until"`
}

// Bans are those there are now.
func (c *Clients) Bans() iter.Seq[Ban] {
	return func(yield func(Ban) bool) {
		for network, ban := range c.bans.All(time.Now()) {
			if !yield(Ban{network, ban.Why, ban.Since, ban.Until}) {
				return
			}
		}
	}
}

// Lift ends the ban of a network, and forgets what led to it. It tells whether there was one.
func (c *Clients) Lift(network netip.Prefix) (lifted bool) {
	network = limit.Network(network.Addr())
	if _, ok := c.bans.Find(network, time.Now()); !ok {
		return false
	}
	now := time.Now()
	for _, b := range c.budgets {
		b.seen.Add(network, -b.seen.Count(network, now), now)
	}
	c.bans.Lift(network)
	return true
}

// fault notes something that the session's client did wrong by itself, whatever mail it may have been given to relay.
func (s *session) fault(why string) {
	if !s.isUnnamed() && s.server.opts.Clients.count(misbehaving, s.remote.Addr()) {
		s.log.Warn("client banned", "why", misbehaving, "last", why)
	}
}

// nobody is the answer to a recipient that is nobody here. Who asks for too many of them wants to know who is.
func (s *session) nobody(r smtp.Reply) answer {
	if s.account.ID != "" || s.trusted || s.isUnnamed() || !s.server.opts.Clients.count(harvesting, s.remote.Addr()) {
		return say(r)
	}
	s.log.Warn("client banned", "why", harvesting)
	return sayAll(replyBanned)
}
