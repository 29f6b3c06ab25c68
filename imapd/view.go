package imapd

import (
	"cmp"
	"iter"
	"slices"
	"strconv"

	"github.com/emersion/go-imap/v2"

	"posthouse/imapd/wire"
	"posthouse/internal/link"
	"posthouse/mail"
	"posthouse/mailbox"
)

// view is the selected mailbox as the client knows it. Message sequence numbers are positions in told, plus one, and nothing outside
// this file knows them.
//
// What the client has not been told of is not in told. What it has been told of and the store has no more stays in told, with its
// number, until an EXPUNGE may be sent: told is then put together of the store's snapshot and those messages.
type view struct {
	account  mailbox.Account // that has the box
	box      mailbox.BoxID
	owner    mail.AccountID // whose the account is
	prefix   string         // what is before the mailbox's name, where it is another's
	rights   mailbox.Rights // the user's
	readOnly bool           // EXAMINE

	toldRights mailbox.Rights // those that the client knows of
	told       *mailbox.Snapshot
	store      *mailbox.Snapshot // the store's, that told was made of
	whole      mailbox.ModSeq    // up to which the client was told everything, expunges too
	saved      mailbox.UIDSet    // the search result variable "$": RFC 9051 §6.4.4.1
	early      mailbox.UIDSet    // messages whose flags were told before the command that runs began
	client     *awareness
	updates    []*update      // searches whose outcome is kept up to date: RFC 5267
	own        mailbox.UIDSet // messages that a client of NOTIFY put into the mailbox itself
}

func newView(at *place, now *mailbox.Snapshot, client *awareness) *view {
	return &view{
		account: at.account, box: now.Box.ID, owner: at.owner, prefix: at.prefix, rights: at.rights, toldRights: at.rights,
		told: now, store: now, whole: now.Box.ModSeq, client: client,
	}
}

// name is the mailbox's, as the client knows it.
func (v *view) name() string { return v.prefix + v.told.Box.Name }

// span is positions from its first up to before its end.
type span struct{ from, to int }

// selection is positions in a view: ascending spans that do not touch.
type selection []span

// resolve finds the messages that a command names. UIDs that are not there are passed over; sequence numbers have to be there.
func (v *view) resolve(set wire.Set, by numbering) (selection, error) {
	sel, all := v.present(set, by)
	if !all {
		return nil, errNumber // RFC 9051 §9 seq-number: "should respond with a tagged BAD".
	}
	return sel, nil
}

// present are the messages of a set that are there, and whether all sequence numbers are.
func (v *view) present(set wire.Set, by numbering) (sel selection, all bool) {
	if set.Saved {
		return v.positions(v.saved), true
	}
	sel, all = make(selection, 0, len(set.Ranges)), true
	for _, r := range set.Ranges {
		s, ok := v.byNumber(r)
		if by == byUID {
			s, ok = v.byUID(r), true
		}
		all = all && ok
		if s.from < s.to {
			sel = append(sel, s)
		}
	}
	return sel.normal(), all
}

// byNumber is a range of sequence numbers, as far as they are there, and whether they are.
func (v *view) byNumber(r wire.Range) (span, bool) {
	n := uint32(v.told.Len()) //nolint:gosec // no mailbox has as many messages as there are UIDs
	if r.First == wire.Star {
		r.First = n
	}
	if r.Last == wire.Star {
		r.Last = n
	}
	first, last := min(r.First, r.Last), max(r.First, r.Last) // "12:*" of 10 messages means 10:12.
	return span{max(int(first), 1) - 1, int(min(last, n))}, n > 0 && last <= n
}

// byUID is a range of UIDs. "*" is the last message, even if "559:*" begins beyond it: RFC 9051 §6.4.9.
func (v *view) byUID(r wire.Range) span {
	n := v.told.Len()
	if n == 0 {
		return span{}
	}
	if r.First == wire.Star {
		return span{n - 1, n}
	}
	from, _ := v.told.Find(mailbox.UID(r.First))
	if r.Last == wire.Star {
		return span{min(from, n-1), n}
	}
	to, found := v.told.Find(mailbox.UID(r.Last))
	if found {
		to++
	}
	return span{from, to}
}

