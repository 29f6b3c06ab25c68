package imapd

import (
	"context"
	"strings"

	"posthouse/imapd/wire"
	"posthouse/mailbox"
)

type storeCommand struct {
	by        numbering
	set       wire.Set
	change    flagChange
	silent    bool
	condition *mailbox.ModSeq // only messages that were not changed after it; nil: all
}

func parseStore(p *parser, by numbering) (runner, error) {
	c := &storeCommand{by: by}
	if !(p.SP() && p.Set(&c.set) && p.SP() && p.storeModifiers(c) && p.storeItem(c) && p.SP() && p.storeFlags(&c.change.marks) && p.End()) {
		return nil, p.Err()
	}
	return c, nil
}

// storeModifiers decodes the modifiers of RFC 4466 §2.5 and the space after them, if there are any.
func (p *parser) storeModifiers(c *storeCommand) bool {
	return !p.At('(') || p.List1(func() bool {
		var name string
		if !p.Label(&name) {
			return false
		}
		modifier, known := p.table.stores[name]
		if !known {
			return p.Refuse(errOption)
		}
		return modifier.parse(p, c)
	}) && p.SP()
}

// flagOps are the data items of STORE, but for ".SILENT".
var flagOps = map[string]mailbox.FlagOp{
	"FLAGS": mailbox.ReplaceFlags, "+FLAGS": mailbox.AddFlags, "-FLAGS": mailbox.RemoveFlags,
}

func (p *parser) storeItem(c *storeCommand) bool {
	var name string
	if !p.Atom(&name) {
		return false
	}
	name, c.silent = strings.CutSuffix(strings.ToUpper(name), ".SILENT")
	op, known := flagOps[name]
	c.change.op = op
	return known || p.Refuse(errItem)
}

// storeFlags decodes a list of flags, with its parentheses or without.
func (p *parser) storeFlags(m *mailbox.Marks) bool {
	if p.At('(') {
		return p.flagList(m)
	}
	for p.flag(m) {
		if p.AtEnd() {
			return true
		}
		if !p.SP() {
			return false
		}
	}
	return false
}

func (c *storeCommand) run(ctx context.Context, s *session) (reply, error) {
	if s.view.readOnly {
		return reply{}, errReadOnly
	}
	if err := c.change.restrict(s.view.rights); err != nil {
		return reply{}, err
	}
	sel, err := s.view.resolve(c.set, c.by)
	if err != nil {
		return reply{}, err
	}
	sel, lowest := s.most(sel)
	if c.change.uids = s.view.uids(sel); c.change.uids == nil {
		return reply{}, nil
	}
	run := c.runAnyway
	if c.condition != nil {
		run = c.runIf
	}
	r, err := run(ctx, s)
	if err != nil {
		return reply{}, err
	}
	return s.upTo(lowest, r)
}

// runAnyway is STORE without a condition.
func (c *storeCommand) runAnyway(ctx context.Context, s *session) (reply, error) {
	if _, err := s.apply(ctx, s.view.account, c.change.mutation(s.view.box)); err != nil {
		return reply{}, err
	}
	if c.silent {
		return reply{}, s.sync(ctx, telling{silent: &c.change})
	}
	return reply{}, s.sync(ctx, telling{echo: c.change.uids})
}
