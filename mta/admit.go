package mta

import (
	"context"
	"errors"
	"log/slog"

	"posthouse/mail"
	"posthouse/mail/smtp"
	"posthouse/mta/stage"
	"posthouse/spool"
)

// admit has the stages judge a message, puts the trace header before it, and commits it: the way to 250.
func (s *session) admit(ctx context.Context, d *incoming) smtp.Reply {
	d.draft.Envelope().MessageID = d.header.MessageID
	if r := s.judgeData(ctx, d); r.Code != 0 {
		return r
	}
	env := d.draft.Envelope()
	found := s.found()
	if r := s.judgeLeaving(ctx, d, &found); r.Code != 0 {
		return r
	}
	env.Verdicts, env.Quarantined = found.verdicts, found.quarantined
	for _, fields := range found.fields {
		d.draft.Prepend(fields)
	}
	d.draft.Prepend(s.received(d))
	if len(found.results) > 0 { // above our Received: it speaks of the message as it came here (RFC 8601 §4)
		d.draft.Prepend(stage.AppendResults(nil, s.server.opts.Hostname, found.results))
	}
	size, recipients := d.draft.Size(), len(env.To)
	id, err := s.commit(ctx, d)
	if errors.Is(err, spool.ErrRepeated) { // what was taken before is durable, too
		s.server.metrics.Repeated.Add(1)
		s.log.Info("message accepted before", "mid", id, "from", env.From)
		return reply(250, smtp.Enhanced{2, 0, 0}, "accepted before as "+id.String())
	}
	if err != nil {
		return s.failed(err)
	}
	for _, st := range s.stages().taken {
		st.Taken(&s.tx.message)
	}
	m := &s.server.metrics
	m.Messages.Add(1)
	m.Recipients.Add(int64(recipients))
	m.Octets.Add(size)
	s.log.LogAttrs(ctx, slog.LevelInfo, "message accepted", slog.String("mid", id.String()), slog.String("from", env.From.String()),
		slog.Int("recipients", recipients), slog.Int64("octets", size), slog.String("with", env.Origin.Protocol), slog.Int("priority", int(env.Priority)), slog.Any("stages", verdicts(env.Verdicts)))
	return reply(250, smtp.Enhanced{2, 0, 0}, "accepted as "+id.String())
}

// commit makes the message durable. One of our user's counts against what may be sent in a day, but not when it comes again: that it was
// taken is to be heard also by who may send no more today.
func (s *session) commit(ctx context.Context, d *incoming) (mail.ID, error) {
	env := d.draft.Envelope()
	if env.Once = s.once(d); env.Once != "" {
		id, err := s.server.opts.Spool.Earlier(ctx, env.Once)
		if err == nil {
			return id, spool.ErrRepeated
		}
		if !errors.Is(err, spool.ErrNotFound) {
			return 0, err
		}
	}
	if err := s.spend(ctx, env); err != nil {
		return 0, err
	}
	s.keepCopy(d)
	s.holdForUndo(env)
	return d.draft.Commit(ctx)
}
