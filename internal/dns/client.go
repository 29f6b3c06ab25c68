package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"posthouse/internal/lru"
)

const (
	maxUDP       = 1232            // octets: the size of DNS flag day 2020, which is not fragmented
	tryTimeout   = 3 * time.Second // one question to one server
	tries        = 2               // of each server
	maxCached    = 10_000          // answers
	maxKept      = 4096            // octets of a cached answer; a larger one is asked for again
	maxTTL       = time.Hour       // of any answer
	maxNegative  = 5 * time.Minute // of "no such name" and "no data": RFC 2308 §5 allows hours
	minTTL       = 1 * time.Second // of an answer with none, so that one message asks once
	resolvConf   = "/etc/resolv.conf"
	fallbackAddr = "127.0.0.1:53" // as the system's resolver without a configuration
)

// ClientOptions say whom to ask; every zero value is usable.
type ClientOptions struct {
	// Servers are recursive resolvers; none: those of the system.
	Servers []netip.AddrPort
	// TrustAD takes the servers' word that an answer was validated; true only where the way to them cannot be tampered with.
	// Servers on this machine are always trusted.
	TrustAD bool
	Now     func() time.Time
}

// Client asks recursive servers and remembers their answers for as long as they may be. It is a Resolver.
type Client struct {
	lookups
	opts  ClientOptions
	known *lru.Cache[question, cached]
}

type question struct {
	name  string
	qtype uint16
}

type cached struct {
	rrs       []dns.RR
	validated bool
	err       error // ErrNoName, ErrNoData
	until     time.Time
}

// NewClient makes a client.
func NewClient(o ClientOptions) (*Client, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if len(o.Servers) == 0 {
		var err error
		if o.Servers, err = systemServers(); err != nil {
			return nil, err
		}
	}
	c := &Client{opts: o, known: lru.New[question, cached](maxCached)}
	c.lookups = lookups{c}
	return c, nil
}

func systemServers() (servers []netip.AddrPort, err error) {
	conf, err := dns.ClientConfigFromFile(resolvConf)
	if err != nil {
		return []netip.AddrPort{netip.MustParseAddrPort(fallbackAddr)}, nil
	}
	for _, s := range conf.Servers {
		at, err := netip.ParseAddrPort(net.JoinHostPort(s, conf.Port))
		if err != nil {
			return nil, fmt.Errorf("dns: %s: nameserver %q: %w", resolvConf, s, err)
		}
		servers = append(servers, at)
	}
	if len(servers) == 0 {
		servers = []netip.AddrPort{netip.MustParseAddrPort(fallbackAddr)}
	}
	return servers, nil
}

func (c *Client) ask(ctx context.Context, name string, qtype uint16) ([]dns.RR, bool, error) {
	q := question{name, qtype}
	if hit, ok := c.known.Get(q, func(a cached) bool { return c.opts.Now().Before(a.until) }); ok {
		return hit.rrs, hit.validated, hit.err
	}
	var errs []error
	for range tries {
		for _, server := range c.opts.Servers {
			reply, err := exchange(ctx, q, server)
			if err == nil {
				answer, err := c.read(q, reply, server)
				if err == nil {
					if reply.Len() <= maxKept {
						c.known.Put(q, answer)
					}
					return answer.rrs, answer.validated, answer.err
				}
				errs = append(errs, err)
			} else {
				errs = append(errs, err)
			}
			if ctx.Err() != nil {
				return nil, false, fmt.Errorf("%w: %w", ErrTemporary, ctx.Err())
			}
		}
	}
	return nil, false, fmt.Errorf("%w: %w", ErrTemporary, errors.Join(errs...))
}

// exchange asks one server, over TCP if its answer does not fit into a datagram.
func exchange(ctx context.Context, q question, server netip.AddrPort) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	m := new(dns.Msg)
	m.SetQuestion(q.name, q.qtype)
	m.AuthenticatedData = true // RFC 6840 §5.7: say whether it was validated
	m.SetEdns0(maxUDP, false)
	for _, network := range []string{"udp", "tcp"} {
		client := dns.Client{Net: network, UDPSize: maxUDP, Timeout: tryTimeout}
		reply, _, err := client.ExchangeContext(ctx, m, server.String())
		if err != nil {
			return nil, fmt.Errorf("%s/%s: %w", server, network, err)
		}
		if !reply.Response || len(reply.Question) != 1 || owner(reply.Question[0].Name) != q.name || reply.Question[0].Qtype != q.qtype {
			return nil, fmt.Errorf("%s/%s: the answer is to another question", server, network)
		}
		if !reply.Truncated {
			return reply, nil
		}
	}
	return nil, fmt.Errorf("%s: the answer is truncated over TCP", server)
}

// read makes an answer of a reply; an error means that the server cannot say.
func (c *Client) read(q question, reply *dns.Msg, server netip.AddrPort) (cached, error) {
	if reply.Rcode != dns.RcodeSuccess && reply.Rcode != dns.RcodeNameError {
		return cached{}, fmt.Errorf("%s: %s", server, dns.RcodeToString[reply.Rcode])
	}
	a := cached{validated: reply.AuthenticatedData && (c.opts.TrustAD || server.Addr().IsLoopback())}
	var err error
	if a.rrs, err = follow(reply.Answer, q.name, q.qtype); err != nil {
		return cached{}, fmt.Errorf("%s: %w", server, err)
	}
	ttl := maxTTL
	switch {
	case len(a.rrs) > 0:
		for _, rr := range reply.Answer {
			ttl = min(ttl, time.Duration(rr.Header().Ttl)*time.Second)
		}
	case reply.Rcode == dns.RcodeNameError:
		a.err, ttl = ErrNoName, negativeTTL(reply)
	default:
		a.err, ttl = ErrNoData, negativeTTL(reply)
	}
	a.until = c.opts.Now().Add(max(ttl, minTTL))
	return a, nil
}

// negativeTTL is RFC 2308 §5, capped.
func negativeTTL(reply *dns.Msg) time.Duration {
	for _, rr := range reply.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return min(time.Duration(min(soa.Hdr.Ttl, soa.Minttl))*time.Second, maxNegative)
		}
	}
	return 0
}