// positions are those of the messages of a set that the client knows.
func (v *view) positions(set mailbox.UIDSet) selection {
	var sel selection
	for _, r := range set {
		s := v.byUID(wire.Range{First: uint32(r.First), Last: uint32(r.Last)})
		if s.from < s.to {
			sel = append(sel, s)
		}
	}
	return sel.normal()
}

// everything is all messages.
func (v *view) everything() selection {
	if v.told.Len() == 0 {
		return nil
	}
	return selection{{0, v.told.Len()}}
}

// normal sorts and merges.
func (sel selection) normal() selection {
	slices.SortFunc(sel, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	out := sel[:0]
	for _, s := range sel {
		if n := len(out); n > 0 && out[n-1].to >= s.from {
			out[n-1].to = max(out[n-1].to, s.to)
		} else {
			out = append(out, s)
		}
	}
	return out
}

// add appends a position after all others.
func (sel selection) add(pos int) selection {
	if n := len(sel); n > 0 && sel[n-1].to == pos {
		sel[n-1].to++
		return sel
	}
	return append(sel, span{pos, pos + 1})
}

// has tells whether a position is in it.
func (sel selection) has(pos int) bool {
	_, found := slices.BinarySearchFunc(sel, pos, func(s span, pos int) int {
		switch {
		case s.to <= pos:
			return -1
		case s.from > pos:
			return 1
		}
		return 0
	})
	return found
}

// len is the number of messages.
func (sel selection) len() (n int) {
	for _, s := range sel {
		n += s.to - s.from
	}
	return n
}

// cursor walks over the messages of a selection. Copies of it walk on their own.
type cursor struct {
	slabs []*mailbox.Slab // the rest, from that of the last message
	start int             // position of the first message of slabs[0]
	sel   selection       // the rest
	pos   int             // of the next message, if it is in sel[0]
}

func (v *view) walk(sel selection) cursor { return cursor{slabs: v.told.Slabs, sel: sel} }

func (c *cursor) next() (pos int, m *mailbox.Message, ok bool) {
	for len(c.sel) > 0 && c.pos >= c.sel[0].to {
		c.sel = c.sel[1:]
	}
	if len(c.sel) == 0 {
		return 0, nil, false
	}
	pos = max(c.pos, c.sel[0].from)
	for pos-c.start >= len(c.slabs[0].Messages) {
		c.start += len(c.slabs[0].Messages)
		c.slabs = c.slabs[1:]
	}
	c.pos = pos + 1
	return pos, &c.slabs[0].Messages[pos-c.start], true
}

// each yields the messages of a selection with their positions.
func (v *view) each(sel selection) iter.Seq2[int, *mailbox.Message] {
	return func(yield func(int, *mailbox.Message) bool) {
		c := v.walk(sel)
		for pos, m, ok := c.next(); ok && yield(pos, m); pos, m, ok = c.next() {
		}
	}
}

// uids are the UIDs of a selection.
func (v *view) uids(sel selection) (set mailbox.UIDSet) {
	for _, m := range v.each(sel) {
		set = set.Append(m.UID)
	}
	return set
}

// appendNumber writes the number by which a client knows a message.
func (v *view) appendNumber(b []byte, pos int, by numbering) []byte {
	if by == byUID {
		return wire.AppendNumber(b, v.told.At(pos).UID)
	}
	return strconv.AppendInt(b, int64(pos)+1, 10)
}

// appendSet writes a selection as a set of the numbers by which a client knows its messages.
func (v *view) appendSet(b []byte, sel selection, by numbering) []byte {
	if by == byUID {
		return appendUIDs(b, v.uids(sel))
	}
	for i, s := range sel {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(s.from)+1, 10)
		if s.to-s.from > 1 {
			b = append(b, ':')
			b = strconv.AppendInt(b, int64(s.to), 10)
		}
	}
	return b
}

// appendInOrder writes messages in their order, which need not be that of the mailbox: RFC 5267 §3.2.
func (v *view) appendInOrder(b []byte, sel selection, by numbering) []byte {
	number := func(pos int) int64 {
		if by == byUID {
			return int64(v.told.At(pos).UID)
		}
		return int64(pos) + 1
	}
	first, last := int64(0), int64(-1) // of the range at hand
	write := func() {
		if last < first {
			return
		}
		b = strconv.AppendInt(b, first, 10)
		if last > first {
			b = strconv.AppendInt(append(b, ':'), last, 10)
		}
	}
	for _, s := range sel {
		for pos := s.from; pos < s.to; pos++ {
			n := number(pos)
			if n == last+1 && last >= first {
				last = n
				continue
			}
			if write(); last >= first {
				b = append(b, ',')
			}
			first, last = n, n
		}
	}
	write()
	return b
}

