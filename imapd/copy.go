package imapd

import (
	"context"

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
	if c.move && s.view.readOnly {
		return reply{}, errReadOnly
	}
	sel, err := s.view.resolve(c.set, c.by)
	if err != nil {
		return reply{}, err
	}
	to, err := s.destination(ctx, c.to)
	if err != nil {
		return reply{}, err
	}
	uids := s.view.uids(sel)
	if uids == nil {
		return reply{text: "No such messages"}, nil
	}
	var change mailbox.Mutation = mailbox.Copy{From: s.view.box, UIDs: uids, To: to.ID}
	if c.move {
		change = mailbox.Move{From: s.view.box, UIDs: uids, To: to.ID}
	}
	applied, err := to.account.Apply(ctx, change, to.within())
	if err != nil {
		return reply{}, err
	}
	r, err := c.tell(s, applied.Results[0])
	if err == nil && c.move {
		r = s.highest(applied)
	}
	return r, err
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
