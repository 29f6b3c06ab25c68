package imapd

import (
	"context"
	"io"

	"posthouse/imapd/wire"
	"posthouse/mailbox"
)

// copyCommand is COPY or MOVE.
type copyCommand struct {
	by   numbering
	set  wire.Set
	to   string
	move bool
}

func parseCopy(p *parser, by numbering) (runner, error) { return p.copyCommand(&copyCommand{by: by}) }

// move is RFC 6851.
func move() extension {
	return extension{
		name: "MOVE", rfc: "RFC 6851",
		commands: both(command{name: "MOVE", rfc: "RFC 9051 §6.4.8", in: selected, seqs: renumbers},
			func(p *parser, by numbering) (runner, error) { return p.copyCommand(&copyCommand{by: by, move: true}) }),
	}
}

func (p *parser) copyCommand(c *copyCommand) (runner, error) {
	if !(p.SP() && p.Set(&c.set) && p.SP() && p.AString(&c.to) && p.End()) {
		return nil, p.Err()
	}
	return c, nil
}

func (c *copyCommand) run(ctx context.Context, s *session) (reply, error) {
	if c.move {
		if err := s.view.allow(toMove); err != nil {
			return reply{}, err
		}
	}
	sel, err := s.view.resolve(c.set, c.by)
	if err != nil {
		return reply{}, err
	}
	to, err := s.destination(ctx, c.to)
	if err != nil {
		return reply{}, err
	}
	sel, lowest, err := c.most(s, sel)
	if err != nil {
		return reply{}, err
	}
	uids := s.view.uids(sel)
	if uids == nil {
		return reply{text: "No such messages"}, nil
	}
	var done mailbox.Result
	var at mailbox.ModSeq // of the selected mailbox's account, after it
	s.acted = true
	err = s.meanwhile(&progress{}, func() (err error) {
		if to.owner == s.view.owner {
			done, at, err = c.within(ctx, s.view, &to, uids)
		} else {
			done, at, err = c.across(ctx, s.view, &to, sel)
		}
		return err
	})
	if err != nil {
		return reply{}, err
	}
	if err := s.ownMessages(ctx, &to, done.UIDs); err != nil {
		return reply{}, err
	}
	r, err := c.tell(s, done)
	if err != nil || !c.move {
		return r, err
	}
	return s.upTo(lowest, s.highest(at))
}

// most are those of the messages that may be moved at once. COPY is for all or none of them: RFC 9738 §3.1.
func (c *copyCommand) most(s *session, sel selection) (selection, mailbox.UID, error) {
	if c.move {
		sel, lowest := s.most(sel)
		return sel, lowest, nil
	}
	limit := s.server.opts.Limits.saved()
	if _, lowest := s.view.last(sel, limit); lowest > 0 {
		return nil, 0, no(limitCode(limit, lowest), "Too many messages to copy at once")
	}
	return sel, 0, nil
}

// within copies or moves messages within an account. They lose the flags that the user may not set there: RFC 4314 §4 COPY.
func (c *copyCommand) within(ctx context.Context, v *view, to *place, uids mailbox.UIDSet) (mailbox.Result, mailbox.ModSeq, error) {
	change := mailbox.Copy{From: v.box, UIDs: uids, To: to.ID, Without: denied(to.rights)}
	mutation := mailbox.Mutation(change)
	if c.move {
		mutation = mailbox.Move(change)
	}
	applied, err := v.account.Apply(ctx, mutation, to.within())
	if err != nil {
		return mailbox.Result{}, 0, err
	}
	return applied.Results[0], applied.ModSeq, nil
}

// across copies or moves messages from one account to another: they are staged there, and filed in one change. A move then removes them
// here; if it is cut short in between they are in both, and nothing is lost.
func (c *copyCommand) across(ctx context.Context, v *view, to *place, sel selection) (r mailbox.Result, at mailbox.ModSeq, err error) {
	if sel.len() > maxAppends {
		return r, 0, errTooMany
	}
	adds := make([]mailbox.Mutation, 0, sel.len()+1)
	defer func() {
		for _, a := range adds {
			if add, ok := a.(mailbox.Add); ok && err != nil {
				to.account.Discard(add.Blob)
			}
		}
	}()
	for _, m := range v.each(sel) {
		add, err := v.stage(ctx, to, m)
		if err != nil {
			return r, 0, err
		}
		adds = append(adds, add)
		r.Source = r.Source.Append(m.UID)
	}
	applied, err := to.account.Apply(ctx, append(adds, to.within())...)
	if err != nil {
		return r, 0, err
	}
	for _, filed := range applied.Results[:len(adds)] {
		r.UIDValidity, r.UIDs = filed.UIDValidity, r.UIDs.Append(filed.UIDs[0].First)
	}
	adds = nil
	if c.move {
		at, err = v.remove(ctx, r.Source)
	}
	return r, at, err
}

// stage reads a message into another account.
func (v *view) stage(ctx context.Context, to *place, m *mailbox.Message) (add mailbox.Add, err error) {
	content, err := v.account.Open(ctx, m.Blob)
	if err != nil {
		return add, err
	}
	defer content.Close() //nolint:errcheck // it was only read
	add = mailbox.Add{
		Box: to.ID, Internal: m.InternalDate(),
		Marks: without(marksOf(m.Flags, v.told.Keywords), denied(to.rights)),
	}
	add.Blob, err = to.account.Stage(ctx, io.NewSectionReader(content, 0, content.Size()))
	return add, err
}

// remove takes messages out of the selected mailbox.
func (v *view) remove(ctx context.Context, uids mailbox.UIDSet) (mailbox.ModSeq, error) {
	applied, err := v.account.Apply(ctx, removal(v.box, uids)...)
	return applied.ModSeq, err
}

// removal is what takes messages out of a mailbox, whatever their flags.
func removal(box mailbox.BoxID, uids mailbox.UIDSet) []mailbox.Mutation {
	return []mailbox.Mutation{
		mailbox.SetFlags{Box: box, UIDs: uids, Marks: mailbox.Marks{System: mailbox.Deleted}}, mailbox.Expunge{Box: box, UIDs: uids},
	}
}

// tell answers with the new UIDs. After MOVE they come before the EXPUNGE responses: RFC 9051 §6.4.8.
func (c *copyCommand) tell(s *session, r mailbox.Result) (reply, error) {
	switch {
	case len(r.UIDs) == 0:
		return reply{}, errGone
	case c.move:
		return reply{}, s.out.WriteString("* OK [" + copyUIDCode(r) + "] Moved\r\n")
	}
	return done(copyUIDCode(r)), nil
}