// beginFetch begins the data of a message: RFC 9051 §7.5.2, RFC 9586 §3.2.
func (v *view) beginFetch(b []byte, pos int) []byte {
	b = append(b, "* "...)
	if v.client.uidOnly {
		return append(wire.AppendNumber(b, v.told.At(pos).UID), " UIDFETCH ("...)
	}
	b = strconv.AppendInt(b, int64(pos)+1, 10)
	return append(b, " FETCH ("...)
}

// appendExists tells the number of messages.
func (v *view) appendExists(b []byte) []byte {
	b = append(b, "* "...)
	b = strconv.AppendInt(b, int64(v.told.Len()), 10)
	return append(b, " EXISTS\r\n"...)
}

// appendUnseen tells the first message without \Seen, if there is one: RFC 3501 §7.1 UNSEEN.
func (v *view) appendUnseen(b []byte) []byte {
	if v.told.Box.Unseen == 0 || v.client.uidOnly {
		return b
	}
	for pos, m := range v.told.All() {
		if m.Flags&mailbox.Seen == 0 {
			b = append(b, "* OK [UNSEEN "...)
			b = strconv.AppendInt(b, int64(pos)+1, 10)
			return append(b, "] First unseen message\r\n"...)
		}
	}
	return b
}

// appendKeywords tells which flags there are and which can be set: RFC 9051 §7.3.5, §7.1 PERMANENTFLAGS.
func (v *view) appendKeywords(b []byte) []byte {
	all := ^mailbox.Flags(0)
	b = append(b, "* FLAGS "...)
	b = appendFlags(b, all, v.told.Keywords)
	b = append(b, "\r\n* OK [PERMANENTFLAGS "...)
	can := all &^ denied(v.rights) // RFC 4314 §5.1.1
	if v.readOnly {
		can = 0
	}
	b = appendFlags(b, can, v.told.Keywords)
	if can&mailbox.Keywords != 0 && len(v.told.Keywords) < mailbox.MaxKeywords {
		b = appendKeyword(b, imap.FlagWildcard)
	}
	return append(b, "] Flags that can be set\r\n"...)
}

// telling is how changes are told.
type telling struct {
	expunge bool           // EXPUNGE may be sent
	early   bool           // a command that names messages is about to run
	echo    mailbox.UIDSet // messages whose flags are told even if they are as they were: of STORE
	silent  *flagChange    // a change the client knows the outcome of: of STORE .SILENT
	modSeqs mailbox.UIDSet // messages whose mod-sequences are told in any case: of STORE (UNCHANGEDSINCE)
}

// ofOthers tells whether it is only about what others did.
func (t *telling) ofOthers() bool { return t.echo == nil && t.silent == nil && t.modSeqs == nil }

// flagChange is what a command of the client's own did to flags.
type flagChange struct {
	uids  mailbox.UIDSet
	op    mailbox.FlagOp
	marks mailbox.Marks
	keep  mailbox.Flags // what it leaves as it is
}

func (c *flagChange) mutation(box mailbox.BoxID) mailbox.SetFlags {
	return mailbox.SetFlags{Box: box, UIDs: c.uids, Op: c.op, Marks: c.marks, Keep: c.keep}
}

// after is what the flags of a message are if nobody else changed them.
func (c *flagChange) after(old mailbox.Flags, keywords []string) mailbox.Flags {
	change := bits(c.marks, keywords)
	switch c.op {
	case mailbox.AddFlags:
		return old | change
	case mailbox.RemoveFlags:
		return old &^ change
	default:
		return change&^c.keep | old&c.keep
	}
}

