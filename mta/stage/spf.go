package stage

import (
	"context"
	"time"

	"github.com/emersion/go-msgauth/authres"

	"posthouse/internal/dns"
	"posthouse/mta/spf"
)

// spfTime is how long an evaluation may take: RFC 7208 §4.6.4 asks for 20 seconds at least.
const spfTime = 20 * time.Second

// SPF checks whether the client may send for the sender's domain (RFC 7208). It begins at the first recipient, and only informs: DMARC decides.
type SPF struct {
	Resolver dns.Resolver
	Hostname string
}

// Name is Stage.
func (SPF) Name() string { return "spf" }

// Start is Starter.
func (s SPF) Start(ctx context.Context, m *Message) {
	q := s.query(m)
	m.started = promise(m, func() spf.Answer {
		ctx, cancel := context.WithTimeout(ctx, spfTime)
		defer cancel()
		return spf.Check(ctx, s.Resolver, q)
	})
}

// query asks of the client that is there. Where it says that the message came from (XFORWARD) is for the log: anybody's word could stand there.
func (s SPF) query(m *Message) spf.Query {
	return spf.Query{
		IP:       m.Client.Remote.Addr(),
		HELO:     m.Client.HELO,
		From:     m.Envelope.From,
		Receiver: s.Hostname,
	}
}

// Judge is Stage.
func (s SPF) Judge(ctx context.Context, m *Message) Verdict {
	if m.started == nil {
		s.Start(ctx, m)
	}
	waiting, cancel := beforePolicy(ctx)
	defer cancel()
	select {
	case a, ok := <-m.started:
		m.spf = kept(m, a, ok)
	case <-waiting.Done():
		m.spf = spf.Answer{Result: spf.TempError, Domain: s.query(m).Domain(), Reason: "no answer in time"}
	}
	params := map[string]string{"smtp.helo": clean(m.Client.HELO)}
	if !m.Envelope.From.IsNull() {
		params = map[string]string{"smtp.mailfrom": clean(m.Envelope.From.String())}
	}
	return Verdict{
		Result:  string(m.spf.Result),
		Detail:  m.spf.Domain + ": " + m.spf.Reason,
		Results: []authres.Result{&authres.GenericResult{Method: "spf", Value: authres.ResultValue(m.spf.Result), Params: params}},
	}
}
