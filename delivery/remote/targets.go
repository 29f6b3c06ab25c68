package remote

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"posthouse/delivery/hop"
	"posthouse/internal/dns"
	"posthouse/mail/smtp"
)

// host is one that takes mail for the hop.
type host struct {
	name     string // of its certificate, and of reports
	port     uint16
	implicit bool // the domain itself, for want of MX records: RFC 5321 §5.1
	// unvouched is an exchanger whose name came from DNS without DNSSEC.
	unvouched bool
	address   netip.Addr
	path      string // of a unix socket
}

// hosts are the hosts to try, in this order.
func (c *Client) hosts(ctx context.Context, h hop.Hop) ([]host, *failure) {
	switch {
	case h.Kind == hop.LMTPUnix:
		return []host{{name: h.Host, path: h.Host}}, nil
	case h.Kind != hop.MX:
		address, _ := netip.ParseAddr(h.Host)
		return []host{{name: h.Host, port: h.Port, address: address}}, nil
	case strings.HasPrefix(h.Host, "["):
		literal := strings.TrimPrefix(strings.Trim(h.Host, "[]"), "IPv6:")
		address, err := netip.ParseAddr(literal)
		if err != nil {
			return nil, refusal(smtp.Enhanced{5, 1, 2}, "the address literal is none")
		}
		return []host{{name: h.Host, port: c.opts.Port, address: address}}, nil
	}
	return c.exchangers(ctx, h.Host)
}

// exchangers are the mail exchangers of a domain: RFC 5321 §5.1.
func (c *Client) exchangers(ctx context.Context, domain string) ([]host, *failure) {
	answer, err := c.opts.Resolver.MX(ctx, domain)
	switch {
	case errors.Is(err, dns.ErrNoData): // an implicit MX
		return []host{{name: domain, port: c.opts.Port, implicit: true}}, nil
	case errors.Is(err, dns.ErrNoName):
		return nil, refusal(smtp.Enhanced{5, 1, 2}, "the domain "+domain+" does not exist")
	case err != nil:
		c.opts.Log.Info("no answer about mail exchangers", "domain", domain, "err", err)
		return nil, trouble(smtp.Enhanced{4, 4, 3}, "no answer from the domain name system about the mail exchangers of "+domain)
	}
	all := answer.Records
	if len(all) == 1 && all[0].Host == "" { // RFC 7505 §3
		return nil, &failure{status: hop.Permanent, reply: smtp.Reply{Code: 556, Enhanced: smtp.Enhanced{5, 1, 10}, Text: "the domain " + domain + " takes no mail"}}
	}
	hosts := c.before(all)
	for i := range hosts {
		hosts[i].unvouched = !answer.Validated
	}
	if len(hosts) == 0 {
		return nil, refusal(smtp.Enhanced{5, 4, 6}, "mail for "+domain+" loops back to this host")
	}
	return hosts, nil
}

// before are the exchangers that are preferred to ourselves: mail must not go in circles (RFC 5321 §5.1).
func (c *Client) before(all []dns.MX) (hosts []host) {
	end := len(all)
	for _, mx := range all {
		if strings.EqualFold(mx.Host, c.opts.Hostname) {
			end = slices.IndexFunc(all, func(other dns.MX) bool { return other.Preference == mx.Preference })
			break
		}
	}
	for _, mx := range all[:min(end, maxHosts)] {
		if mx.Host != "" {
			hosts = append(hosts, host{name: mx.Host, port: c.opts.Port})
		}
	}
	return hosts
}

// address is where to connect to.
type address struct{ network, address string }

// addresses are those of a host, IPv6 first.
func (c *Client) addresses(ctx context.Context, h host) ([]address, *failure) {
	if h.path != "" {
		return []address{{"unix", h.path}}, nil
	}
	if h.address.IsValid() {
		return []address{h.at(h.address)}, nil
	}
	answer, err := c.opts.Resolver.Addrs(ctx, h.name)
	switch {
	case errors.Is(err, dns.ErrNoName) || errors.Is(err, dns.ErrNoData):
		if h.implicit {
			return nil, refusal(smtp.Enhanced{5, 1, 2}, "the domain "+h.name+" has neither mail exchangers nor an address")
		}
		return nil, refusal(smtp.Enhanced{5, 4, 4}, "the host "+h.name+" has no address")
	case err != nil:
		c.opts.Log.Info("no answer about addresses", "host", h.name, "err", err)
		return nil, trouble(smtp.Enhanced{4, 4, 3}, "no answer from the domain name system about the host "+h.name)
	}
	var all []address
	for _, a := range answer.Records {
		all = append(all, h.at(a))
	}
	return all, nil
}

func (h host) at(a netip.Addr) address {
	return address{"tcp", net.JoinHostPort(a.String(), strconv.Itoa(int(h.port)))}
}
