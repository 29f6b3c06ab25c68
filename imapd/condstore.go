package imapd

import (
	"context"

	"posthouse/imapd/wire"
	"posthouse/mailbox"
)

// awareness is what the client has said it knows of, for as long as the session lasts.
type awareness struct {
	modSeqs  bool // of mod-sequences, by one of the commands of RFC 7162 §3.1
	vanished bool // of VANISHED instead of EXPUNGE, by ENABLE QRESYNC: RFC 7162 §3.2.3
	uidOnly  bool // of UIDs, and of no message sequence numbers any more: RFC 9586

	metadata  bool           // of METADATA responses nobody asked for: RFC 5464 §4.4.2
	annotated mailbox.ModSeq // up to which it was told of them

	selected *eventGroup // what it wants to hear of the selected mailbox, by NOTIFY: RFC 5465; nil: all, as commands run
}

// condStore is CONDSTORE: RFC 7162.
func condStore() extension {
	return extension{
		name: "CONDSTORE", rfc: "RFC 7162",
		fetch:   []fetchItem{{"MODSEQ", func(*parser) (fetcher, bool) { return modSeqItem, true }}},
		fetches: []fetchModifier{{"CHANGEDSINCE", parseChangedSince}},
		search:  []searchKey{{"MODSEQ", parseModSeqKey}},
		status:  []statusItem{count("HIGHESTMODSEQ", func(b *mailbox.Box) int64 { return int64(b.ModSeq) })},
		selects: []selectParam{{"CONDSTORE", func(_ *parser, c *selectCommand) bool { c.modSeqs = true; return true }}},
		stores:  []storeModifier{{"UNCHANGEDSINCE", parseUnchangedSince}},
		enable:  func(s *session) error { return s.learnModSeqs() },
	}
}

// learnModSeqs: from now on the client is told mod-sequences, and the one it may begin from: RFC 7162 §3.1.2.1.
func (s *session) learnModSeqs() error {
	if s.client.modSeqs {
		return nil
	}
	s.client.modSeqs = true
	if s.view == nil {
		return nil
	}
	return s.write(s.view.appendHighest)
}

// appendHighest tells the mod-sequence up to which the client knows everything.
func (v *view) appendHighest(b []byte) []byte {
	b = wire.AppendNumber(append(b, "* OK [HIGHESTMODSEQ "...), v.told.Box.ModSeq)
	return append(b, "] Highest mod-sequence\r\n"...)
}

func appendModSeq(b []byte, m *mailbox.Message) []byte {
	return append(wire.AppendNumber(append(b, "MODSEQ ("...), m.ModSeq), ')')
}

var modSeqItem = &plain{append: func(b []byte, t *target) []byte { return appendModSeq(b, t.message) }}

// modSeq decodes a mod-sequence: RFC 7162 §7 mod-sequence-valzer.
func (p *parser) modSeq(m *mailbox.ModSeq) bool {
	var n int64
	ok := p.Number64(&n)
	*m = mailbox.ModSeq(n)
	return ok
}

func parseChangedSince(p *parser, c *fetchCommand) bool {
	c.changes = true
	return p.SP() && p.modSeq(&c.changedSince)
}

// sinceThen narrows a FETCH to what was changed, after telling what has vanished: RFC 7162 §3.2.6.
func (c *fetchCommand) sinceThen(ctx context.Context, s *session, sel selection) (selection, error) {
	if c.changes || c.has(modSeqItem) {
		if err := s.learnModSeqs(); err != nil {
			return nil, err
		}
	}
	sel = c.part.of(sel) // before it is asked what has changed: RFC 9394 §3.4
	if !c.changes {
		return sel, nil
	}
	if c.vanished {
		if !s.client.vanished {
			return nil, errVanished
		}
		if err := s.tellVanished(ctx, c.changedSince, s.view.uidRanges(c.set)); err != nil {
			return nil, err
		}
	}
	if !c.has(modSeqItem) {
		c.items = append(c.items, modSeqItem)
	}
	return s.view.changedSince(sel, c.changedSince), nil
}

func (c *fetchCommand) has(item fetcher) bool {
	for _, i := range c.items {
		if i == item {
			return true
		}
	}
	return false
}

// changedSince is what of a selection was changed after a mod-sequence.
func (v *view) changedSince(sel selection, since mailbox.ModSeq) (changed selection) {
	for pos, m := range v.each(sel) {
		if m.ModSeq > since {
			changed = changed.add(pos)
		}
	}
	return changed
}

func parseUnchangedSince(p *parser, c *storeCommand) bool {
	c.condition = new(mailbox.ModSeq)
	return p.SP() && p.modSeq(c.condition)
}

// runIf is STORE for the messages that were not changed since: RFC 7162 §3.1.3.
func (c *storeCommand) runIf(ctx context.Context, s *session) (reply, error) {
	if err := s.learnModSeqs(); err != nil {
		return reply{}, err
	}
	modified := c.change.uids // since 0, everything was
	c.change.uids = nil
	if *c.condition > 0 {
		mutation := c.change.mutation(s.view.box)
		mutation.UIDs, mutation.UnchangedSince = modified, *c.condition
		applied, err := s.apply(ctx, s.view.account, mutation)
		if err != nil {
			return reply{}, err
		}
		modified, c.change.uids = applied.Results[0].Modified, applied.Results[0].Source
	}
	t := telling{echo: modified} // so that the client sees why: §3.1.3 recommends it
	if c.silent {
		t.silent, t.modSeqs = &c.change, c.change.uids
	} else {
		t.echo = mailbox.NewUIDSet(append(modified, c.change.uids...)...)
	}
	if err := s.sync(ctx, t); err != nil || len(modified) == 0 {
		return reply{}, err
	}
	b := s.view.appendSet([]byte("MODIFIED "), s.view.positions(modified), c.by)
	return reply{code: string(b), text: "Some were changed since"}, nil
}

// parseModSeqKey is SEARCH MODSEQ. All metadata of a message have one mod-sequence, so that an entry's name says nothing: RFC 7162 §3.1.5.
func parseModSeqKey(p *parser, g *program) (matcher, bool) {
	var since mailbox.ModSeq
	if !p.SP() {
		return nil, false
	}
	if p.At('"') {
		var entry, kind string
		if !(p.String(&entry) && p.SP() && p.Label(&kind) && p.SP()) {
			return nil, false
		}
		if kind != "PRIV" && kind != "SHARED" && kind != "ALL" {
			return nil, p.Refuse(errOption)
		}
	}
	g.modSeqs, g.varies = true, true
	ok := p.modSeq(&since)
	return func(c *candidate) answer { return answerTo(c.message.ModSeq >= since) }, ok
}

// highest is the greatest mod-sequence of a selection; 0 of none.
func (v *view) highest(sel selection) (top mailbox.ModSeq) {
	for _, m := range v.each(sel) {
		top = max(top, m.ModSeq)
	}
	return top
}
