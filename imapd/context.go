package imapd

import (
	"context"
	"math"
	"slices"
	"time"

	"posthouse/imapd/wire"
	"posthouse/internal/link"
	"posthouse/mailbox"
)

// contextSearch is CONTEXT=SEARCH: RFC 5267 §4. Results are not kept for later commands, as §4.5 leaves to us, so that CONTEXT is a hint
// that changes nothing; PARTIAL has become an extension of its own (RFC 9394).
func contextSearch() extension {
	return extension{
		name: "CONTEXT=SEARCH", rfc: "RFC 5267", needs: "ESEARCH",
		commands: []command{{name: "CANCELUPDATE", rfc: "RFC 5267 §4.3.5", in: selected, parse: parseCancelUpdate}},
		returns:  []searchOption{resultOption("CONTEXT", resultContext), resultOption("UPDATE", resultUpdate)},
	}
}

// contextSort is CONTEXT=SORT: the same for SORT.
func contextSort() extension {
	return extension{
		name: "CONTEXT=SORT", rfc: "RFC 5267", needs: "CONTEXT=SEARCH",
		offered: func(s *session) bool { return s.table.commands["SORT"] != nil },
	}
}

// update is a search whose outcome the client is kept up to date of: RFC 5267 §4.3. It belongs to a view, and ends with it.
type update struct {
	tag    string
	head   []byte // of its responses
	search *searchCommand
	sort   *sortCommand   // nil: the order is that of the mailbox
	found  mailbox.UIDSet // the outcome, as the client was told
	order  []mailbox.UID  // the same, in the order of sort
	seen   *mailbox.Snapshot
	fetch  func(context.Context, mailbox.UIDSet) error // tells what is to be told of new messages
	at     int64                                       // when, in seconds since 1970; it and seen are those of found
}

// keepUpdated has the client told of changes to what was found, if it asked for that.
func (c *searchCommand) keepUpdated(s *session, found selection, sort *sortCommand) error {
	if c.results&resultUpdate == 0 {
		return nil
	}
	v := s.view
	if len(v.updates) >= maxUpdates || c.program.anyFuzzy || c.program.ages && c.program.reads() {
		return s.refuseUpdate()
	}
	u := &update{tag: s.tag, head: c.appendHead(nil, s, v), search: c, sort: sort, seen: v.told, at: time.Now().Unix()}
	u.fetch = func(ctx context.Context, uids mailbox.UIDSet) error { return s.tellItems(ctx, c.items, uids) }
	u.found = v.uids(slices.Clone(found).normal())
	if sort != nil {
		for _, m := range found { // each of its own, and not in the order of the view
			u.order = append(u.order, v.told.At(m.from).UID)
		}
	}
	c.program.most = 0
	v.updates = append(v.updates, u)
	return nil
}

// refuseUpdate is all that a client hears of it if there are no updates: RFC 5267 §4.3.1.
func (s *session) refuseUpdate() error {
	return s.write(func(b []byte) []byte {
		return append(wire.AppendString(append(b, "* NO [NOUPDATE "...), s.tag), "] Too many updates, or too expensive\r\n"...)
	})
}

// reads tells whether finding out takes more than the view.
func (g *program) reads() bool { return g.want != 0 || len(g.needles) > 0 }

// countByUID has all that is told of updates be UIDs: with UIDONLY there are no numbers any more (RFC 9586 §3).
func (v *view) countByUID() {
	if v == nil {
		return
	}
	for _, u := range v.updates {
		u.search.by = byUID
	}
}

// updating is the update of that tag; nil if there is none.
func (v *view) updating(tag string) *update {
	for _, u := range v.updates {
		if u.tag == tag {
			return u
		}
	}
	return nil
}

// follow is sync, with what it means to updates: what the store has no more is told before EXPUNGE takes the numbers away (RFC 5267
// §4.3.4), the rest after EXISTS and the flags (§4.3.3, RFC 5465 §5.1).
func (v *view) follow(ctx context.Context, w *link.Writer, now *mailbox.Snapshot, t telling) error {
	for _, u := range v.updates {
		if err := u.forget(w, v, now); err != nil {
			return err
		}
	}
	if err := v.sync(w, now, t); err != nil {
		return err
	}
	for _, u := range v.updates {
		if err := u.judge(ctx, w, v); err != nil {
			return err
		}
	}
	return nil
}

