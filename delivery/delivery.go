// Package delivery moves each due spool entry to its next hop, and settles what became of it.
//
// It must not know mta sessions, IMAP or HTTP. How a hop is taken is its transports' business: delivery/remote (SMTP, LMTP) and
// delivery/local (mailboxes), which it knows as hop.Transport.
//
// The flow: Mover.Run → scheduler.run: spool.Take → spread over workers → attempt: route each recipient → transport.Deliver → settle:
// delivered | retry(due) | dead, with the notices that follow → spool.Settle, one transaction.
//
// Limits: so many workers in all, so many for one destination, and more than one for it only while half of all are free: a slow
// destination never keeps another waiting. What is queued stays in the spool: memory holds the jobs under way, and those next in line for
// our own mailboxes, so that what is for the same one shares transactions and syncs.
// Connections stay open a little while, so that they are used again as long as there is mail for a destination.
package delivery

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"posthouse/delivery/hop"
	"posthouse/delivery/local"
	"posthouse/delivery/remote"
	"posthouse/directory"
	"posthouse/internal/dns"
	"posthouse/mail"
	"posthouse/mailbox"
	"posthouse/spool"
)

// Defaults of Options.
const (
	defaultWorkers        = 200
	defaultPerDestination = 20
	defaultGiveUpAfter    = 5 * 24 * time.Hour // RFC 5321 §4.5.4.1: 4 to 5 days at least
	defaultWarnAfter      = 4 * time.Hour
	defaultSuppressFor    = 14 * 24 * time.Hour
)

func defaultRetry() []time.Duration {
	return []time.Duration{5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour}
}

// people says who is local, and where their mail goes.
type people interface {
	IsLocal(ctx context.Context, domain string) (bool, error)
	Resolve(ctx context.Context, a mail.Address) (directory.Resolution, error)
	Suppress(ctx context.Context, s directory.Suppression) error
}

// Options say how mail moves. Hostname, Directory, Store and Resolver are needed.
type Options struct {
	Hostname   string // of EHLO, of notices, and of ourselves among mail exchangers
	Directory  people
	Store      mailbox.Store
	Resolver   dns.Resolver
	Port       uint16       // of mail exchangers; 0: 25
	Routes     []Route      // the first that matches counts
	Postmaster mail.Address // named in notices; zero: nobody is
	TLS        *tls.Config  // roots for what is verified; nil: the system's

	Retry       []time.Duration // between attempts, the last repeats; empty: 5m, 15m, 30m, 1h, 2h, 4h, 8h
	GiveUpAfter time.Duration   // 0: 5 days
	WarnAfter   time.Duration   // when the sender hears of a delay; 0: 4 hours
	SuppressFor time.Duration   // how long our users send nothing to an address that is none; 0: 2 weeks; below 0: nothing is suppressed

	Workers        int // attempts at the same time; 0: 200
	PerDestination int // of them, to one destination that is not our own mailboxes; 0: 20

	// Sign makes the fields that sign a notice of ours, from an address at the domain; nil: none.
	Sign func(domain string, content io.ReaderAt, size int64) ([]byte, error)
	// Dial connects to other hosts; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Observe is told of every attempt; nil: nobody is.
	Observe func(Attempt)
	Log     *slog.Logger // nil: none
}

// Attempt is what metrics count.
type Attempt struct {
	Via    string // "remote" or "local"
	Result string // "delivered", "retry" or "failed"; one for each recipient
	Took   time.Duration
}

// Mover moves mail.
type Mover struct {
	opts       Options
	routes     []route
	policy     policy
	transports map[string]hop.Transport // by what Attempt.Via says
	hosts      *remote.Client           // one of them
}

// New makes a mover.
func New(o Options) (*Mover, error) {
	o = withDefaults(o)
	m := &Mover{opts: o, policy: policy{o.Retry, o.GiveUpAfter, o.WarnAfter}}
	for _, r := range o.Routes {
		compiled, err := r.compile()
		if err != nil {
			return nil, fmt.Errorf("delivery: %w", err)
		}
		m.routes = append(m.routes, compiled)
	}
	m.hosts = remote.New(remote.Options{Hostname: o.Hostname, Resolver: o.Resolver, Port: o.Port, TLS: o.TLS, Dial: o.Dial, Sign: m.signAgain, Log: o.Log})
	m.transports = map[string]hop.Transport{
		viaLocal:  local.New(local.Options{Directory: o.Directory, Store: o.Store, Log: o.Log}),
		viaRemote: m.hosts,
		viaNone:   parking{},
	}
	return m, nil
}

// signAgain signs a message that was converted on its way out, for the domain that it was signed for when it came: its author's, which need
// not be its sender's.
func (m *Mover) signAgain(env *mail.Envelope, content io.ReaderAt, size int64) ([]byte, error) {
	domain := env.SignedFor()
	if m.opts.Sign == nil || domain == "" {
		return nil, nil
	}
	return m.opts.Sign(domain, content, size)
}

func withDefaults(o Options) Options {
	if len(o.Retry) == 0 {
		o.Retry = defaultRetry()
	}
	if o.GiveUpAfter == 0 {
		o.GiveUpAfter = defaultGiveUpAfter
	}
	if o.WarnAfter == 0 {
		o.WarnAfter = defaultWarnAfter
	}
	if o.SuppressFor == 0 {
		o.SuppressFor = defaultSuppressFor
	}
	if o.Workers == 0 {
		o.Workers = defaultWorkers
	}
	if o.PerDestination == 0 {
		o.PerDestination = defaultPerDestination
	}
	if o.Observe == nil {
		o.Observe = func(Attempt) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Run moves mail until ctx ends, then finishes what is under way, within DrainTime. It is called once. Its error is that of a spool
// that takes no more.
func (m *Mover) Run(ctx context.Context, s spool.Spool) error {
	err := newScheduler(m, s).run(ctx)
	for _, t := range m.transports {
		err = errors.Join(err, t.Close())
	}
	return err
}

// Names of the transports, in metrics too.
const (
	viaLocal  = "local"
	viaRemote = "remote"
	viaNone   = "none"
)

// transport is the one that takes a hop, and its name.
func (m *Mover) transport(h hop.Hop) (hop.Transport, string) {
	via := viaRemote
	switch h.Kind {
	case hop.Local:
		via = viaLocal
	case hop.Dead:
		via = viaNone
	}
	return m.transports[via], via
}
