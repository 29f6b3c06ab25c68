package remote

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"posthouse/delivery/hop"
	"posthouse/mail/smtp"
)

// peer is one address of one host, and how to speak to it.
type peer struct {
	host    host
	address address
	verify  bool // only TLS with a certificate that is good for the host will do
	hop     hop.Hop
}

func (p peer) lmtp() bool { return p.hop.Kind == hop.LMTP || p.hop.Kind == hop.LMTPUnix }

// at completes a failure with where it happened.
func (p peer) at(f *failure) *failure {
	f.reply.Text += " (" + p.host.name + ", " + p.address.address + ")"
	return f
}

// said is a reply that makes a host of no use. If it is permanent, another host of the domain may still think otherwise.
func (p peer) said(status hop.Status, r smtp.Reply) *failure {
	if r.Positive() {
		r = outOfTurn(r)
	}
	return &failure{status: status, reply: r, host: p.host.name, via: p.host.name + " [" + p.address.address + "]"}
}

// outOfTurn is what to think of a positive reply where there can be none: that the host does not mean what it says.
func outOfTurn(r smtp.Reply) smtp.Reply {
	return smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{4, 5, 0}, Text: "its reply makes no sense here: " + r.String()} // RFC 3463 §3.6
}

// connect makes a connection that is ready for a transaction.
func (c *Client) connect(ctx context.Context, p peer) (*conn, *failure) {
	k, f := c.attempt(ctx, p, true)
	if f != nil && f.handshake && !p.verify { // opportunistic: better in the clear than not at all (RFC 7435)
		k, f = c.attempt(ctx, p, false)
	}
	return k, f
}

// attempt connects and greets; withTLS lets it use STARTTLS.
func (c *Client) attempt(ctx context.Context, p peer, withTLS bool) (*conn, *failure) {
	dialing, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	nc, err := c.opts.Dial(dialing, p.address.network, p.address.address)
	if err != nil {
		f := ioFailure(err, "connecting")
		f.reply.Enhanced = smtp.Enhanced{4, 4, 1} // RFC 3463 §3.5: no answer from host
		return nil, p.at(f)
	}
	k := newConn(nc, p)
	stop := k.abortWith(ctx)
	defer stop()
	if f := c.greet(ctx, k, withTLS); f != nil {
		k.Close()
		return nil, f
	}
	return k, nil
}

// greet does all that comes before the first transaction.
func (c *Client) greet(ctx context.Context, k *conn, withTLS bool) *failure {
	if k.peer.hop.Kind == hop.SMTPS {
		if f := c.handshake(ctx, k); f != nil {
			return f
		}
	}
	r, err := k.reply(greetingTime)
	if err != nil {
		return k.peer.at(ioFailure(err, "waiting for the greeting"))
	}
	if r.Code != 220 { // RFC 7504 §2: only 521 says that it will never be otherwise
		status := hop.Temporary
		if r.Code == 521 {
			status = hop.Permanent
		}
		return k.peer.said(status, r)
	}
	if f := c.hello(k); f != nil {
		return f
	}
	if withTLS {
		if f := c.startTLS(ctx, k); f != nil {
			return f
		}
	}
	if k.peer.verify && !k.tls() {
		f := trouble(smtp.Enhanced{4, 7, 4}, "the host offers no TLS, which is needed") // RFC 3463 §3.8
		f.tls = true
		return k.peer.at(f)
	}
	c.known.learn(k.peer.hop, k.offered)
	return c.authenticate(k)
}

// hello says EHLO, or HELO if the host does not know that (RFC 5321 §3.2); LHLO to an LMTP server (RFC 2033 §4.1).
func (c *Client) hello(k *conn) *failure {
	verbs := []string{"EHLO ", "HELO "}
	if k.peer.lmtp() {
		verbs = []string{"LHLO "}
	}
	var last smtp.Reply
	for _, verb := range verbs {
		r, err := k.command(verb+c.opts.Hostname, helloTime)
		if err != nil {
			return k.peer.at(ioFailure(err, "saying "+strings.TrimSpace(verb)))
		}
		if hop.StatusOf(r) == hop.Delivered {
			k.learn(r, verb != "HELO ")
			return nil
		}
		if last = r; !r.Permanent() {
			break
		}
	}
	return k.peer.said(hop.StatusOf(last), last)
}

