package imapd

import (
	"cmp"
	"math"
	"strconv"

	"posthouse/imapd/wire"
	"posthouse/mailbox"
)

// messageLimit is MESSAGELIMIT: RFC 9738. Nothing here needs such a limit, and clients that know of none take the server for broken
// (§4.2): it is there only where the operator has set one.
func messageLimit(n int) extension {
	return extension{
		name: "MESSAGELIMIT", rfc: "RFC 9738",
		offered: func(*session) bool { return n > 0 },
		words:   func(*session) []string { return []string{"MESSAGELIMIT=" + strconv.Itoa(n)} },
		search: []searchKey{
			uidKey("UIDAFTER", func(uid mailbox.UID) mailbox.UIDRange { return mailbox.UIDRange{First: uid + 1, Last: math.MaxUint32} }),
			uidKey("UIDBEFORE", func(uid mailbox.UID) mailbox.UIDRange { return mailbox.UIDRange{First: 1, Last: uid - 1} }),
		},
	}
}

// saveLimit is SAVELIMIT, the limit of COPY and APPEND where other commands have none: RFC 9738 §3.
func saveLimit(l *Limits) extension {
	return extension{
		name: "SAVELIMIT", rfc: "RFC 9738",
		offered: func(*session) bool { return l.SavedMessages > 0 && l.CommandMessages == 0 },
		words:   func(*session) []string { return []string{"SAVELIMIT=" + strconv.Itoa(l.SavedMessages)} },
	}
}

// uidKey is a key for the messages above or below a UID: RFC 9738 §3.2.
func uidKey(name string, beyond func(mailbox.UID) mailbox.UIDRange) searchKey {
	return searchKey{name, func(p *parser, g *program) (matcher, bool) {
		var uid uint32
		if !p.SP() || !p.NZNumber(&uid) {
			return nil, false
		}
		var set mailbox.UIDSet
		if r := beyond(mailbox.UID(uid)); r.First != 0 && r.First <= r.Last {
			set = mailbox.UIDSet{r}
		}
		sel := g.scope()
		g.prepare = append(g.prepare, func(v *view) error {
			*sel = v.positions(set)
			return nil
		})
		return func(c *candidate) answer { return answerTo(sel.has(c.pos)) }, true
	}}
}

// saved is how many messages one COPY or APPEND may save; 0: any number.
func (l *Limits) saved() int { return cmp.Or(l.CommandMessages, l.SavedMessages) }

// limitCode is the response code about that limit, with the lowest UID that was or would have been done; 0: none. RFC 9738 §5.
func limitCode(limit int, lowest mailbox.UID) string {
	b := strconv.AppendInt([]byte("MESSAGELIMIT "), int64(limit), 10)
	if lowest > 0 {
		b = wire.AppendNumber(append(b, ' '), lowest)
	}
	return string(b)
}

// last are the last messages of a selection, as many as that, and the UID of the first of them; all of them and 0 if there are no more.
func (v *view) last(sel selection, limit int) (selection, mailbox.UID) {
	if limit == 0 || sel.len() <= limit {
		return sel, 0
	}
	some := part{first: 1, last: uint32(limit), backwards: true} //nolint:gosec // a selection has no more than there are UIDs
	sel = some.of(sel)
	return sel, v.told.At(sel[0].from).UID
}

// most are those of the messages that one command may be for: the last ones (RFC 9738 §3.1).
func (s *session) most(sel selection) (selection, mailbox.UID) {
	return s.view.last(sel, s.server.opts.Limits.CommandMessages)
}

// upTo is the reply of a command that did only the messages down to a UID; 0: all. Another response code keeps its place: RFC 9738 §3.1.
func (s *session) upTo(lowest mailbox.UID, r reply) (reply, error) {
	if lowest == 0 {
		return r, nil
	}
	code := limitCode(s.server.opts.Limits.CommandMessages, lowest)
	if r.code == "" {
		r.code, r.text = code, "Completed for the last messages only"
		return r, nil
	}
	return r, s.out.WriteString("* NO [" + code + "] Only for the last messages\r\n")
}

// scope is where a key of the program keeps the messages that it is for. Those of keys that all must hold bound the search.
func (g *program) scope() *selection {
	sel := new(selection)
	g.scopes = append(g.scopes, sel)
	return sel
}

// among narrows a selection to what the program is for, and to as many as may be searched at once.
func (g *program) among(v *view, sel selection) (selection, error) {
	for _, scope := range g.scopes {
		sel = sel.both(*scope)
	}
	some, lowest := v.last(sel, g.most)
	if g.lowest = lowest; lowest > 0 && g.whole { // RFC 9738 §3.3
		return nil, no(limitCode(g.most, 0), "Too many messages for one command")
	}
	return some, nil
}

// both is what is in two selections.
func (sel selection) both(other selection) (both selection) {
	for len(sel) > 0 && len(other) > 0 {
		if s := (span{max(sel[0].from, other[0].from), min(sel[0].to, other[0].to)}); s.from < s.to {
			both = append(both, s)
		}
		if sel[0].to < other[0].to {
			sel = sel[1:]
		} else {
			other = other[1:]
		}
	}
	return both
}
