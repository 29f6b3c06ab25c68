// Package dmarc evaluates DMARC policies: RFC 7489. Reports are not its business.
//
// It must not know sessions or what becomes of a message: Check answers with a value.
//
// The flow: Check → find the policy record of the author's domain, else of its organizational domain → alignment of what SPF and DKIM
// passed → the policy to apply.
package dmarc

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"

	"posthouse/crypto/dkim"
	"posthouse/internal/dns"
	"posthouse/mta/spf"
)

// Result is a result word of RFC 7489 §11.2.
type Result string

// The results.
const (
	None      Result = "none" // there is no policy
	Pass      Result = "pass"
	Fail      Result = "fail"
	TempError Result = "temperror"
	PermError Result = "permerror"
)

// Policy is what the domain asks to be done with a failing message: RFC 7489 §6.3.
type Policy string

// The policies.
const (
	PolicyNone       Policy = "none"
	PolicyQuarantine Policy = "quarantine"
	PolicyReject     Policy = "reject"
)

// Query is what is known of a message.
type Query struct {
	From string // domain of the one address in the From field, lower case A-labels; empty: there is not one, which is a PermError
	SPF  spf.Answer
	DKIM []dkim.Signature
}

// Answer is what came of it.
type Answer struct {
	Result Result
	Domain string // where the policy was found
	Policy Policy // to apply to a Fail, after pct=, or that a TempError of SPF or DKIM keeps from it; else PolicyNone
	Reason string
}

// Check evaluates the policy of the author's domain.
func Check(ctx context.Context, resolver dns.Resolver, q Query) Answer {
	if q.From == "" {
		return Answer{Result: PermError, Policy: PolicyNone, Reason: "there is not one author domain"}
	}
	r, domain, err := find(ctx, resolver, q.From)
	switch {
	case errors.Is(err, errNoPolicy):
		return Answer{Result: None, Policy: PolicyNone, Reason: "no policy"}
	case errors.Is(err, dns.ErrTemporary):
		return Answer{Result: TempError, Domain: domain, Policy: PolicyNone, Reason: "the policy could not be looked up"}
	case err != nil:
		return Answer{Result: PermError, Domain: domain, Policy: PolicyNone, Reason: err.Error()}
	}
	a := Answer{Result: Fail, Domain: domain, Policy: PolicyNone, Reason: "neither SPF nor DKIM passed for the author's domain"}
	if by := q.aligned(r, spf.Pass, dkim.Pass); by != "" {
		a.Result, a.Reason = Pass, by
		return a
	}
	if by := q.aligned(r, spf.TempError, dkim.TempError); by != "" { // RFC 7489 §6.6.2: it could have passed, so this is no failure
		a.Result, a.Reason = TempError, "no answer in time about "+by
	}
	a.Policy = r.policy
	if domain != q.From {
		a.Policy = r.subdomains
	}
	if rand.IntN(100) >= r.percent { // RFC 7489 §6.6.4: the others get the next milder one
		a.Policy = a.Policy.milder()
	}
	return a
}

// record is a policy record: RFC 7489 §6.3.
type record struct {
	policy, subdomains    Policy
	strictDKIM, strictSPF bool
	percent               int
}

var errNoPolicy = errors.New("no policy")

// find looks for the record at the domain, then at its organizational domain: RFC 7489 §6.6.3.
func find(ctx context.Context, resolver dns.Resolver, from string) (record, string, error) {
	r, err := lookup(ctx, resolver, from)
	if org := Organizational(from); errors.Is(err, errNoPolicy) && org != from {
		r, err = lookup(ctx, resolver, org)
		return r, org, err
	}
	return r, from, err
}

func lookup(ctx context.Context, resolver dns.Resolver, domain string) (record, error) {
	answer, err := resolver.TXT(ctx, "_dmarc."+domain)
	if errors.Is(err, dns.ErrNoName) || errors.Is(err, dns.ErrNoData) {
		return record{}, errNoPolicy
	}
	if err != nil {
		return record{}, err
	}
	var found []string
	for _, txt := range answer.Records {
		if version, _, _ := strings.Cut(txt, ";"); strings.ReplaceAll(strings.TrimSpace(version), " ", "") == "v=DMARC1" {
			found = append(found, txt)
		}
	}
	if len(found) != 1 {
		return record{}, errNoPolicy // several are none
	}
	return parse(found[0])
}

// parse reads a record; tags it does not know are passed over.
func parse(txt string) (record, error) {
	r := record{percent: 100}
	tags := map[string]string{}
	for tag := range strings.SplitSeq(txt, ";") {
		name, value, _ := strings.Cut(tag, "=")
		tags[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
	}
	r.policy = Policy(strings.ToLower(tags["p"]))
	if !r.policy.known() {
		if tags["rua"] == "" {
			return record{}, errors.New("the policy record has no p=")
		}
		r.policy = PolicyNone // §6.6.3 step 6: it wants reports
	}
	r.subdomains = r.policy
	if sp := Policy(strings.ToLower(tags["sp"])); sp.known() {
		r.subdomains = sp
	}
	r.strictDKIM, r.strictSPF = strings.EqualFold(tags["adkim"], "s"), strings.EqualFold(tags["aspf"], "s")
	if n, err := strconv.Atoi(tags["pct"]); err == nil && n >= 0 && n <= 100 {
		r.percent = n
	}
	return r, nil
}

func (p Policy) known() bool {
	return p == PolicyNone || p == PolicyQuarantine || p == PolicyReject
}

func (p Policy) milder() Policy {
	if p == PolicyReject {
		return PolicyQuarantine
	}
	return PolicyNone
}

// aligned names the mechanism that has this result for the author's domain: RFC 7489 §3.1. Empty: none has.
func (q Query) aligned(r record, bySPF spf.Result, byDKIM dkim.Result) string {
	for _, s := range q.DKIM {
		if s.Result == byDKIM && align(s.Domain, q.From, r.strictDKIM) {
			return "dkim " + s.Domain
		}
	}
	if q.SPF.Result == bySPF && align(q.SPF.Domain, q.From, r.strictSPF) {
		return "spf " + q.SPF.Domain
	}
	return ""
}

func align(domain, from string, strict bool) bool {
	if strict {
		return domain == from
	}
	return Organizational(domain) == Organizational(from)
}

// Organizational is the organizational domain: one label more than its public suffix (RFC 7489 §3.2); a public suffix itself is its own.
func Organizational(domain string) string {
	org, err := publicsuffix.EffectiveTLDPlusOne(domain)
	if err != nil {
		return domain
	}
	return org
}
