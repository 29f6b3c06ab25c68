// Package dns asks the domain name system, and answers for it in tests.
//
// It knows no mail. Resolver is the port; Client asks servers over UDP and TCP with a bounded cache, Zone answers from zone text, and
// Server serves a Zone to others. Answers say whether they were validated (the AD bit of a server that may be trusted for it).
package dns

import (
	"context"
	"errors"
	"net/netip"
)

// Errors a Resolver answers with.
var (
	ErrNoName    = errors.New("dns: no such name")           // NXDOMAIN
	ErrNoData    = errors.New("dns: no record of that type") // the name exists
	ErrTemporary = errors.New("dns: no answer at this time") // time-out, SERVFAIL, refused: try again later
)

// Resolver looks names up. Names are absolute, with or without the final dot.
type Resolver interface {
	// MX is in order of preference, hosts of the same preference in random order.
	MX(ctx context.Context, domain string) (Answer[MX], error)
	// Addrs are the AAAA and A records of a host, IPv6 first; ErrNoData only if there is neither.
	Addrs(ctx context.Context, host string) (Answer[netip.Addr], error)
	// A and AAAA are those of one family.
	A(ctx context.Context, host string) (Answer[netip.Addr], error)
	AAAA(ctx context.Context, host string) (Answer[netip.Addr], error)
	// TXT joins the strings of each record.
	TXT(ctx context.Context, name string) (Answer[string], error)
	// PTR are the names of an address, without the final dot.
	PTR(ctx context.Context, addr netip.Addr) (Answer[string], error)
}

// Answer is a set of records, never empty without an error.
type Answer[T any] struct {
	Records   []T
	Validated bool // by DNSSEC, by a server we may trust for it
}

// MX is one mail exchanger; Host is in lower case without its final dot, empty for a null MX (RFC 7505).
type MX struct {
	Preference uint16
	Host       string
}
