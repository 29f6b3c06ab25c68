package stage

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/emersion/go-msgauth/authres"

	"posthouse/internal/dns"
	"posthouse/mail/smtp"
)

const (
	maxNames  = 10              // of one address that are looked at, as RFC 7208 §4.6.4 has it for its "ptr"
	iprevTime = 3 * time.Second // for all lookups: what is left of the stages' time is for those that decide
)

// IPRev checks that the client's address has a name, and that the name has the address: RFC 8601 §3. It begins at the first recipient,
// and what DNS said holds for the session.
type IPRev struct {
	Resolver dns.Resolver
	Action   Action // on a client that has none; DNS that gives no answer is noted only
}

// Name is Stage.
func (IPRev) Name() string { return "iprev" }

var noReverse = smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{5, 7, 25}, Text: "your address has no valid reverse name"} // RFC 7372 §3.3

// reverse is what is known of a client's name in DNS.
type reverse struct{ result, name string }

// Start is Starter.
func (s IPRev) Start(ctx context.Context, m *Message) {
	if m.Client.reverse.result != "" {
		return
	}
	addr := m.Client.Remote.Addr()
	m.reverse = promise(m, func() reverse {
		ctx, cancel := context.WithTimeout(ctx, iprevTime)
		defer cancel()
		return s.lookUp(ctx, addr)
	})
}

// lookUp is the algorithm of RFC 8601 §3.
func (s IPRev) lookUp(ctx context.Context, addr netip.Addr) reverse {
	if !addr.IsValid() {
		return reverse{result: "permerror"}
	}
	names, err := s.Resolver.PTR(ctx, addr)
	if err != nil {
		return reverse{result: failure(err)}
	}
	lookup, result := s.Resolver.A, "fail"
	if addr.Is6() {
		lookup = s.Resolver.AAAA
	}
	for _, name := range names.Records[:min(len(names.Records), maxNames)] {
		addrs, err := lookup(ctx, name)
		if slices.Contains(addrs.Records, addr) {
			return reverse{"pass", name}
		}
		if errors.Is(err, dns.ErrTemporary) {
			result = "temperror"
		}
	}
	return reverse{result: result}
}

// failure is the result of a query that has no answer: RFC 8601 §2.7.3.
func failure(err error) string {
	if errors.Is(err, dns.ErrTemporary) {
		return "temperror"
	}
	return "permerror"
}

// found is what was found for the session, or waits for it. That DNS gave no answer now is kept for nothing: a client could bring it about.
func (s IPRev) found(ctx context.Context, m *Message) reverse {
	if r := m.Client.reverse; r.result != "" {
		return r
	}
	if m.reverse == nil {
		s.Start(ctx, m)
	}
	ctx, cancel := beforePolicy(ctx)
	defer cancel()
	select {
	case r, ok := <-m.reverse:
		if r = kept(m, r, ok); r.result != "temperror" {
			m.Client.reverse = r
		}
		return r
	case <-ctx.Done():
		return reverse{result: "temperror"}
	}
}

// Judge is DataStage.
func (s IPRev) Judge(ctx context.Context, m *Message) Verdict {
	r := s.found(ctx, m)
	params := map[string]string{"policy.iprev": m.Client.Remote.Addr().String()}
	v := Verdict{Result: r.result, Detail: clean(r.name), Results: []authres.Result{
		&authres.GenericResult{Method: "iprev", Value: authres.ResultValue(r.result), Params: params},
	}}
	if r.result == "fail" || r.result == "permerror" {
		return v.by(s.Action, noReverse)
	}
	return v
}
