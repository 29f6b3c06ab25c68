package mta

import (
	"context"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"github.com/emersion/go-msgauth/authres"

	"posthouse/mail"
	"posthouse/mail/smtp"
	"posthouse/mta/stage"
)

// maxVerdicts is how many words of stages a message keeps: with a thousand recipients there could be thousands.
const maxVerdicts = 100

// findings are what stages found, as far as it goes on with a message.
type findings struct {
	verdicts    []mail.Verdict
	results     []authres.Result
	fields      [][]byte
	quarantined bool
}

func (f *findings) add(name string, v *stage.Verdict) {
	if v.Result != "" && len(f.verdicts) < maxVerdicts {
		noted := mail.Verdict{Stage: name, Result: v.Result, Detail: v.Detail}
		if v.Action != stage.Accept {
			noted.Action = v.Action.String()
		}
		f.verdicts = append(f.verdicts, noted)
	}
	f.results = append(f.results, v.Results...)
	if len(v.Fields) > 0 {
		f.fields = append(f.fields, v.Fields)
	}
	f.quarantined = f.quarantined || v.Action == stage.Quarantine
}

// found is all that was found of the transaction's message, from the connection on.
func (s *session) found() (all findings) {
	for _, f := range []*findings{&s.connected, &s.greeted, &s.tx.found} {
		all.verdicts = append(all.verdicts, f.verdicts...)
		all.results = append(all.results, f.results...)
		all.fields = append(all.fields, f.fields...)
		all.quarantined = all.quarantined || f.quarantined
	}
	return all
}

// verdicts are how they stand in the log: "spf=pass dkim=pass dmarc=fail (quarantine)".
type verdicts []mail.Verdict

// LogValue is slog.LogValuer.
func (list verdicts) LogValue() slog.Value {
	var b strings.Builder
	for i, v := range list {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(v.Stage + "=" + v.Result)
		if v.Action != "" {
			b.WriteString(" (" + v.Action + ")")
		}
	}
	return slog.StringValue(b.String())
}

// judge asks stages in their order, until one refuses or defers: then it gives the reply. What they find is added to the findings.
func judge[T stage.Stage](s *session, found *findings, stages []T, ask func(T) stage.Verdict) smtp.Reply {
	for _, st := range stages {
		v := s.ask(st.Name(), func() stage.Verdict { return ask(st) })
		s.server.metrics.judged.add(st.Name(), v.Action)
		found.add(st.Name(), &v)
		if v.Action > stage.Accept {
			s.noteVerdict(st.Name(), &v)
		}
		if !v.Accepts() {
			s.doing = st.Name()
			return v.Reply
		}
	}
	return smtp.Reply{}
}

// ask asks one stage. One that panics accepts nothing: the mail comes again.
func (s *session) ask(name string, ask func() stage.Verdict) (v stage.Verdict) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("stage panicked", "stage", name, "panic", r, "stack", string(debug.Stack()))
			v = stage.Verdict{Action: stage.Defer, Result: "panic", Reply: replyLocal}
		}
	}()
	return ask()
}

// noteVerdict says in the log what a stage found wrong.
func (s *session) noteVerdict(name string, v *stage.Verdict) {
	level := slog.LevelInfo
	if v.Action == stage.Tag { // told when the message is accepted
		level = slog.LevelDebug
	}
	attrs := []slog.Attr{slog.String("stage", name), slog.String("action", v.Action.String()), slog.String("result", v.Result), slog.String("detail", v.Detail)}
	if v.Reply.Code != 0 {
		attrs = append(attrs, slog.Int("code", v.Reply.Code))
	}
	if s.tx != nil {
		attrs = append(attrs, slog.String("from", s.tx.env.From.String()))
	}
	s.log.LogAttrs(context.Background(), level, "stage objects", attrs...)
}