// sync makes told what the store has now, as far as it may, and tells the client the difference: EXPUNGE, then EXISTS, then flags.
func (v *view) sync(w *link.Writer, now *mailbox.Snapshot, t telling) error {
	if t.early {
		v.early = nil
	}
	if now == v.store && t.echo == nil && t.modSeqs == nil && (!t.expunge || v.told == v.store) {
		return nil
	}
	old, next := v.told, now
	gone := vanished(old, now)
	if len(gone) > 0 && !t.expunge {
		next = keep(old, now, gone)
		gone = nil
	}
	v.told, v.store = next, now
	if next == now {
		v.whole = now.Box.ModSeq
	}
	if err := v.tellGone(w, old, gone); err != nil {
		return err
	}
	b := w.Available()
	if next.Len() > old.Len()-len(gone) {
		b = v.appendExists(b)
	}
	if len(next.Keywords) > len(old.Keywords) {
		b = v.appendKeywords(b)
	}
	if err := w.Advance(b); err != nil {
		return err
	}
	return v.tellFlags(w, old, t)
}

// tellGone tells which messages are not there any more, by their positions in old.
func (v *view) tellGone(w *link.Writer, old *mailbox.Snapshot, gone []int) error {
	if (v.client.vanished || v.client.uidOnly) && len(gone) > 0 { // RFC 7162 §3.2.10.2, RFC 9586 §3.4
		var uids mailbox.UIDSet
		for _, pos := range gone {
			uids = uids.Append(old.At(pos).UID)
		}
		return w.Advance(append(appendUIDs(append(w.Available(), "* VANISHED "...), uids), "\r\n"...))
	}
	for i, pos := range gone {
		b := append(w.Available(), "* "...)
		b = strconv.AppendInt(b, int64(pos-i)+1, 10) // each one makes the numbers after it less: RFC 9051 §7.5.1
		if err := w.Advance(append(b, " EXPUNGE\r\n"...)); err != nil {
			return err
		}
	}
	return nil
}

// tellFlags tells the flags that are not as the client knows them, and those of t.echo. Who knows of mod-sequences hears of every new
// one: RFC 7162 §3.1. The outcome of STORE .SILENT is known by who was not told other flags in answer to it: what is told last has to
// be what is, "without a race condition" (RFC 9051 §6.4.6).
func (v *view) tellFlags(w *link.Writer, old *mailbox.Snapshot, t telling) error {
	if t.ofOthers() && !v.client.hearsFlags() {
		return nil
	}
	var err error
	changed(old, v.told, func(was, is *mailbox.Message, pos int) bool {
		known := was.Flags
		if t.silent != nil && t.silent.uids.Contains(is.UID) && !v.early.Contains(is.UID) {
			known = t.silent.after(known, v.told.Keywords)
		}
		switch {
		case t.echo.Contains(is.UID) || known == is.Flags && !v.client.modSeqs || known == is.Flags && t.modSeqs.Contains(is.UID):
			return true
		case known == is.Flags:
			err = w.Advance(v.appendModSeqData(w.Available(), pos, is))
		default:
			if t.early {
				v.early = v.early.Append(is.UID)
			}
			err = w.Advance(v.appendFlagData(w.Available(), pos, is))
		}
		return err == nil
	})
	for pos, m := range v.each(v.positions(t.modSeqs)) {
		if err != nil {
			return err
		}
		err = w.Advance(v.appendModSeqData(w.Available(), pos, m))
	}
	for pos, m := range v.each(v.positions(t.echo)) {
		if err != nil {
			return err
		}
		err = w.Advance(v.appendFlagData(w.Available(), pos, m))
	}
	return err
}

// appendFlagData tells the flags of a message, and which one it is: RFC 9051 appendix E, item 21, requires the UID.
func (v *view) appendFlagData(b []byte, pos int, m *mailbox.Message) []byte {
	b = append(v.beginUIDFetch(b, pos, m), "FLAGS "...)
	b = appendFlags(b, m.Flags, v.told.Keywords)
	if v.client.modSeqs {
		b = appendModSeq(append(b, ' '), m)
	}
	return append(b, ")\r\n"...)
}

// appendModSeqData tells the mod-sequence of a message whose flags the client knows.
func (v *view) appendModSeqData(b []byte, pos int, m *mailbox.Message) []byte {
	return append(appendModSeq(v.beginUIDFetch(b, pos, m), m), ")\r\n"...)
}

// beginUIDFetch begins data that nobody asked for: it says of which message, unless its beginning does.
func (v *view) beginUIDFetch(b []byte, pos int, m *mailbox.Message) []byte {
	b = v.beginFetch(b, pos)
	if v.client.uidOnly {
		return b
	}
	return append(wire.AppendNumber(append(b, "UID "...), m.UID), ' ')
}
