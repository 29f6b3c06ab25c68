package imapd

import (
	"context"
	"errors"
	"strconv"

	"posthouse/imapd/wire"
	"posthouse/mailbox"
)

type expungeCommand struct {
	set wire.Set // of UID EXPUNGE
	all bool
}

func parseExpunge(p *parser) (runner, error) {
	if !p.End() {
		return nil, p.Err()
	}
	return &expungeCommand{all: true}, nil
}

func uidPlus() extension {
	return extension{
		name: "UIDPLUS", rfc: "RFC 4315",
		commands: []command{{name: "UID EXPUNGE", rfc: "RFC 9051 §6.4.9", in: selected, parse: parseUIDExpunge}},
	}
}

func parseUIDExpunge(p *parser) (runner, error) {
	c := &expungeCommand{}
	if !p.SP() || !p.Set(&c.set) || !p.End() {
		return nil, p.Err()
	}
	return c, nil
}

// run leaves telling to the end of the command.
func (c *expungeCommand) run(ctx context.Context, s *session) (reply, error) {
	if err := s.view.allow(toExpunge); err != nil {
		return reply{}, err
	}
	uids, lowest := mailbox.AllUIDs(), mailbox.UID(0)
	if !c.all {
		sel, err := s.view.resolve(c.set, byUID)
		if err != nil {
			return reply{}, err
		}
		if s.server.opts.Limits.CommandMessages > 0 {
			sel, lowest = s.most(s.view.deleted(sel))
		}
		uids = s.view.uids(sel)
	}
	applied, err := s.expunge(ctx, s.view, uids)
	if err != nil || applied.Results == nil || len(applied.Results[0].Source) == 0 {
		return reply{}, err
	}
	return s.upTo(lowest, s.highest(applied.ModSeq))
}

// deleted are those of the messages that are marked so.
func (v *view) deleted(sel selection) (marked selection) {
	for pos, m := range v.each(sel) {
		if m.Flags&mailbox.Deleted != 0 {
			marked = marked.add(pos)
		}
	}
	return marked
}

// highest is the reply to a command that took messages away: who knows of VANISHED hears up to where it knows (RFC 7162 §3.2.7).
func (s *session) highest(at mailbox.ModSeq) reply {
	if !s.client.vanished {
		return reply{}
	}
	return done("HIGHESTMODSEQ " + strconv.FormatInt(int64(at), 10))
}

func (s *session) expunge(ctx context.Context, v *view, uids mailbox.UIDSet) (applied mailbox.Applied, err error) {
	if len(uids) == 0 {
		return applied, nil
	}
	return s.apply(ctx, v.account, mailbox.Expunge{Box: v.box, UIDs: uids})
}

// runClose expunges without telling, and deselects: RFC 9051 §6.4.1.
func runClose(ctx context.Context, s *session) (reply, error) {
	v := s.view
	s.view = nil
	if v.allow(toExpunge) != nil { // RFC 4314 §4 CLOSE
		return reply{}, nil
	}
	_, err := s.expunge(ctx, v, mailbox.AllUIDs())
	if errors.Is(err, mailbox.ErrNoBox) { // It has no NO; and there is nothing left to expunge.
		err = nil
	}
	return reply{}, err
}

// appendUIDCode is the response code of APPEND: RFC 9051 §7.1 APPENDUID.
func appendUIDCode(validity uint32, uids mailbox.UIDSet) string {
	b := strconv.AppendUint([]byte("APPENDUID "), uint64(validity), 10)
	return string(appendUIDs(append(b, ' '), uids))
}

// copyUIDCode is the response code of COPY and MOVE: RFC 9051 §7.1 COPYUID.
func copyUIDCode(r mailbox.Result) string {
	b := strconv.AppendUint([]byte("COPYUID "), uint64(r.UIDValidity), 10)
	b = appendUIDs(append(b, ' '), r.Source)
	return string(appendUIDs(append(b, ' '), r.UIDs))
}