// judgeConnect asks the stages before the greeting.
func (s *session) judgeConnect(ctx context.Context) smtp.Reply {
	r := judge(s, &s.connected, s.stages().connect, func(st stage.ConnectStage) stage.Verdict { return st.Connect(ctx, &s.client) })
	if r.Permanent() {
		s.fault(s.doing)
	}
	return r
}

// judgeHello asks the stages about a greeting; what they said of an earlier one is forgotten.
func (s *session) judgeHello(ctx context.Context, name string) smtp.Reply {
	s.client.HELO, s.client.TLS, s.greeted = name, s.tls.names(), findings{}
	r := judge(s, &s.greeted, s.stages().hello, func(st stage.HelloStage) stage.Verdict { return st.Hello(ctx, &s.client) })
	if r.Permanent() {
		s.fault(s.doing)
	}
	return r
}

// judgeMail asks the stages about the sender of the transaction.
func (s *session) judgeMail(ctx context.Context) smtp.Reply {
	return judge(s, &s.tx.found, s.stages().mail, func(st stage.MailStage) stage.Verdict { return st.Mail(ctx, &s.tx.message) })
}

// judgeRcpt asks the stages about a recipient, as the client named it.
func (s *session) judgeRcpt(ctx context.Context, to mail.Address) smtp.Reply {
	return judge(s, &s.tx.found, s.stages().rcpt, func(st stage.RcptStage) stage.Verdict { return st.Rcpt(ctx, &s.tx.message, to) })
}

// judgeData asks the stages about a whole message. Those that only look something up share one time.
func (s *session) judgeData(ctx context.Context, d *incoming) smtp.Reply {
	m, left := &s.tx.message, s.server.opts.Limits.LookupTime
	m.Header, m.MaxSize = &d.header, s.server.opts.Limits.MessageSize
	m.NewDraft = func(ctx context.Context) (stage.Draft, error) { return s.newDraft(ctx, d) }
	return judge(s, &s.tx.found, s.stages().data, func(st stage.DataStage) stage.Verdict {
		m.Envelope, m.Content, m.Size = d.draft.Envelope(), d.draft, d.draft.Size()
		v := s.judgeIn(ctx, st, m, &left)
		if v.Edit == nil || !v.Accepts() {
			return v
		}
		if err := s.edit(ctx, d, &v); err != nil {
			return stage.Verdict{Action: stage.Defer, Result: "temperror", Detail: err.Error(), Reply: replyLocal}
		}
		return v
	})
}

// judgeLeaving refuses quarantined mail of our users that is to leave: it would go on unmarked, to where there is no Junk box of ours, and
// its sender is there to be told.
func (s *session) judgeLeaving(ctx context.Context, d *incoming, found *findings) smtp.Reply {
	if !found.quarantined || s.stages() != s.server.users {
		return smtp.Reply{}
	}
	for _, r := range d.draft.Envelope().To {
		local, err := s.server.opts.Directory.IsLocal(ctx, r.Address.Domain())
		if err != nil {
			return s.failed(err)
		}
		if local {
			continue
		}
		for _, v := range found.verdicts {
			if v.Action == stage.Quarantine.String() {
				s.doing = v.Stage
			}
		}
		s.log.Info("message refused", "stage", s.doing, "from", d.draft.Envelope().From, "code", replyStays.Code, "err", "quarantined mail does not leave")
		return replyStays
	}
	return smtp.Reply{}
}

// judgeIn asks a stage within its time.
func (s *session) judgeIn(ctx context.Context, st stage.DataStage, m *stage.Message, left *time.Duration) stage.Verdict {
	if patient, ok := st.(stage.Patient); ok {
		ctx, cancel := context.WithTimeout(ctx, patient.Patience())
		defer cancel()
		return st.Judge(ctx, m)
	}
	began := time.Now()
	defer func() { *left -= time.Since(began) }()
	ctx, cancel := context.WithTimeout(ctx, *left)
	defer cancel()
	return st.Judge(ctx, m)
}
