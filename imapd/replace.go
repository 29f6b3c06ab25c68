package imapd

import (
	"context"

	"posthouse/imapd/wire"
	"posthouse/mailbox"
)

// replace is REPLACE: RFC 8508.
func replace() extension {
	return extension{
		name: "REPLACE", rfc: "RFC 8508",
		commands: both(command{name: "REPLACE", rfc: "RFC 8508 §3.1", in: selected, seqs: renumbers}, parseReplace),
	}
}

type replaceCommand struct {
	by      numbering
	set     wire.Set // one message
	to      string
	message appended
	end     func(*appended) error
}

func parseReplace(p *parser, by numbering) (runner, error) {
	c := &replaceCommand{by: by, end: p.lastAppended}
	if !(p.SP() && p.Set(&c.set) && p.one(c.set) && p.SP() && p.AString(&c.to) && p.SP() && p.appended(&c.message)) {
		return nil, p.Err()
	}
	return c, nil
}

// one tells whether a set is one number.
func (p *parser) one(set wire.Set) bool {
	return !set.Saved && len(set.Ranges) == 1 && set.Ranges[0].First == set.Ranges[0].Last || p.Refuse(errNotOne)
}

// run puts the new message in the place of the old one, in one change: RFC 8508 §3.1. In another account it is filed first, and the old one
// removed then; if it is cut short in between both are there, and nothing is lost.
func (c *replaceCommand) run(ctx context.Context, s *session) (reply, error) {
	if err := s.view.allow(toMove); err != nil {
		return reply{}, err
	}
	sel, err := s.view.resolve(c.set, c.by)
	if err != nil {
		return reply{}, err
	}
	old := s.view.uids(sel)
	if old == nil {
		return reply{}, errGone
	}
	to, err := s.destination(ctx, c.to)
	if err != nil {
		return reply{}, err
	}
	add, err := c.message.stage(ctx, s, &to)
	if err != nil {
		return reply{}, err
	}
	add.As, add.Unless = "", "" // it is another version of the message, whatever was filed before
	changes := []mailbox.Mutation{add, to.within()}
	same := to.owner == s.view.owner
	if same {
		changes = append(changes, removal(s.view.box, old)...)
	}
	err = c.end(&c.message)
	var applied mailbox.Applied
	if err == nil {
		applied, err = s.apply(ctx, to.account, changes...)
	}
	if err != nil {
		to.account.Discard(add.Blob)
		return reply{}, err
	}
	at := applied.ModSeq
	if !same {
		if at, err = s.view.remove(ctx, old); err != nil {
			return reply{}, err
		}
	}
	r := applied.Results[0]
	if err := s.ownMessages(ctx, &to, r.UIDs); err != nil {
		return reply{}, err
	}
	if err := s.out.WriteString("* OK [" + appendUIDCode(r.UIDValidity, r.UIDs) + "] Replacement message\r\n"); err != nil {
		return reply{}, err
	}
	return s.highest(at), nil
}
