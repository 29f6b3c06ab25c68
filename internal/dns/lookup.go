package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Limits of one answer; what is beyond is left out.
const (
	maxRecords = 100
	maxChain   = 8 // CNAMEs followed
)

// asker answers one question with the records of that type, CNAMEs followed: the whole difference between a Client and a Zone.
type asker interface {
	ask(ctx context.Context, name string, qtype uint16) (rrs []dns.RR, validated bool, err error)
}

// lookups is the Resolver over an asker.
type lookups struct{ asker }

// lookup asks, and keeps what pick takes.
func lookup[T any](ctx context.Context, a asker, name string, qtype uint16, pick func(dns.RR) (T, bool)) (Answer[T], error) {
	c := canonical(name)
	if _, ok := dns.IsDomainName(c); !ok { // RFC 1035 §2.3.4: an empty or too long label, a name too long
		return Answer[T]{}, fmt.Errorf("%s %.300q: %w", dns.TypeToString[qtype], name, ErrNoName)
	}
	rrs, validated, err := a.ask(ctx, c, qtype)
	if err != nil {
		return Answer[T]{}, fmt.Errorf("%s %s: %w", dns.TypeToString[qtype], name, err)
	}
	answer := Answer[T]{Validated: validated}
	if qtype != dns.TypeMX { // of which MX keeps the preferred ones
		rrs = rrs[:min(len(rrs), maxRecords)]
	}
	for _, rr := range rrs {
		if v, ok := pick(rr); ok {
			answer.Records = append(answer.Records, v)
		}
	}
	if len(answer.Records) == 0 {
		return Answer[T]{}, fmt.Errorf("%s %s: %w", dns.TypeToString[qtype], name, ErrNoData)
	}
	return answer, nil
}

// canonical is the name as the DNS library writes it: absolute, in lower case, octets that mean something in zone text escaped.
func canonical(name string) string {
	var b strings.Builder
	for i := range len(name) {
		switch c := name[i]; {
		case strings.IndexByte(` '@;()"\\`, c) >= 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\%03d`, c)
		case 'A' <= c && c <= 'Z':
			b.WriteByte(c + 'a' - 'A')
		default:
			b.WriteByte(c)
		}
	}
	if !strings.HasSuffix(name, ".") {
		b.WriteByte('.')
	}
	return b.String()
}

// owner is canonical for a name that comes from the DNS library, escaped its way.
func owner(name string) string { return canonical(unescape(name)) }

func relative(name string) string { return strings.TrimSuffix(strings.ToLower(unescape(name)), ".") }

// MX is Resolver.
func (l lookups) MX(ctx context.Context, domain string) (Answer[MX], error) {
	answer, err := lookup(ctx, l, domain, dns.TypeMX, func(rr dns.RR) (MX, bool) {
		mx, ok := rr.(*dns.MX)
		if !ok {
			return MX{}, false
		}
		return MX{mx.Preference, relative(mx.Mx)}, true
	})
	// RFC 5321 §5.1: hosts of the same preference are tried in random order, to spread load.
	rand.Shuffle(len(answer.Records), func(i, j int) {
		answer.Records[i], answer.Records[j] = answer.Records[j], answer.Records[i]
	})
	slices.SortStableFunc(answer.Records, func(a, b MX) int { return cmp.Compare(a.Preference, b.Preference) })
	answer.Records = answer.Records[:min(len(answer.Records), maxRecords)]
	return answer, err
}

// A is Resolver.
func (l lookups) A(ctx context.Context, host string) (Answer[netip.Addr], error) {
	return lookup(ctx, l, host, dns.TypeA, func(rr dns.RR) (netip.Addr, bool) {
		a, ok := rr.(*dns.A)
		if !ok {
			return netip.Addr{}, false
		}
		addr, ok := netip.AddrFromSlice(a.A)
		return addr.Unmap(), ok
	})
}

// AAAA is Resolver.
func (l lookups) AAAA(ctx context.Context, host string) (Answer[netip.Addr], error) {
	return lookup(ctx, l, host, dns.TypeAAAA, func(rr dns.RR) (netip.Addr, bool) {
		a, ok := rr.(*dns.AAAA)
		if !ok {
			return netip.Addr{}, false
		}
		return netip.AddrFromSlice(a.AAAA)
	})
}

// Addrs is Resolver. One family's trouble does not hide the other's addresses.
func (l lookups) Addrs(ctx context.Context, host string) (Answer[netip.Addr], error) {
	six, err6 := l.AAAA(ctx, host)
	four, err4 := l.A(ctx, host)
	switch {
	case err6 != nil && err4 != nil:
		if errors.Is(err6, ErrTemporary) {
			return Answer[netip.Addr]{}, err6
		}
		return Answer[netip.Addr]{}, err4
	case err6 != nil:
		return four, nil
	case err4 != nil:
		return six, nil
	}
	return Answer[netip.Addr]{append(six.Records, four.Records...), six.Validated && four.Validated}, nil
}

// TXT is Resolver.
func (l lookups) TXT(ctx context.Context, name string) (Answer[string], error) {
	return lookup(ctx, l, name, dns.TypeTXT, func(rr dns.RR) (string, bool) {
		txt, ok := rr.(*dns.TXT)
		if !ok {
			return "", false
		}
		return unescape(strings.Join(txt.Txt, "")), true
	})
}

// PTR is Resolver.
func (l lookups) PTR(ctx context.Context, addr netip.Addr) (Answer[string], error) {
	name, err := dns.ReverseAddr(addr.Unmap().String())
	if err != nil {
		return Answer[string]{}, fmt.Errorf("PTR %s: %w", addr, ErrNoName)
	}
	return lookup(ctx, l, name, dns.TypePTR, func(rr dns.RR) (string, bool) {
		ptr, ok := rr.(*dns.PTR)
		if !ok {
			return "", false
		}
		return relative(ptr.Ptr), true
	})
}

// unescape undoes the presentation form (RFC 1035 §5.1) in which the DNS library hands out strings: \DDD and \X.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' && i+1 < len(s) {
			i++
			c = s[i]
			if isDigit(c) && i+2 < len(s) && isDigit(s[i+1]) && isDigit(s[i+2]) {
				c = (c-'0')*100 + (s[i+1]-'0')*10 + s[i+2] - '0'
				i += 2
			}
		}
		b.WriteByte(c)
	}
	return b.String()
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// errChain is a failure of the name's owner, which a recursive server calls one of its own: RFC 1034 §5.2.2.
var errChain = errors.New("dns: CNAMEs lead in a circle, or too far")

// follow walks the CNAMEs of one set of records from name to the records of the type; errChain if it comes to no end.
func follow(rrs []dns.RR, name string, qtype uint16) (found []dns.RR, err error) {
	for range maxChain + 1 {
		next := ""
		for _, rr := range rrs {
			switch h := rr.Header(); {
			case owner(h.Name) != name:
			case h.Rrtype == qtype:
				found = append(found, rr)
			case h.Rrtype == dns.TypeCNAME:
				next = owner(rr.(*dns.CNAME).Target)
			}
		}
		if len(found) > 0 || next == "" {
			return found, nil
		}
		name = next
	}
	return nil, errChain
}
