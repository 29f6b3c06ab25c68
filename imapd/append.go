package imapd

import (
	"context"
	"io"
	"slices"
	"time"

	"posthouse/imapd/wire"
	"posthouse/mail/mime"
	"posthouse/mailbox"
)

// appendItem is a form of the message in APPEND beside the literal: RFC 4466 §2.7.
type appendItem struct {
	name  string
	parse func(*parser, *appended) bool
}

// appended is a message of APPEND. Its literal is read while the command runs.
type appended struct {
	marks     mailbox.Marks
	internal  time.Time
	body      wire.Literal
	closes    bool // a parenthesis follows
	catenated bool // it is put together of parts, which follow with their parenthesis
}

// appendCommand is APPEND.
type appendCommand struct {
	name  string
	first appended
	next  func(*appended) (more bool, err error) // what follows a literal: the end, or another message
}

func parseAppend(p *parser) (runner, error) {
	c := &appendCommand{next: p.nextAppended}
	if !(p.SP() && p.AString(&c.name) && p.SP() && p.appended(&c.first)) {
		return nil, p.Err()
	}
	return c, nil
}

// appended decodes the flags and the date before the literal, if they are there, and the literal's header or another form of it.
func (p *parser) appended(m *appended) bool {
	return (!p.At('(') || p.flagList(&m.marks) && p.SP()) && (!p.At('"') || p.DateTime(&m.internal) && p.SP()) &&
		(p.Literal(&m.body) || slices.ContainsFunc(p.table.appends, func(item appendItem) bool { return item.parse(p, m) }))
}

// nextAppended decodes what follows a message.
func (p *parser) nextAppended(m *appended) (more bool, err error) {
	if m.closes && !p.Special(')') {
		return false, p.Err()
	}
	if p.AtEnd() {
		return false, nil
	}
	*m = appended{}
	if !p.SP() || !p.appended(m) {
		return false, p.Err()
	}
	return true, nil
}

// lastAppended decodes what follows the only message.
func (p *parser) lastAppended(m *appended) error {
	if m.closes && !p.Special(')') || !p.End() {
		return p.Err()
	}
	return nil
}

// run looks whether each message can be taken, and whether there is room for it, before it asks for it, and reads it straight into the store.
func (c *appendCommand) run(ctx context.Context, s *session) (reply, error) {
	to, err := s.destination(ctx, c.name)
	if err != nil {
		return reply{}, err
	}
	adds, err := c.stage(ctx, s, &to)
	var applied mailbox.Applied
	if err == nil {
		applied, err = to.account.Apply(ctx, append(adds, to.within())...)
	}
	if err != nil {
		for _, a := range adds {
			to.account.Discard(a.(mailbox.Add).Blob) //nolint:forcetypeassert // they are nothing else
		}
		return reply{}, err
	}
	var uids mailbox.UIDSet
	for _, r := range applied.Results {
		uids = append(uids, r.UIDs...)
	}
	uids = mailbox.NewUIDSet(uids...)
	return done(appendUIDCode(applied.Results[0].UIDValidity, uids)), s.ownMessages(ctx, &to, uids)
}

// stage reads all messages. Those that were read are given back with an error, too.
func (c *appendCommand) stage(ctx context.Context, s *session, to *place) (adds []mailbox.Mutation, err error) {
	usage, err := to.account.Usage(ctx)
	if err != nil {
		return nil, err
	}
	m, more := &c.first, true // not a copy: the decoder knows its literal
	for more {
		usage.Messages++
		usage.Octets += m.body.Size
		if !to.holds(usage) && !to.hasTwins() { // as it stands now: what is filed will be looked at once more
			return adds, mailbox.ErrOverQuota
		}
		if len(adds) >= maxAppends {
			return adds, errTooMany
		}
		if limit := s.server.opts.Limits.saved(); limit > 0 && len(adds) >= limit {
			return adds, no(limitCode(limit, 0), "Too many messages to append at once")
		}
		add, err := m.stage(ctx, s, to)
		if err != nil {
			return adds, err
		}
		adds = append(adds, add)
		if more, err = c.next(m); err != nil {
			return adds, err
		}
	}
	return adds, nil
}

// stage reads a message.
func (m *appended) stage(ctx context.Context, s *session, to *place) (add mailbox.Add, err error) {
	if m.body.Size > s.server.opts.Limits.MessageSize {
		return add, errTooBig
	}
	body, twin := io.Reader(&m.body), (*mime.Twin)(nil)
	var parts *catenation
	if m.catenated {
		parts = &catenation{ctx: ctx, s: s, p: &parser{s.in, s.table}}
		defer parts.Close() //nolint:errcheck // it was only read
		body = parts
	}
	if to.hasTwins() {
		twin = mime.NewTwin()
		body = io.TeeReader(body, twin)
	}
	add = mailbox.Add{Box: to.ID, Marks: without(m.marks, denied(to.rights)), Internal: m.internal}
	if add.Blob, err = to.account.Stage(ctx, body); err != nil {
		return add, err
	}
	if twin != nil {
		add = add.ByClient(twin.String())
	}
	switch { // what can be said only when the message is there
	case m.body.NUL && m.body.Binary:
		err = errBinary
	case m.body.NUL, parts != nil && parts.nul:
		err = errNUL
	}
	if err != nil {
		to.account.Discard(add.Blob)
	}
	return add, err
}
