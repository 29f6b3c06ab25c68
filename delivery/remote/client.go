// Package remote takes messages to other hosts by SMTP and LMTP: the client's side of RFC 5321 and RFC 2033.
//
// It must not know the queue, retry policy, mailboxes or who is local: a hop.Task comes in, a hop.Result for each recipient goes out.
//
// The flow of Client.Deliver: reuse an idle connection of the hop, else hosts (MX: RFC 5321 §5.1) → addresses → connect (greeting,
// EHLO, STARTTLS, AUTH) → prepare (convert what the host has no extension for) → exchange: MAIL, RCPT and DATA in one write where
// PIPELINING is offered, the message, its final reply; then the next host for those a host could not take now. So a message on a reused
// connection costs two round trips; with CHUNKING it goes by BDAT, as it is.
//
// Security is opportunistic, unless the message asks for TLS (RFC 8689) or we authenticate: then the certificate must be good for the
// host. Every phase has its own deadline (§4.5.3.2), replies are bounded, and what was received before a TLS handshake is forgotten.
// One goroutine uses a connection; the pool of idle ones has a mutex and bounds of its own, and so has
// what is known of the extensions of hosts.
package remote

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"slices"

	"posthouse/delivery/hop"
	"posthouse/internal/dns"
	"posthouse/mail"
	"posthouse/mail/mime"
	"posthouse/mail/smtp"
)

// Limits.
const (
	maxHosts      = 10  // mail exchangers looked at; RFC 5321 §5.1 asks for two addresses at least
	maxConnects   = 12  // connections attempted
	maxSessions   = 3   // hosts that were let see the message
	maxTickets    = 500 // TLS sessions remembered, so that the next connection costs less
	maxRecipients = 100 // in one transaction, which every server must take: RFC 5321 §4.5.3.1.8
)

// Options say who we are and how to reach others.
type Options struct {
	Hostname string // of EHLO; a mail exchanger of this name is ourselves
	Resolver dns.Resolver
	Port     uint16      // of mail exchangers; 0: 25
	TLS      *tls.Config // roots and client certificates; nil: the system's
	// Dial connects; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Sign makes the fields that sign a message of ours anew once it was converted, which broke its signature; nil: none.
	Sign func(env *mail.Envelope, content io.ReaderAt, size int64) ([]byte, error)
	Log  *slog.Logger // nil: none
}

// Client delivers to other hosts. It is a hop.Transport.
type Client struct {
	opts  Options
	pool  pool
	known known
}

var _ hop.Transport = (*Client)(nil)

// New makes a client; Close it.
func New(o Options) *Client {
	if o.Port == 0 {
		o.Port = 25
	}
	if o.TLS == nil {
		o.TLS = &tls.Config{}
	}
	o.TLS = o.TLS.Clone()
	o.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(maxTickets)
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Client{opts: o}
}

// Close ends the idle connections.
func (c *Client) Close() error {
	c.pool.close()
	return nil
}

// Deliver is hop.Transport.
func (c *Client) Deliver(ctx context.Context, h hop.Hop, t hop.Task) []hop.Result {
	d := delivery{client: c, hop: h, task: t, results: make([]hop.Result, len(t.Recipients))}
	defer d.dropForms()
	for i := range t.Recipients {
		d.pending = append(d.pending, i)
	}
	for before := 0; len(d.pending) > 0 && len(d.pending) != before; {
		before = len(d.pending)
		if !d.reuse(ctx) {
			d.connectAnew(ctx)
		}
		d.conclude(ctx)
		d.pending, d.left, d.sessions, d.failure = d.left, nil, nil, nil
	}
	d.conclude(ctx)
	return d.results
}

// delivery is one Deliver. A result stays Untried or Temporary while its recipient is pending, which another host may take.
type delivery struct {
	client   *Client
	hop      hop.Hop
	task     hop.Task
	results  []hop.Result
	pending  []int    // recipients
	left     []int    // recipients beyond what a host takes over one connection: RFC 9422
	failure  *failure // why no host was of use
	sessions []string // the hosts that were let see the message
	out      outgoing // the message as the host at hand gets it
	forms    map[mime.Form]mail.Content
}

