package sasl

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net/netip"
	"slices"
	"time"

	"posthouse/directory"
	"posthouse/internal/limit"
	"posthouse/internal/lru"
	"posthouse/mail"
)

// Limits of what the guard remembers.
const (
	maxSubjects   = 100_000             // of each of its tables
	acquaintance  = 30 * 24 * time.Hour // of an account and a client network
	forgetFailure = 24 * time.Hour
)

// guard makes those wait who guess. Failures count for the client's network and for the name, whether there is such an account or not;
// and each alone makes wait, without a look at the password.
//
// An account must not be locked out by strangers who guess at it. So a name and a network that were once right together are acquainted:
// their attempts count for the two of them only, apart from all others. Nor must a house be locked out by one of its own programs that
// has an old password and tries it all day: the same wrong password for the same name is one failure, however often it comes. All of it
// is forgotten at a restart.
type guard struct {
	now     func() time.Time
	trusted []netip.Prefix
	clients *limit.Backoff[origin]
	names   *limit.Backoff[origin]
	pairs   *limit.Backoff[origin] // of the acquainted
	known   *lru.Cache[origin, time.Time]
	key     [32]byte // of tried, which so holds no passwords
	tried   *lru.Cache[guess, time.Time]
}

// guess is a name and a wrong password, by a keyed hash.
type guess [sha256.Size]byte

// subject is who tries to be whom.
type subject struct {
	name   string
	client netip.Addr
	secret string // a password, where it is told
}

// origin is a subject as it is counted: either part may be left out.
type origin struct {
	name    string
	network netip.Prefix
}

func newGuard(o Options) *guard {
	backoff := func(p limit.Patience) *limit.Backoff[origin] { return limit.NewBackoff[origin](p, maxSubjects) }
	g := &guard{
		tried: lru.New[guess, time.Time](maxSubjects),
		now:   o.Now, trusted: o.Trusted,
		// Many may share an address, and some of them have a program with an old password.
		clients: backoff(limit.Patience{Free: 20, First: time.Second, Most: time.Hour, Forget: forgetFailure}),
		// The longest wait is short, for the sake of somebody on a journey whose name a stranger guesses at. It leaves 288 guesses a day.
		names: backoff(limit.Patience{Free: 10, First: time.Second, Most: 5 * time.Minute, Forget: forgetFailure}),
		pairs: backoff(limit.Patience{Free: 10, First: time.Second, Most: 5 * time.Minute, Forget: forgetFailure}),
		known: lru.New[origin, time.Time](maxSubjects),
	}
	rand.Read(g.key[:])
	return g
}

// origin is how a subject is counted; names that are no addresses are all one.
func (s subject) origin() origin {
	o := origin{network: limit.Network(s.client)}
	if s.name != "" {
		o.name = "?"
		if a, err := mail.ParseAddress(s.name); err == nil {
			o.name = a.FoldLocal().String()
		}
	}
	return o
}

// count is a place where an attempt counts.
type count struct {
	backoff *limit.Backoff[origin]
	of      origin
}

// counts are where an attempt counts.
func (g *guard) counts(s subject, now time.Time) (list []count) {
	o := s.origin()
	if _, ok := g.known.Get(o, func(until time.Time) bool { return now.Before(until) }); ok {
		return []count{{g.pairs, o}}
	}
	if o.network.IsValid() && !slices.ContainsFunc(g.trusted, func(p netip.Prefix) bool { return p.Contains(s.client) }) {
		list = append(list, count{g.clients, origin{network: o.network}})
	}
	if o.name != "" {
		list = append(list, count{g.names, origin{name: o.name}})
	}
	return list
}

// attempt runs prove, unless the subject has to wait: ErrThrottled. It counts as failed from its beginning, so that many at once are no
// more guesses than many one after another; what is not a wrong guess is taken back.
func (g *guard) attempt(s subject, prove func() (directory.Account, error)) (directory.Account, error) {
	o, now := s.origin(), g.now()
	counts := g.counts(s, now)
	undo := func(counts []count) {
		for _, c := range counts {
			c.backoff.Undo(c.of)
		}
	}
	for i, c := range counts {
		if c.backoff.Try(c.of, now) > 0 {
			undo(counts[:i])
			return directory.Account{}, ErrThrottled
		}
	}
	who, err := prove()
	if !errors.Is(err, directory.ErrCredentials) || g.again(s, now) {
		undo(counts)
	}
	if err == nil && o.name != "" && o.network.IsValid() {
		g.known.Put(o, now.Add(acquaintance))
		g.pairs.Forget(o)
	}
	return who, err
}

// again tells whether a wrong password was tried before.
func (g *guard) again(s subject, now time.Time) bool {
	if s.secret == "" {
		return false
	}
	m := hmac.New(sha256.New, g.key[:])
	m.Write([]byte(s.origin().name + "\x00" + s.secret))
	tried := guess(m.Sum(nil))
	_, again := g.tried.Get(tried, func(until time.Time) bool { return now.Before(until) })
	g.tried.Put(tried, now.Add(forgetFailure))
	return again
}
