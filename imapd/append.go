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
	parse func(*parser, *appendCommand) bool
}

// appendCommand is APPEND. Its literal is read while it runs.
type appendCommand struct {
	name     string
	marks    mailbox.Marks
	internal time.Time
	body     wire.Literal
	end      func() error // what must follow the literal
}

func parseAppend(p *parser) (runner, error) {
	c := &appendCommand{}
	if !(p.SP() && p.AString(&c.name) && p.SP() && p.appendOptions(c) && p.appendBody(c)) {
		return nil, p.Err()
	}
	c.end = func() error {
		if !p.End() {
			return p.Err()
		}
		return nil
	}
	return c, nil
}

// appendOptions decodes the flags and the date before the literal, with the spaces after them, if they are there.
func (p *parser) appendOptions(c *appendCommand) bool {
	return (!p.At('(') || p.flagList(&c.marks) && p.SP()) && (!p.At('"') || p.DateTime(&c.internal) && p.SP())
}

// appendBody decodes the header of the message's literal, or another form of it.
func (p *parser) appendBody(c *appendCommand) bool {
	return p.Literal(&c.body) || slices.ContainsFunc(p.table.appends, func(item appendItem) bool { return item.parse(p, c) })
}

// run looks whether the message can be taken before it asks for it, and reads it straight into the store.
func (c *appendCommand) run(ctx context.Context, s *session) (reply, error) {
	box, err := s.destination(ctx, c.name)
	if err != nil {
		return reply{}, err
	}
	if c.body.Size > s.server.opts.Limits.MessageSize {
		return reply{}, errTooBig
	}
	body, twin := io.Reader(&c.body), (*mime.Twin)(nil)
	if box.Special == mailbox.Sent { // the server may have filed the same message itself
		twin = mime.NewTwin()
		body = io.TeeReader(body, twin)
	}
	blob, err := s.account.Stage(ctx, body)
	if err != nil {
		return reply{}, err
	}
	if err := c.verify(); err != nil {
		s.account.Discard(blob)
		return reply{}, err
	}
	add := mailbox.Add{Box: box.ID, Blob: blob, Marks: c.marks, Internal: c.internal}
	if twin != nil {
		add = add.ByClient(twin.String())
	}
	applied, err := s.account.Apply(ctx, add)
	if err != nil {
		s.account.Discard(blob)
		return reply{}, err
	}
	result := applied.Results[0]
	return done(appendUIDCode(result.UIDValidity, result.UIDs)), nil
}

// verify is what can be said only when the message is there.
func (c *appendCommand) verify() error {
	switch {
	case c.body.NUL && c.body.Binary:
		return errBinary
	case c.body.NUL:
		return errNUL
	}
	return c.end()
}