// forget takes out what is gone from the store.
func (u *update) forget(w *link.Writer, v *view, now *mailbox.Snapshot) error {
	var gone mailbox.UIDSet
	for _, pos := range vanished(u.seen, now) {
		if uid := u.seen.At(pos).UID; u.found.Contains(uid) {
			gone = gone.Append(uid)
		}
	}
	return u.tellLeft(w, v, gone)
}

// judge looks again at what is new or was changed since, and tells what that made of the outcome.
func (u *update) judge(ctx context.Context, w *link.Writer, v *view) error {
	now := time.Now().Unix()
	among := u.among(v, now)
	var hits mailbox.UIDSet
	if len(among) > 0 {
		sel, err := u.search.program.run(ctx, v, among)
		if err != nil {
			return err
		}
		hits = v.uids(sel)
	}
	came := hits.Minus(u.found)
	if err := u.tellLeft(w, v, v.uids(among).Intersect(u.found).Minus(hits)); err != nil {
		return err
	}
	if len(came) > 0 {
		fresh := mailbox.UIDSet{{First: u.seen.Box.UIDNext, Last: math.MaxUint32}}
		if err := u.fetch(ctx, came.Intersect(fresh)); err != nil { // RFC 5465 §7: before the ESEARCH response, and of new ones only
			return err
		}
		b, err := u.add(ctx, u.search.appendBy(append(w.Available(), u.head...)), v, came)
		if err != nil {
			return err
		}
		if err := w.Advance(append(b, "\r\n"...)); err != nil {
			return err
		}
	}
	u.seen, u.at = v.store, now
	return nil
}

// tellLeft takes messages out of the outcome.
func (u *update) tellLeft(w *link.Writer, v *view, left mailbox.UIDSet) error {
	if len(left) == 0 {
		return nil
	}
	b := u.search.appendBy(append(w.Available(), u.head...))
	return w.Advance(append(u.remove(b, v, left), "\r\n"...))
}

// among are the messages that may have come to match, or match no more. Time changes the answer for all.
func (u *update) among(v *view, now int64) (sel selection) {
	program := &u.search.program
	switch {
	case program.ages && (u.at != now || u.seen != v.store):
		for _, m := range v.store.All() {
			sel = v.addUID(sel, m.UID)
		}
		return sel
	case u.seen == v.store:
		return nil
	}
	if program.varies {
		changed(u.seen, v.store, func(_, is *mailbox.Message, _ int) bool {
			sel = v.addUID(sel, is.UID)
			return true
		})
	}
	from, _ := v.store.Find(u.seen.Box.UIDNext)
	for pos := from; pos < v.store.Len(); pos++ {
		sel = v.addUID(sel, v.store.At(pos).UID)
	}
	return sel
}

// addUID adds the position of a message that comes after all others of a selection.
func (v *view) addUID(sel selection, uid mailbox.UID) selection {
	if pos, known := v.told.Find(uid); known {
		return sel.add(pos)
	}
	return sel
}

type cancelUpdate struct{ tags []string }

func parseCancelUpdate(p *parser) (runner, error) {
	c := &cancelUpdate{}
	for len(c.tags) == 0 || !p.AtEnd() {
		var tag string
		if !p.SP() || !p.String(&tag) {
			return nil, p.Err()
		}
		if len(c.tags) >= maxUpdates {
			return nil, errTooMany
		}
		c.tags = append(c.tags, tag)
	}
	return c, nil
}

// run cancels all of them, or none if there is one that is no update's.
func (c *cancelUpdate) run(_ context.Context, s *session) (reply, error) {
	for _, tag := range c.tags {
		if s.view.updating(tag) == nil {
			return reply{}, errNoUpdate
		}
	}
	s.view.updates = slices.DeleteFunc(s.view.updates, func(u *update) bool { return slices.Contains(c.tags, u.tag) })
	return reply{}, nil
}
