package stage

import (
	"context"

	"github.com/emersion/go-msgauth/authres"

	"posthouse/internal/dns"
	"posthouse/mail/smtp"
	"posthouse/mta/dmarc"
)

// DMARC does what the author's domain asks to be done with mail that neither SPF nor DKIM shows to be its own (RFC 7489). It comes after
// both. A message that fails under p=reject is refused; one under p=quarantine is marked. A message with From fields or authors of
// several domains is refused, since no policy could hold for what a reader would see (§6.6.1). Under p=reject, a message that only
// DNS keeps from passing must come again (§6.6.2). A policy that cannot be looked up now holds nothing up.
type DMARC struct {
	Resolver dns.Resolver
	// Monitor only notes the results and refuses nothing.
	Monitor bool
}

// Name is Stage.
func (DMARC) Name() string { return "dmarc" }

var (
	refusedByPolicy = smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{5, 7, 1}, Text: "the author's domain asks to refuse this message (DMARC)"}
	undecided       = smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{4, 7, 0}, Text: "the author's domain cannot be verified now, try again later"}
	severalAuthors  = smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{5, 7, 1}, Text: "the message must have one From field, of one domain"}
)

// Judge is Stage.
func (s DMARC) Judge(ctx context.Context, m *Message) Verdict {
	domain := m.Header.authorDomain()
	a := dmarc.Check(ctx, s.Resolver, dmarc.Query{From: domain, SPF: m.spf, DKIM: m.dkim})
	params := map[string]string{}
	if domain != "" {
		params["header.from"] = clean(domain)
	}
	v := Verdict{
		Result: string(a.Result),
		Detail: a.Domain + ": " + a.Reason,
	}
	if a.Result == dmarc.Fail {
		params["policy.dmarc"] = string(a.Policy)
		v.Detail += ", policy " + string(a.Policy)
	}
	v.Results = []authres.Result{&authres.GenericResult{Method: "dmarc", Value: authres.ResultValue(a.Result), Params: params}}
	switch {
	case s.Monitor:
	case m.Header.FromFields > 1 || len(m.Header.authorDomains()) > 1:
		return v.answered(severalAuthors)
	case a.Result == dmarc.Fail && a.Policy == dmarc.PolicyReject:
		return v.answered(refusedByPolicy)
	case a.Result == dmarc.TempError && a.Policy == dmarc.PolicyReject:
		return v.answered(undecided)
	case a.Result == dmarc.Fail && a.Policy == dmarc.PolicyQuarantine:
		v.Action = Quarantine
	}
	return v
}
