package imapd

import (
	"context"
	"slices"
	"sort"

	"posthouse/imapd/wire"
	"posthouse/mail/mime"
	"posthouse/mailbox"
)

// remove takes messages out of the outcome and appends REMOVEFROM: RFC 5267 §4.3.4. In a sorted one the last come first, so that the
// positions of the others stay what they are.
func (u *update) remove(b []byte, v *view, gone mailbox.UIDSet) []byte {
	u.found = u.found.Minus(gone)
	b = append(b, " REMOVEFROM ("...)
	if u.sort == nil {
		return append(u.appendSet(append(b, "0 "...), v, gone), ')')
	}
	var places []int
	for i, uid := range u.order {
		if gone.Contains(uid) {
			places = append(places, i)
		}
	}
	groups := together(places)
	for i, g := range slices.Backward(groups) {
		b = u.appendGroup(b, v, g)
		if i > 0 {
			b = append(b, ' ')
		}
	}
	u.order = slices.DeleteFunc(u.order, gone.Contains)
	return append(b, ')')
}

// add puts messages into the outcome and appends ADDTO: RFC 5267 §4.3.3. In a sorted one the first come first, so that each has those
// before it in place.
func (u *update) add(ctx context.Context, b []byte, v *view, came mailbox.UIDSet) ([]byte, error) {
	var places []int
	if u.sort != nil {
		order, at, err := u.merged(ctx, v, came)
		if err != nil {
			return b, err
		}
		u.order, places = order, at
	}
	u.found = mailbox.NewUIDSet(slices.Concat(u.found, came)...)
	b = append(b, " ADDTO ("...)
	if u.sort == nil {
		return append(u.appendSet(append(b, "0 "...), v, came), ')'), nil
	}
	for i, g := range together(places) {
		if i > 0 {
			b = append(b, ' ')
		}
		b = u.appendGroup(b, v, g)
	}
	return append(b, ')'), nil
}

// together are the spans of ascending numbers.
func together(numbers []int) (spans selection) {
	for _, n := range numbers {
		spans = spans.add(n)
	}
	return spans
}

// appendGroup writes a context-position and the results from there on.
func (u *update) appendGroup(b []byte, v *view, places span) []byte {
	var sel selection
	for _, uid := range u.order[places.from:places.to] {
		if pos, known := v.told.Find(uid); known {
			sel = append(sel, span{pos, pos + 1})
		}
	}
	return v.appendInOrder(append(wire.AppendNumber(b, places.from+1), ' '), sel, u.search.by)
}

// appendSet writes results in the order of the mailbox.
func (u *update) appendSet(b []byte, v *view, uids mailbox.UIDSet) []byte {
	return v.appendSet(b, v.positions(uids), u.search.by)
}

// merged is the order with messages put in their places, which are returned too. What messages are sorted by never changes, so that a
// place is found by halving: of those that are there, only a few are looked at.
func (u *update) merged(ctx context.Context, v *view, came mailbox.UIDSet) (order []mailbox.UID, places []int, err error) {
	fresh, err := v.withKeys(ctx, v.positions(came))
	if err != nil {
		return nil, nil, err
	}
	slices.SortFunc(fresh, func(a, b sorted) int { return u.sort.compare(&a, &b) })
	known := make(map[mailbox.UID]sorted)
	from := 0 // of those in place, all before it are in the new order
	for _, m := range fresh {
		n := sort.Search(len(u.order)-from, func(i int) bool {
			other, ok := known[u.order[from+i]]
			if !ok && err == nil {
				other, err = v.oneWithKeys(ctx, u.order[from+i])
				known[u.order[from+i]] = other
			}
			return err != nil || u.sort.compare(&m, &other) < 0
		})
		if err != nil {
			return nil, nil, err
		}
		order = append(order, u.order[from:from+n]...)
		from += n
		places = append(places, len(order))
		order = append(order, m.message.UID)
	}
	return append(order, u.order[from:]...), places, nil
}

// oneWithKeys is withKeys for one message.
func (v *view) oneWithKeys(ctx context.Context, uid mailbox.UID) (sorted, error) {
	all, err := v.withKeys(ctx, v.positions(mailbox.UIDSet{{First: uid, Last: uid}}))
	if err != nil || len(all) == 0 { // what has left the mailbox has left the order
		return sorted{message: &mailbox.Message{UID: uid}, keys: &mime.Keys{Sent: mime.NoDate}}, err
	}
	return all[0], nil
}
