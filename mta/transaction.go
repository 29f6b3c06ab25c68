package mta

import (
	"context"
	"log/slog"
	"slices"

	"posthouse/mail"
	"posthouse/mta/stage"
)

// transaction is what happens between MAIL and the end of its data: RFC 5321 §3.3.
type transaction struct {
	env     mail.Envelope
	taken   int                             // RCPT commands that were answered 250
	first   mail.Address                    // of the first, as it was given
	known   map[mail.Address]struct{}       // of env.To, once there are two
	via     map[mail.Address][]mail.Address // the names by which the client called those that it did not call by their own
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

// add takes a recipient, whom the client called so; each address is there once.
func (t *transaction) add(r mail.Recipient, called mail.Address) {
	called = called.FoldLocal()
	if len(t.env.To) == 1 && t.known == nil {
		t.known = map[mail.Address]struct{}{t.env.To[0].Address: {}}
	}
	if t.known != nil {
		if _, ok := t.known[r.Address]; ok {
			t.calls(r.Address, called, []mail.Address{r.Address.FoldLocal()})
			return
		}
		t.known[r.Address] = struct{}{}
	}
	t.calls(r.Address, called, nil)
	t.env.To = append(t.env.To, r)
}

// calls notes how the client called an address; before is how it did if that was not noted.
func (t *transaction) calls(a, called mail.Address, before []mail.Address) {
	names, ok := t.via[a]
	if !ok {
		names = before
		if called == a.FoldLocal() {
			return
		}
	}
	if t.via == nil {
		t.via = map[mail.Address][]mail.Address{}
	}
	if !slices.Contains(names, called) {
		t.via[a] = append(names, called)
	}
}

// isRemoved tells whether a recipient is among those that are not to get the message any more: by its own address, or by all that the client
// called it. What ORCPT says does not matter here: that is the client's to choose (RFC 3461 §4.2).
func (t *transaction) isRemoved(a mail.Address, removed map[mail.Address]bool) bool {
	names := t.via[a]
	return removed[a] || len(names) > 0 && !slices.ContainsFunc(names, func(name mail.Address) bool { return !removed[name] })
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
