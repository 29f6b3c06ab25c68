package mta

import (
	"context"
	"errors"
	"log/slog"

	"github.com/emersion/go-msgauth/authres"

	"posthouse/mail"
	"posthouse/mail/smtp"
	"posthouse/mta/stage"
	"posthouse/spool"
)

// stages are the admission stages of a kind of server, in their order: for mail from strangers, and for mail from our users and the
// networks we relay for. LMTP has none: the server beside us has asked already.
func stages(o Options) (outside, inside []stage.Stage) {
	traits := kinds[o.Kind]
	if traits.lmtp {
		return nil, nil
	}
	if traits.submission {
		inside = append(inside, stage.Originator{Owners: o.Directory})
	}
	if o.Signer != nil {
		inside = append(inside, stage.Sign{Signer: o.Signer})
	}
	if o.Resolver != nil {
		outside = []stage.Stage{
			stage.SPF{Resolver: o.Resolver, Hostname: o.Hostname},
			stage.DKIM{Resolver: o.Resolver},
			stage.DMARC{Resolver: o.Resolver, Monitor: o.MonitorDMARC},
		}
	}
	return outside, inside
}

// stages are those for this session's mail.
func (s *session) stages() []stage.Stage {
	if s.account.ID != "" || s.trusted {
		return s.server.inside
	}
	return s.server.outside
}

// admit has the stages judge a message, puts the trace header before it, and commits it: the way to 250.
func (s *session) admit(ctx context.Context, d *incoming) smtp.Reply {
	env := d.draft.Envelope()
	env.MessageID = d.header.MessageID
	results, r := s.judge(ctx, d)
	if r.Code != 0 {
		return r
	}
	d.draft.Prepend(s.received(d))
	if len(results) > 0 { // above our Received: it speaks of the message as it came here (RFC 8601 §4)
		d.draft.Prepend(stage.AppendResults(nil, s.server.opts.Hostname, results))
	}
	size := d.draft.Size()
	env.Once = s.once(d)
	id, err := d.draft.Commit(ctx)
	if errors.Is(err, spool.ErrRepeated) { // what was taken before is durable, too
		s.server.metrics.Repeated.Add(1)
		s.log.Info("message accepted before", "mid", id, "from", env.From)
		return reply(250, smtp.Enhanced{2, 0, 0}, "accepted before as "+id.String())
	}
	if err != nil {
		return s.failed(err)
	}
	m := &s.server.metrics
	m.Messages.Add(1)
	m.Recipients.Add(int64(len(env.To)))
	m.Octets.Add(size)
	s.log.LogAttrs(ctx, slog.LevelInfo, "message accepted", slog.String("mid", id.String()), slog.String("from", env.From.String()),
		slog.Int("recipients", len(env.To)), slog.Int64("octets", size), slog.String("with", env.Origin.Protocol))
	return reply(250, smtp.Enhanced{2, 0, 0}, "accepted as "+id.String())
}

// judge runs the stages until one refuses or defers. Their fields are put before the message; their results are given back.
func (s *session) judge(ctx context.Context, d *incoming) ([]authres.Result, smtp.Reply) {
	list := s.stages()
	if len(list) == 0 {
		return nil, smtp.Reply{}
	}
	ctx, cancel := context.WithTimeout(ctx, s.server.opts.Limits.LookupTime)
	defer cancel()
	env, m := d.draft.Envelope(), &s.tx.message
	m.Envelope, m.Header, m.Content, m.Size = env, &d.header, d.draft, d.draft.Size()
	var results []authres.Result
	for _, st := range list {
		v := st.Judge(ctx, m)
		env.Verdicts = append(env.Verdicts, mail.Verdict{Stage: st.Name(), Result: v.Result, Detail: v.Detail})
		if !v.Accepts() {
			s.doing = st.Name()
			s.log.Info("message refused", "from", env.From, "code", v.Reply.Code, "stage", st.Name(), "result", v.Result, "detail", v.Detail)
			return nil, v.Reply
		}
		results = append(results, v.Results...)
		d.draft.Prepend(v.Fields)
	}
	return results, smtp.Reply{}
}
