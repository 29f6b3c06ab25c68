package mta

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"posthouse/directory"
	"posthouse/mail"
	"posthouse/mail/smtp"
	"posthouse/mta/stage"
	"posthouse/spool"
)

// incoming is a message whose data is on its way.
type incoming struct {
	draft  spool.Draft
	spare  []spool.Draft // that stages have made, or that were in the place of draft before
	header stage.Header
	filter headerFilter
	chunks *smtp.Chunks // of BDAT
	until  time.Time    // when all of it must have come

	submitted submitted // of our user's message
}

// receive makes a draft for the transaction's message.
func (s *session) receive(ctx context.Context) (*incoming, error) {
	draft, err := s.server.opts.Spool.Create(ctx, s.tx.env)
	if err != nil {
		return nil, err
	}
	d := &incoming{draft: draft, until: time.Now().Add(s.server.opts.Limits.MessageTime)}
	d.filter = headerFilter{w: draft, limit: s.server.opts.Limits.HeaderSize, edit: func(header []byte) ([]byte, error) {
		return s.editHeader(d, header)
	}}
	if s.account.ID != "" && s.tx.env.EnvID != "" {
		d.submitted.digest = sha256.New()
	}
	s.tx.data = d
	return d, nil
}

// data is DATA: RFC 5321 §4.1.1.4.
func data(ctx context.Context, s *session, _ []byte) answer {
	switch {
	case s.tx.data != nil:
		return say(replyChunksBegun)
	case s.tx.env.Body == mail.BodyBinaryMIME: // RFC 3030 §3
		return say(replyOnlyChunks)
	case s.tx.taken == 0:
		s.endTransaction()
		return say(s.noRecipient())
	}
	d, err := s.receive(ctx)
	if err != nil {
		defer s.endTransaction()
		return say(s.failed(err))
	}
	return answer{reply: replyGoAhead, then: func(ctx context.Context, s *session) (answer, error) {
		return s.readData(ctx, d)
	}}
}

// noRecipient is the answer to data for nobody; by LMTP it can only be 503 (RFC 2033 §4.2).
func (s *session) noRecipient() smtp.Reply {
	if s.server.traits.lmtp {
		return replyRcptFirst
	}
	return replyNoRecipient
}

func (s *session) readData(ctx context.Context, d *incoming) (answer, error) {
	defer s.endTransaction()
	s.expectData(d.until)
	refusal, err := smtp.ReadData(&s.in, d, s.server.opts.Limits.MessageSize)
	if err != nil {
		return answer{}, err
	}
	return s.finish(ctx, d, refusal), nil
}

// expectData makes room and sets the deadlines of message data.
func (s *session) expectData(until time.Time) {
	s.in.expect()
	s.block, s.until = s.server.opts.Limits.DataTime, until
}

// finish is the answer to a message that has been read to its end.
func (s *session) finish(ctx context.Context, d *incoming, refusal error) answer {
	if refusal == nil {
		refusal = d.filter.Close()
	}
	var r smtp.Reply
	if refusal != nil {
		r = s.failed(refusal)
	} else {
		r = s.tx.saysPriority(s.admit(ctx, d))
	}
	if r.Positive() {
		s.errors, s.junk = 0, 0
	}
	return s.outcome(r)
}

// outcome says what became of a message: by LMTP, once for each RCPT that was taken (RFC 2033 §4.2).
func (s *session) outcome(r smtp.Reply) answer {
	a := sayAll(r)
	if s.server.traits.lmtp && s.tx != nil {
		for range s.tx.taken - 1 {
			a.more = append(a.more, r)
		}
	}
	return a
}

// failed notes an error that refuses a message, and says it in a reply.
func (s *session) failed(err error) smtp.Reply {
	if errors.Is(err, spool.ErrFailed) && !s.server.broken.Swap(true) {
		s.log.Error("the spool failed: no mail is taken until a restart", "err", err)
	}
	r := replyTo(err)
	for _, b := range bounds {
		if errors.Is(err, b.err) {
			s.doing = b.stage
		}
	}
	s.log.Info("message refused", "stage", s.doing, "from", s.tx.env.From, "code", r.Code, "err", err)
	return r
}

// bounds are what no list of stages switches off, and the names under which it refuses.
var bounds = []struct {
	err   error
	stage string
}{
	{errHops, "loop"},
	{errHeaderLong, "size"}, {smtp.ErrTooBig, "size"},
	{errHeaderForm, "lines"}, {smtp.ErrBareLine, "lines"},
	{directory.ErrRate, "budget"},
}
