package spf

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"posthouse/internal/dns"
)

// match tells whether a mechanism matches: RFC 7208 §5.
func (e *evaluation) match(ctx context.Context, m mechanism, domain string) (bool, error) {
	switch m.name {
	case "all":
		return true, nil
	case "ip4", "ip6":
		return m.network.Contains(e.ip), nil
	}
	if err := e.spend(); err != nil {
		return false, err
	}
	target := domain
	if m.domain != "" {
		var err error
		if target, err = e.expand(ctx, m.domain, expansion{domain: domain}); err != nil {
			return false, err
		}
	}
	switch m.name {
	case "include":
		return e.include(ctx, target)
	case "a":
		return e.hasAddress(ctx, target, m)
	case "mx":
		return e.hasMX(ctx, target, m)
	case "ptr":
		name, err := e.validated(ctx, target)
		return name != "" && isWithin(name, target), err
	default: // exists: §5.7, an A record whatever the connection is
		_, err := e.resolver.A(ctx, target)
		return e.found(err)
	}
}

// include is §5.2.
func (e *evaluation) include(ctx context.Context, target string) (bool, error) {
	if !isDomain(target) {
		return false, permError("include of what is not a domain name")
	}
	explanation := e.explanation
	result, _, err := e.host(ctx, target)
	e.explanation = explanation // §6.2: that of an included policy is not used
	var t *trouble
	if errors.As(err, &t) && t.result == None {
		return false, permError("include of a domain without a policy")
	}
	return result == Pass, err
}

// hasAddress is §5.3.
func (e *evaluation) hasAddress(ctx context.Context, host string, m mechanism) (bool, error) {
	addrs, err := e.addresses(ctx, host)
	if ok, err := e.found(err); !ok {
		return false, err
	}
	bits := m.cidr6
	if e.ip.Is4() {
		bits = m.cidr4
	}
	return slices.ContainsFunc(addrs, func(a netip.Addr) bool {
		return netip.PrefixFrom(a, bits).Contains(e.ip)
	}), nil
}

// addresses are those of the connection's family: §5.
func (e *evaluation) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	look := e.resolver.AAAA
	if e.ip.Is4() {
		look = e.resolver.A
	}
	answer, err := look(ctx, host)
	return answer.Records, err
}

// hasMX is §5.4.
func (e *evaluation) hasMX(ctx context.Context, target string, m mechanism) (bool, error) {
	answer, err := e.resolver.MX(ctx, target)
	if ok, err := e.found(err); !ok {
		return false, err
	}
	if len(answer.Records) > maxNames {
		return false, permError("too many MX hosts")
	}
	for _, mx := range answer.Records {
		if mx.Host == "" {
			continue // a null MX (RFC 7505) is no host
		}
		if ok, err := e.hasAddress(ctx, mx.Host, m); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// validated is the best name of the connection's address that leads back to it (§5.5, §7.3): one that is prefer, else below prefer,
// else any. Trouble with DNS is no name.
func (e *evaluation) validated(ctx context.Context, prefer string) (string, error) {
	answer, err := e.resolver.PTR(ctx, e.ip)
	if err != nil {
		if errors.Is(err, dns.ErrTemporary) {
			return "", nil
		}
		_, err := e.found(err)
		return "", err
	}
	names := answer.Records[:min(len(answer.Records), maxNames)]
	best := ""
	for _, name := range names {
		addrs, err := e.addresses(ctx, name)
		if err != nil || !slices.Contains(addrs, e.ip) {
			continue
		}
		if strings.EqualFold(name, prefer) {
			return name, nil
		}
		if best == "" || isWithin(name, prefer) && !isWithin(best, prefer) {
			best = name
		}
	}
	return best, nil
}

// isWithin tells whether a name is the domain or below it.
func isWithin(name, domain string) bool {
	name, domain = strings.ToLower(name), strings.ToLower(strings.TrimSuffix(domain, "."))
	return name == domain || strings.HasSuffix(name, "."+domain)
}

// explain is §6.2: the explanation of a Fail, empty if there is any trouble with it.
func (e *evaluation) explain(ctx context.Context, exp, domain string) string {
	if exp == "" {
		return ""
	}
	target, err := e.expand(ctx, exp, expansion{domain: domain})
	if err != nil {
		return ""
	}
	answer, err := e.resolver.TXT(ctx, target)
	if err != nil || len(answer.Records) != 1 {
		return ""
	}
	text := answer.Records[0]
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return ""
		}
	}
	words := strings.Split(text, " ")
	for i, word := range words {
		if words[i], err = e.expand(ctx, word, expansion{domain: domain, explain: true}); err != nil {
			return ""
		}
	}
	return strings.Join(words, " ")
}
