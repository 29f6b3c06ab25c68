package dns

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// Zone answers from zone text, for every name there is: what it does not hold does not exist. It is a Resolver.
type Zone struct {
	lookups
	mu      sync.RWMutex
	records map[string][]dns.RR // by canonical owner; a name with only names below it has an empty list
	failing map[string]bool
}

// ParseZone reads zone text (RFC 1035 §5); relative names are below the root, and the time to live is 300 s unless given.
func ParseZone(text string) (*Zone, error) {
	z := &Zone{records: map[string][]dns.RR{}, failing: map[string]bool{}}
	z.lookups = lookups{z}
	return z, z.Add(text)
}

// Add reads more records into the zone.
func (z *Zone) Add(text string) error {
	p := dns.NewZoneParser(strings.NewReader(text), ".", "")
	p.SetDefaultTTL(300)
	z.mu.Lock()
	defer z.mu.Unlock()
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		name := owner(rr.Header().Name)
		z.records[name] = append(z.records[name], rr)
		for _, i := range dns.Split(name) { // empty non-terminals exist: RFC 8020
			if parent := name[i:]; z.records[parent] == nil {
				z.records[parent] = []dns.RR{}
			}
		}
	}
	if err := p.Err(); err != nil {
		return fmt.Errorf("dns: zone text: %w", err)
	}
	return nil
}

// Remove takes all records of a name away.
func (z *Zone) Remove(name string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	delete(z.records, canonical(name))
}

// Fail makes every question for the name a temporary failure.
func (z *Zone) Fail(name string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.failing[canonical(name)] = true
}

// Heal ends what Fail began.
func (z *Zone) Heal(name string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	delete(z.failing, canonical(name))
}

func (z *Zone) ask(ctx context.Context, name string, qtype uint16) ([]dns.RR, bool, error) {
	if ctx.Err() != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrTemporary, ctx.Err())
	}
	chain, rcode := z.answer(name, qtype)
	found, err := follow(chain, name, qtype)
	switch {
	case rcode == dns.RcodeServerFailure:
		return nil, false, ErrTemporary
	case err != nil:
		return nil, false, fmt.Errorf("%w: %w", ErrTemporary, err)
	case len(found) > 0:
		return found, false, nil
	case rcode == dns.RcodeNameError:
		return nil, false, ErrNoName
	}
	return nil, false, ErrNoData
}

// answer is the answer section and the code for a question.
func (z *Zone) answer(name string, qtype uint16) (rrs []dns.RR, rcode int) {
	z.mu.RLock()
	defer z.mu.RUnlock()
	for range maxChain + 1 {
		if z.failing[name] {
			return nil, dns.RcodeServerFailure
		}
		here, ok := z.records[name]
		if !ok {
			return rrs, dns.RcodeNameError
		}
		next := ""
		for _, rr := range here {
			switch rr.Header().Rrtype {
			case qtype:
				rrs = append(rrs, rr)
			case dns.TypeCNAME:
				rrs, next = append(rrs, rr), owner(rr.(*dns.CNAME).Target)
			}
		}
		if next == "" {
			break
		}
		name = next
	}
	return rrs, dns.RcodeSuccess
}