// failure is why a host, or all of them, was of no use.
type failure struct {
	status hop.Status
	reply  smtp.Reply
	host   string // who said it; empty: we did
	via    string

	handshake bool // TLS was agreed on and failed
	tls       bool // there is no TLS that will do
}

// trouble is a temporary failure in our words.
func trouble(e smtp.Enhanced, text string) *failure {
	return &failure{status: hop.Temporary, reply: smtp.Reply{Code: 451, Enhanced: e, Text: text}}
}

// refusal is a permanent failure in our words.
func refusal(e smtp.Enhanced, text string) *failure {
	return &failure{status: hop.Permanent, reply: smtp.Reply{Code: 550, Enhanced: e, Text: text}}
}

// key says which idle connections will do.
func (d *delivery) key() poolKey { return poolKey{d.hop, d.verify()} }

// verify tells whether only TLS with a good certificate will do. A sender that does without it (RFC 8689 §4.2.2) does not speak for our
// credentials.
func (d *delivery) verify() bool {
	return d.hop.Username != "" || d.hop.Kind == hop.SMTPS && d.task.Envelope.TLS != mail.TLSIgnored || d.requireTLS()
}

// requireTLS tells whether the message must not go otherwise. A notice goes as well as it can: RFC 8689 §5. A socket is no network.
func (d *delivery) requireTLS() bool {
	return d.task.Envelope.TLS == mail.TLSRequired && !d.task.Envelope.From.IsNull() && d.hop.Kind != hop.LMTPUnix
}

// reuse delivers over an idle connection, and tells whether nothing is left to do. A connection that the other end closed meanwhile
// counts for nothing.
func (d *delivery) reuse(ctx context.Context) bool {
	for len(d.pending) > 0 && ctx.Err() == nil {
		c := d.client.pool.get(d.key())
		if c == nil {
			return false
		}
		if d.use(ctx, c) != stale {
			break
		}
		d.failure = nil
	}
	return len(d.pending) == 0
}

// connectAnew goes through the hosts in their order.
func (d *delivery) connectAnew(ctx context.Context) {
	hosts, f := d.client.hosts(ctx, d.hop)
	d.note(f)
	if d.requireTLS() && slices.ContainsFunc(hosts, func(h host) bool { return h.unvouched }) { // RFC 8689 §4.2.1
		d.note(refusal(smtp.Enhanced{5, 7, 10}, "nobody vouches for the mail exchangers of the domain, and the message needs TLS"))
		return
	}
	connects := 0
	for _, h := range hosts {
		if slices.Contains(d.sessions, h.name) {
			continue
		}
		addresses, f := d.client.addresses(ctx, h)
		d.note(f)
		for _, address := range addresses {
			if len(d.pending) == 0 || ctx.Err() != nil || connects == maxConnects || len(d.sessions) == maxSessions {
				return
			}
			connects++
			c, f := d.client.connect(ctx, peer{h, address, d.verify(), d.hop})
			if f != nil {
				d.note(d.needsTLS(f))
				continue
			}
			d.use(ctx, c)
			break // whom this host did not take goes to the next host, not to another address of this one
		}
	}
}

// needsTLS makes trouble with TLS final for a message that must not go without: RFC 8689 §4.2.1.
func (d *delivery) needsTLS(f *failure) *failure {
	if f.tls && d.requireTLS() {
		f.status, f.reply.Code, f.reply.Enhanced = hop.Permanent, 550, smtp.Enhanced{5, 7, 10}
	}
	return f
}

// note keeps the last reason that may pass, else the last one: a host that is no good for ever does not speak for one that is down
// now (RFC 5321 §4.5.4.1).
func (d *delivery) note(f *failure) {
	if f != nil && (f.status == hop.Temporary || d.failure == nil || d.failure.status == hop.Permanent) {
		d.failure = f
	}
}

// conclude gives those that no host took the reason. Who was stopped is not told that a host failed.
func (d *delivery) conclude(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	f := d.failure
	if f == nil {
		f = trouble(smtp.Enhanced{4, 4, 1}, "no host could be reached") // RFC 3463 §3.5
	}
	for _, i := range d.pending {
		if d.results[i].Status == hop.Untried {
			d.results[i] = f.result()
		}
	}
}

func (f *failure) result() hop.Result {
	return hop.Result{Status: f.status, Reply: f.reply, Host: f.host, Via: f.via}
}
