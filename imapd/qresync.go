package imapd

import (
	"context"
	"iter"

	"posthouse/imapd/wire"
	"posthouse/internal/link"
	"posthouse/mailbox"
)

// qresync is QRESYNC: RFC 7162 §3.2.
func qresync() extension {
	return extension{
		name: "QRESYNC", rfc: "RFC 7162", needs: "CONDSTORE",
		fetches: []fetchModifier{{"VANISHED", func(_ *parser, c *fetchCommand) bool { c.vanished = true; return true }}},
		selects: []selectParam{{"QRESYNC", parseResync}},
		enable: func(s *session) error { // it implies CONDSTORE: §3.2.3
			s.client.vanished = true
			return s.learnModSeqs()
		},
	}
}

// tellDelayed tells how far the client knows everything while expunges are not told yet: it was told of greater mod-sequences, and would
// come back with one of them (RFC 7162 §3.2).
func (v *view) tellDelayed(w *link.Writer) error {
	if !v.client.vanished || v.told == v.store {
		return nil
	}
	b := wire.AppendNumber(append(w.Available(), "* OK [HIGHESTMODSEQ "...), v.whole)
	return w.Advance(append(b, "] VANISHED is delayed\r\n"...))
}

// resync is what a client knew when it had the mailbox selected before: RFC 7162 §3.2.5.
type resync struct {
	uidValidity uint32
	since       mailbox.ModSeq
	known       mailbox.UIDSet // nil: all there were
	numbers     mailbox.UIDSet // sequence numbers of some messages,
	uids        mailbox.UIDSet // and their UIDs
}

func parseResync(p *parser, c *selectCommand) bool {
	r := &resync{}
	c.resync, c.modSeqs = r, true
	ok := p.SP() && p.Special('(') && p.NZNumber(&r.uidValidity) && p.SP() && p.modSeq(&r.since)
	if ok && !p.At(')') {
		ok = p.SP()
		if ok && !p.At('(') {
			if ok = p.knownSet(&r.known); ok && !p.At(')') {
				ok = p.SP()
			}
		}
		if ok && p.At('(') {
			ok = p.Special('(') && p.knownSet(&r.numbers) && p.SP() && p.knownSet(&r.uids) && p.Special(')')
		}
	}
	return ok && p.Special(')')
}

// knownSet decodes a set without "*": RFC 7162 §7 known-uids.
func (p *parser) knownSet(s *mailbox.UIDSet) bool {
	var set wire.Set
	if !p.Set(&set) {
		return false
	}
	var ranges []mailbox.UIDRange
	for _, r := range set.Ranges {
		if r.First == wire.Star || r.Last == wire.Star {
			return p.Refuse(errKnown)
		}
		ranges = append(ranges, mailbox.UIDRange{First: mailbox.UID(min(r.First, r.Last)), Last: mailbox.UID(max(r.First, r.Last))})
	}
	*s = mailbox.NewUIDSet(ranges...)
	return !set.Saved || p.Refuse(errKnown)
}

// run tells what has vanished and what was changed, if it is the mailbox that the client knew.
func (r *resync) run(ctx context.Context, s *session) error {
	v := s.view
	if r.uidValidity != v.told.Box.UIDValidity {
		return nil
	}
	known := r.known
	if known == nil {
		known = mailbox.AllUIDs()
	}
	if err := s.tellVanished(ctx, r.since, known.Minus(r.settled(v))); err != nil {
		return err
	}
	for pos, m := range v.each(v.changedSince(v.positions(known), r.since)) {
		if err := s.out.Advance(v.appendFlagData(s.out.Available(), pos, m)); err != nil {
			return err
		}
	}
	return nil
}

// settled are the UIDs about which the client knows everything, though expunges that old may be forgotten here: those up to the last of
// the samples it gave that has the number it thinks: RFC 7162 §3.2.5.2.
func (r *resync) settled(v *view) mailbox.UIDSet {
	var last mailbox.UID
	next, stop := iter.Pull(r.uids.UIDs())
	defer stop()
	for n := range r.numbers.UIDs() {
		uid, ok := next()
		if !ok || int64(n) > int64(v.told.Len()) || v.told.At(int(n)-1).UID != uid {
			break
		}
		last = uid
	}
	if last == 0 {
		return nil
	}
	return mailbox.UIDSet{{First: 1, Last: last}}
}

// tellVanished tells which of the UIDs left the mailbox after a mod-sequence; if expunges that old are forgotten, all that are not there
// (RFC 7162 §3.2.6).
func (s *session) tellVanished(ctx context.Context, since mailbox.ModSeq, of mailbox.UIDSet) error {
	gone, complete, err := s.view.account.Vanished(ctx, s.view.box, since)
	if err != nil {
		return err
	}
	if complete {
		gone = gone.Intersect(of)
	} else {
		gone = of.Intersect(mailbox.UIDSet{{First: 1, Last: s.view.told.Box.UIDNext - 1}})
	}
	// What is expunged and not told yet will be told in its turn.
	if gone = gone.Minus(s.view.uids(s.view.everything())); len(gone) == 0 {
		return nil
	}
	return s.write(func(b []byte) []byte {
		return append(appendUIDs(append(b, "* VANISHED (EARLIER) "...), gone), "\r\n"...)
	})
}

// uidRanges are the UIDs that a set names, whether they are there or not.
func (v *view) uidRanges(set wire.Set) mailbox.UIDSet {
	if set.Saved {
		return v.saved
	}
	star := uint32(0)
	if n := v.told.Len(); n > 0 {
		star = uint32(v.told.At(n - 1).UID)
	}
	var ranges []mailbox.UIDRange
	for _, r := range set.Ranges {
		if r.First == wire.Star {
			r.First = star
		}
		if r.Last == wire.Star {
			r.Last = star
		}
		if first, last := min(r.First, r.Last), max(r.First, r.Last); first > 0 {
			ranges = append(ranges, mailbox.UIDRange{First: mailbox.UID(first), Last: mailbox.UID(last)})
		}
	}
	return mailbox.NewUIDSet(ranges...)
}
