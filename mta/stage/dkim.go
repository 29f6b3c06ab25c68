package stage

import (
	"context"

	"github.com/emersion/go-msgauth/authres"

	"posthouse/crypto/dkim"
	"posthouse/internal/dns"
)

// DKIM verifies the signatures (RFC 6376). It only informs: DMARC decides.
type DKIM struct{ Resolver dns.Resolver }

// Name is Stage.
func (DKIM) Name() string { return "dkim" }

// Judge is Stage.
func (s DKIM) Judge(ctx context.Context, m *Message) Verdict {
	txt := func(ctx context.Context, name string) ([]string, error) {
		answer, err := s.Resolver.TXT(ctx, name)
		return answer.Records, err
	}
	ctx, cancel := beforePolicy(ctx)
	defer cancel()
	signatures, err := dkim.Verify(ctx, txt, m.Content, m.Size)
	if err != nil {
		return Verdict{Result: string(dkim.PermError), Detail: err.Error(), Results: []authres.Result{dkimResult(dkim.Signature{Result: dkim.PermError})}}
	}
	m.dkim = signatures
	if len(signatures) == 0 {
		return Verdict{Result: string(dkim.None), Results: []authres.Result{dkimResult(dkim.Signature{Result: dkim.None})}}
	}
	v := Verdict{}
	best := signatures[0]
	for _, sig := range signatures {
		if sig.Result == dkim.Pass && best.Result != dkim.Pass {
			best = sig
		}
		v.Results = append(v.Results, dkimResult(sig))
	}
	v.Result, v.Detail = string(best.Result), best.Domain+": "+best.Reason
	return v
}

// dkimResult is RFC 8601 §2.7.1, with the properties of RFC 6008 §4 and RFC 8616 that tell signatures apart.
func dkimResult(sig dkim.Signature) *authres.GenericResult {
	params := map[string]string{}
	for name, value := range map[string]string{
		"header.d": sig.Domain, "header.s": sig.Selector, "header.a": sig.Algorithm, "header.b": sig.B, "reason": sig.Reason,
	} {
		if value != "" {
			params[name] = clean(value)
		}
	}
	return &authres.GenericResult{Method: "dkim", Value: authres.ResultValue(sig.Result), Params: params}
}