// learn reads what a host offers: RFC 5321 §4.1.1.1. What it offered before, without TLS, counts no more (RFC 3207 §4.2).
func (k *conn) learn(r smtp.Reply, extended bool) {
	k.offered, k.limit, k.plain, k.minBy, k.limits = 0, 0, false, 0, limits{}
	_, lines, _ := strings.Cut(r.Text, "\n")
	if !extended {
		return
	}
	for line := range strings.SplitSeq(lines, "\n") {
		keyword, args, _ := strings.Cut(line, " ")
		known := smtp.ExtensionNamed(keyword)
		k.offered |= known &^ k.peer.hop.Without
		switch {
		case known == smtp.Size:
			// A limit that is no number is none: RFC 1870 §4.
			k.limit, _ = strconv.ParseInt(strings.TrimSpace(args), 10, 64)
		case known == smtp.Auth:
			for mechanism := range strings.FieldsSeq(args) {
				k.plain = k.plain || strings.EqualFold(mechanism, "PLAIN")
			}
		case known == smtp.DeliverBy:
			least, _, _ := strings.Cut(args, ",")
			// A least time that is no number is none: RFC 2852 §2.
			seconds, _ := strconv.ParseInt(strings.TrimSpace(least), 10, 32)
			k.minBy = time.Duration(seconds) * time.Second
		case known == smtp.Limits:
			k.limits = parseLimits(args)
		}
	}
}

// startTLS encrypts the connection if the host offers that: RFC 3207.
func (c *Client) startTLS(ctx context.Context, k *conn) *failure {
	if k.tls() || !k.offered.Has(smtp.StartTLS) || k.peer.host.path != "" {
		return nil
	}
	r, err := k.command("STARTTLS", helloTime)
	if err != nil {
		return k.peer.at(ioFailure(err, "saying STARTTLS"))
	}
	if r.Code != 220 {
		return nil
	}
	if f := c.handshake(ctx, k); f != nil {
		return f
	}
	return c.hello(k)
}

// handshake begins TLS. Octets that came before it are an injection and not looked at.
func (c *Client) handshake(ctx context.Context, k *conn) *failure {
	config := c.opts.TLS.Clone()
	config.ServerName = k.peer.host.name
	config.InsecureSkipVerify = !k.peer.verify // opportunistic: anything is better than no encryption (RFC 7435)
	t := tls.Client(k.Conn, config)
	shaking, cancel := context.WithTimeout(ctx, tlsTime)
	defer cancel()
	if err := t.HandshakeContext(shaking); err != nil {
		c.opts.Log.Info("the TLS handshake failed", "host", k.peer.host.name, "address", k.peer.address.address, "err", err)
		f := trouble(smtp.Enhanced{4, 7, 5}, "the TLS handshake failed") // RFC 3463 §3.8: cryptographic failure
		f.handshake, f.tls = true, true
		return k.peer.at(f)
	}
	k.wrap(t)
	return nil
}

// authenticate says who we are, if the route has credentials: RFC 4954 §4, RFC 4616. A refusal is for an operator to mend, and so
// never final.
func (c *Client) authenticate(k *conn) *failure {
	if k.peer.hop.Username == "" {
		return nil
	}
	if !k.plain {
		return k.peer.at(trouble(smtp.Enhanced{4, 7, 0}, "the host does not offer AUTH PLAIN"))
	}
	response := base64.StdEncoding.EncodeToString([]byte("\x00" + k.peer.hop.Username + "\x00" + k.peer.hop.Password))
	r, err := k.command("AUTH PLAIN "+response, helloTime)
	if err != nil {
		return k.peer.at(ioFailure(err, "authenticating"))
	}
	if r.Code != 235 {
		return k.peer.said(hop.Temporary, r)
	}
	return nil
}
