// Package spf evaluates Sender Policy Framework records: RFC 7208, all of it, within its limits on lookups.
//
// It must not know sessions or what becomes of a message: Check answers with a value.
//
// The flow: Check → evaluation.host (check_host(), §4) → parseRecord → each mechanism in order → redirect; macros are expanded by expand.
package spf

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"posthouse/internal/dns"
	"posthouse/mail"
)

// Limits of one evaluation: RFC 7208 §4.6.4.
const (
	maxLookups = 10 // terms that cause DNS queries
	maxVoid    = 2  // queries that find nothing
	maxNames   = 10 // MX hosts or PTR names of one term
)

// Result is a result word of RFC 7208 §2.6.
type Result string

// The results.
const (
	None      Result = "none"
	Neutral   Result = "neutral"
	Pass      Result = "pass"
	Fail      Result = "fail"
	SoftFail  Result = "softfail"
	TempError Result = "temperror"
	PermError Result = "permerror"
)

// Query is whom to check.
type Query struct {
	IP       netip.Addr
	HELO     string       // as the client said it
	From     mail.Address // of MAIL; null: the HELO identity is checked (§2.4)
	Receiver string       // our name, for the "r" macro
}

// Domain is whose policy is asked for, lower case: that of the sender, or for the null sender the client's.
func (q Query) Domain() string {
	if q.From.IsNull() {
		return strings.ToLower(strings.TrimSuffix(q.HELO, "."))
	}
	return q.From.Domain()
}

// Answer is what came of it.
type Answer struct {
	Result      Result
	Domain      string // whose policy it is, lower case
	Reason      string // the mechanism that matched, or the trouble
	Explanation string // of a Fail, as the domain gives it (§6.2); a stranger's words
}

// Check evaluates the policy of the sender's domain. It makes at most some 120 DNS queries; ctx bounds their time.
func Check(ctx context.Context, resolver dns.Resolver, q Query) Answer {
	return newEvaluation(resolver, q, q.From.Local(), q.Domain()).answer(ctx)
}

// evaluation is one run of check_host() with its budget.
type evaluation struct {
	resolver      dns.Resolver
	ip            netip.Addr
	local, sender string // of the identity checked
	helo          string
	receiver      string
	lookups, void int
	explanation   string
}

func newEvaluation(resolver dns.Resolver, q Query, local, domain string) *evaluation {
	if local == "" {
		local = "postmaster" // §4.3
	}
	return &evaluation{
		resolver: resolver, ip: q.IP.Unmap(), local: local, sender: strings.ToLower(strings.TrimSuffix(domain, ".")), helo: q.HELO, receiver: q.Receiver,
	}
}

func (e *evaluation) answer(ctx context.Context) Answer {
	a := Answer{Domain: e.sender}
	if !isDomain(e.sender) {
		a.Result, a.Reason = None, "not a domain name"
		return a
	}
	var trouble *trouble
	result, reason, err := e.host(ctx, e.sender)
	if errors.As(err, &trouble) {
		result, reason = trouble.result, trouble.reason
	}
	a.Result, a.Reason = result, reason
	if result == Fail {
		a.Explanation = e.explanation
	}
	return a
}

// trouble ends an evaluation with PermError, TempError or None.
type trouble struct {
	result Result
	reason string
}

func (t *trouble) Error() string { return string(t.result) + ": " + t.reason }

func permError(reason string) error { return &trouble{PermError, reason} }

// isDomain is the check of §4.3: a multi-label domain name, no empty or too long label.
func isDomain(s string) bool {
	labels := strings.Split(s, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 {
			return false
		}
	}
	return len(labels) > 1 && len(s) <= 253 && !strings.HasPrefix(s, "[")
}

// host is check_host(): the result of domain's policy and the term it came from.
func (e *evaluation) host(ctx context.Context, domain string) (Result, string, error) {
	record, err := e.record(ctx, domain)
	if err != nil {
		return "", "", err
	}
	r, err := parseRecord(record)
	if err != nil {
		return "", "", err
	}
	for _, m := range r.mechanisms {
		match, err := e.match(ctx, m, domain)
		if err != nil {
			return "", "", err
		}
		if match {
			if m.result == Fail {
				e.explanation = e.explain(ctx, r.exp, domain)
			}
			return m.result, m.text, nil
		}
	}
	if r.redirect == "" {
		return Neutral, "no mechanism matched", nil // §4.7
	}
	return e.redirect(ctx, r.redirect, domain)
}

// redirect is §6.1.
func (e *evaluation) redirect(ctx context.Context, spec, domain string) (Result, string, error) {
	if err := e.spend(); err != nil {
		return "", "", err
	}
	target, err := e.expand(ctx, spec, expansion{domain: domain})
	if err != nil {
		return "", "", err
	}
	if !isDomain(target) {
		return "", "", permError("redirect to what is not a domain name")
	}
	result, reason, err := e.host(ctx, target)
	var t *trouble
	if errors.As(err, &t) && t.result == None {
		err = permError("redirect to a domain without a policy")
	}
	return result, reason, err
}

// record finds the one SPF record of a domain: §4.4, §4.5.
func (e *evaluation) record(ctx context.Context, domain string) (string, error) {
	answer, err := e.resolver.TXT(ctx, domain)
	switch {
	case errors.Is(err, dns.ErrNoName) || errors.Is(err, dns.ErrNoData):
		return "", &trouble{None, "no policy"}
	case err != nil:
		return "", &trouble{TempError, "the policy of " + domain + " could not be looked up"}
	}
	var found []string
	for _, txt := range answer.Records {
		version, _, _ := strings.Cut(txt, " ")
		if strings.EqualFold(version, "v=spf1") {
			found = append(found, txt)
		}
	}
	switch len(found) {
	case 0:
		return "", &trouble{None, "no policy"}
	case 1:
		return found[0], nil
	}
	return "", permError("several policies at " + domain)
}

// spend counts a term that causes DNS queries.
func (e *evaluation) spend() error {
	if e.lookups++; e.lookups > maxLookups {
		return permError("too many DNS lookups")
	}
	return nil
}

// found sorts out the error of a query made for a mechanism: nothing found is no error within the limit of §4.6.4.
func (e *evaluation) found(err error) (bool, error) {
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, dns.ErrNoName) || errors.Is(err, dns.ErrNoData):
		if e.void++; e.void > maxVoid {
			return false, permError("too many DNS lookups that find nothing")
		}
		return false, nil
	}
	return false, &trouble{TempError, "a DNS lookup failed"}
}
