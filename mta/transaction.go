package mta

import (
	"context"
	"log/slog"

	"posthouse/mail"
	"posthouse/mta/stage"
)

// transaction is what happens between MAIL and the end of its data: RFC 5321 §3.3.
type transaction struct {
	env     mail.Envelope
	taken   int                       // RCPT commands that were answered 250
	first   mail.Address              // of the first, as it was given
	known   map[mail.Address]struct{} // of env.To, once there are two
	message stage.Message
	lowered bool               // it asked for a priority that it did not get
	found   findings           // of the stages, from MAIL on
	data    *incoming          // DATA or BDAT has begun
	cancel  context.CancelFunc // of what the stages began; nil: nothing
}

// start lets the stages begin that can.
func (t *transaction) start(ctx context.Context, stages []stage.Starter) {
	if len(stages) == 0 {
		return
	}
	ctx, t.cancel = context.WithCancel(ctx)
	for _, st := range stages {
		st.Start(ctx, &t.message)
	}
}

// add takes a recipient; each address is there once.
func (t *transaction) add(r mail.Recipient) {
	if len(t.env.To) == 1 && t.known == nil {
		t.known = map[mail.Address]struct{}{t.env.To[0].Address: {}}
	}
	if t.known != nil {
		if _, ok := t.known[r.Address]; ok {
			return
		}
		t.known[r.Address] = struct{}{}
	}
	t.env.To = append(t.env.To, r)
}

// close forgets the transaction: what the stages began ends, and a draft that was not committed is gone.
func (t *transaction) close(log *slog.Logger) {
	if t.cancel != nil {
		t.cancel()
	}
	t.message.Close()
	if t.data == nil {
		return
	}
	for _, draft := range append(t.data.spare, t.data.draft) {
		if err := draft.Abort(); err != nil {
			log.Warn("a draft was not removed", "err", err)
		}
	}
}
