package imapd

import (
	"context"
	"errors"
	"slices"

	"posthouse/imapd/wire"
	"posthouse/internal/link"
	"posthouse/mail"
	"posthouse/mail/mime"
	"posthouse/mailbox"
)

// fetchItem is a data item of FETCH, by its name; "BODY[" is the one with a section.
type fetchItem struct {
	name  string
	parse func(*parser) (fetcher, bool)
}

func (i fetchItem) label() string { return i.name }

// fetcher writes one data item of messages, one after the other.
type fetcher interface {
	// wants is what it needs of the facts.
	wants() mailbox.FactSet
	// reads tells whether it sets \Seen.
	reads() bool
	// write appends the item; or appends nothing, and the streamer does it when no facts are held any more.
	write(b []byte, t *target) ([]byte, streamer)
}

// streamer writes an item that needs the message's octets.
type streamer interface {
	// prepare finds out what there is to write; after it, only a failing disk or client is in the way.
	prepare(ctx context.Context, m *opened) error
	stream(w *link.Writer, m *opened) error
}

// target is the message being written.
type target struct {
	message  *mailbox.Message
	box      *mailbox.Box
	keywords []string
	facts    *mailbox.Facts // as far as wants said; nil if nothing was
}

// opened is a message whose octets are read.
type opened struct {
	mail.Content
	account mailbox.Account
	blob    mailbox.BlobID
}

// parts hands out the message's structure, which is valid until f returns.
func (m *opened) parts(ctx context.Context, f func(*mime.Part)) error {
	for facts, err := range m.account.Facts(ctx, mailbox.WantParts, slices.Values([]mailbox.BlobID{m.blob})) {
		if err != nil {
			return err
		}
		f(facts.Parts)
		return nil
	}
	return mailbox.ErrNoBlob
}

// plain is an item that is always there.
type plain struct {
	want   mailbox.FactSet
	append func(b []byte, t *target) []byte
}

func (i *plain) wants() mailbox.FactSet                       { return i.want }
func (i *plain) reads() bool                                  { return false }
func (i *plain) write(b []byte, t *target) ([]byte, streamer) { return i.append(b, t), nil }
func (i *plain) parse(*parser) (fetcher, bool)                { return i, true }

var (
	flagsItem = &plain{append: func(b []byte, t *target) []byte {
		return appendFlags(append(b, "FLAGS "...), t.message.Flags, t.keywords)
	}}
	uidItem = &plain{append: func(b []byte, t *target) []byte {
		return wire.AppendNumber(append(b, "UID "...), t.message.UID)
	}}
	dateItem = &plain{append: func(b []byte, t *target) []byte {
		return wire.AppendDateTime(append(b, "INTERNALDATE "...), t.message.Internal, t.message.Zone)
	}}
	sizeItem = &plain{append: func(b []byte, t *target) []byte {
		return wire.AppendNumber(append(b, "RFC822.SIZE "...), t.message.Size)
	}}
	envelopeItem = &plain{want: mailbox.WantEnvelope, append: func(b []byte, t *target) []byte {
		return append(append(b, "ENVELOPE "...), t.facts.Envelope...)
	}}
	bodyItem = &plain{want: mailbox.WantBody, append: func(b []byte, t *target) []byte {
		return append(append(b, "BODY "...), t.facts.Body...)
	}}
	structureItem = &plain{want: mailbox.WantBodyStructure, append: func(b []byte, t *target) []byte {
		return append(append(b, "BODYSTRUCTURE "...), t.facts.BodyStructure...)
	}}
)

// fetchItems are the data items of RFC 9051 §6.4.5 and RFC 3501 §6.4.5.
func fetchItems() []fetchItem {
	return []fetchItem{
		{"FLAGS", flagsItem.parse},
		{"UID", uidItem.parse},
		{"INTERNALDATE", dateItem.parse},
		{"RFC822.SIZE", sizeItem.parse},
		{"ENVELOPE", envelopeItem.parse},
		{"BODY", bodyItem.parse},
		{"BODYSTRUCTURE", structureItem.parse},
		{"BODY[", func(p *parser) (fetcher, bool) { return p.bodySection(true) }},
		{"BODY.PEEK[", func(p *parser) (fetcher, bool) { return p.bodySection(false) }},
		{"RFC822", oldItem("RFC822", section{}, true)},
		{"RFC822.HEADER", oldItem("RFC822.HEADER", section{text: "HEADER"}, false)},
		{"RFC822.TEXT", oldItem("RFC822.TEXT", section{text: "TEXT"}, true)},
	}
}

// macros stand alone: RFC 9051 §6.4.5.
var macros = map[string][]fetcher{
	"ALL":  {flagsItem, dateItem, sizeItem, envelopeItem},
	"FAST": {flagsItem, dateItem, sizeItem},
	"FULL": {flagsItem, dateItem, sizeItem, envelopeItem, bodyItem},
}

type fetchCommand struct {
	by           numbering
	set          wire.Set
	items        []fetcher
	ownUID       bool           // the UID was not asked for, but belongs to every answer
	changedSince mailbox.ModSeq // only messages that were changed after it; 0: all
	changes      bool           // changedSince was given
	vanished     bool           // and what has vanished since is told
	part         part
}

func parseFetch(p *parser, by numbering) (runner, error) {
	c := &fetchCommand{by: by}
	if !(p.SP() && p.Set(&c.set) && p.SP() && p.fetchItems(&c.items) && p.fetchModifiers(c) && p.End()) {
		return nil, p.Err()
	}
	if by == byUID && !slices.Contains(c.items, fetcher(uidItem)) { // RFC 9051 §6.4.9: every answer has it.
		c.items, c.ownUID = slices.Insert(c.items, 0, fetcher(uidItem)), true
	}
	return c, nil
}

// fetchModifiers decodes the modifiers of RFC 4466 §2.4, if there are any.
func (p *parser) fetchModifiers(c *fetchCommand) bool {
	if p.AtEnd() {
		return true
	}
	ok := p.SP() && p.List1(func() bool {
		var name string
		if !p.Label(&name) {
			return false
		}
		modifier, known := p.table.fetches[name]
		if !known {
			return p.Refuse(errOption)
		}
		return modifier.parse(p, c)
	})
	if ok && c.vanished && !(c.changes && c.by == byUID) { // RFC 7162 §3.2.6
		return p.Refuse(errVanished)
	}
	return ok
}

func (p *parser) fetchItems(items *[]fetcher) bool {
	if p.At('(') {
		return p.List1(func() bool { return p.fetchItem(items) })
	}
	var name string
	if !p.Label(&name) {
		return false
	}
	if macro, ok := macros[name]; ok {
		*items = slices.Clone(macro)
		return true
	}
	return p.namedItem(name, items)
}

func (p *parser) fetchItem(items *[]fetcher) bool {
	var name string
	return p.Label(&name) && p.namedItem(name, items)
}

// namedItem decodes what follows the name of an item.
func (p *parser) namedItem(name string, items *[]fetcher) bool {
	if p.At('[') && p.Special('[') {
		name += "["
	}
	row, known := p.table.fetch[name]
	switch {
	case !known:
		return p.Refuse(errItem)
	case len(*items) >= maxFetchItems:
		return p.Refuse(errTooMany)
	}
	item, ok := row.parse(p)
	*items = append(*items, item)
	return ok
}

func (c *fetchCommand) run(ctx context.Context, s *session) (reply, error) {
	if limit := s.server.opts.Limits.CommandMessages; limit > 0 && c.part.size() > limit { // RFC 9738 §3.1
		return reply{}, no(limitCode(limit, 0), "Too many messages for one command")
	}
	sel, err := s.view.resolve(c.set, c.by)
	if err == nil {
		sel, err = c.sinceThen(ctx, s, sel)
	}
	if err != nil {
		return reply{}, err
	}
	sel, lowest := s.most(sel)
	if c.ownUID && s.client.uidOnly {
		c.items = c.items[1:] // the answer begins with it
	}
	if len(c.items) == 0 {
		return reply{}, nil
	}
	f := &fetching{s: s, items: c.items}
	reads := false
	for _, item := range c.items {
		f.want |= item.wants()
		reads = reads || item.reads()
	}
	if reads && s.view.allow(mailbox.MayMarkSeen) == nil {
		seen, err := s.markSeen(ctx, sel)
		if errors.Is(err, mailbox.ErrFull) || errors.Is(err, mailbox.ErrFailed) {
			f.unmarked = err // What cannot be marked can be read all the same.
		} else if err != nil && !errors.Is(err, mailbox.ErrLimit) { // too many users have a \Seen of their own here
			return reply{}, err
		}
		if !slices.Contains(c.items, fetcher(flagsItem)) {
			f.changed = seen
		}
	}
	for _, s := range inTurn(sel, lowest) {
		if err := f.all(ctx, s); err != nil {
			return reply{}, err
		}
	}
	switch {
	case f.missing:
		return reply{}, errGone
	case f.unmarked != nil:
		return reply{}, f.unmarked
	}
	return s.upTo(lowest, reply{})
}

// inTurn is how messages are answered for: all at once, or if these are not all, one after the other from the last (RFC 9738 §3.1).
func inTurn(sel selection, lowest mailbox.UID) (turns []selection) {
	if lowest == 0 {
		return []selection{sel}
	}
	for _, s := range slices.Backward(sel) {
		for pos := s.to - 1; pos >= s.from; pos-- {
			turns = append(turns, selection{{pos, pos + 1}})
		}
	}
	return turns
}

// markSeen sets \Seen of the messages that lack it, in one change, and returns them: the answer has their new flags, as RFC 9051
// §6.4.5 asks for.
func (s *session) markSeen(ctx context.Context, sel selection) (mailbox.UIDSet, error) {
	var unseen mailbox.UIDSet
	for _, m := range s.view.each(sel) {
		if m.Flags&mailbox.Seen == 0 {
			unseen = unseen.Append(m.UID)
		}
	}
	if unseen == nil {
		return nil, nil
	}
	change := flagChange{uids: unseen, op: mailbox.AddFlags, marks: mailbox.Marks{System: mailbox.Seen}}
	if _, err := s.view.account.Apply(ctx, change.mutation(s.view.box)); err != nil {
		return nil, err
	}
	return unseen, s.sync(ctx, telling{silent: &change}) // No position changes: no EXPUNGE is told now.
}

// fetching is a FETCH on its way through the messages.
type fetching struct {
	s       *session
	items   []fetcher
	want    mailbox.FactSet
	changed mailbox.UIDSet // messages whose flags are told with the items
	missing bool           // a message was expunged meanwhile

	unmarked error      // why \Seen could not be set
	target   target     // the message at hand
	pending  []streamer // its items that need its octets
}

func (f *fetching) all(ctx context.Context, sel selection) error {
	for k, err := range f.s.view.facts(ctx, f.want, sel) {
		if err == nil {
			err = f.message(ctx, k)
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// message answers for one message.
func (f *fetching) message(ctx context.Context, k known) error {
	if f.want != 0 && k.Facts == nil {
		f.missing = true
		return nil
	}
	f.target = target{message: k.message, box: &f.s.view.told.Box, keywords: f.s.view.told.Keywords, facts: k.Facts}
	f.pending = f.pending[:0]
	b := f.s.out.Available()
	begin := len(b)
	b = f.s.view.beginFetch(b, k.pos)
	if f.changed.Contains(k.message.UID) {
		b = append(flagsItem.append(b, &f.target), ' ')
	}
	for _, item := range f.items {
		written, rest := item.write(b, &f.target)
		if rest != nil {
			f.pending = append(f.pending, rest)
			continue
		}
		b = append(written, ' ')
	}
	if len(f.pending) > 0 {
		return f.stream(ctx, b, begin)
	}
	return f.s.out.Advance(append(b[:len(b)-1], ")\r\n"...)) // in place of the last space
}

// stream writes what needs the octets of the message whose answer begins at begin. If it is gone, nothing of it is written.
func (f *fetching) stream(ctx context.Context, b []byte, begin int) error {
	content, err := f.s.view.account.Open(ctx, f.target.message.Blob)
	if errors.Is(err, mailbox.ErrNoBlob) {
		f.missing = true
		return f.s.out.Advance(b[:begin])
	}
	if err != nil {
		return err
	}
	defer content.Close() //nolint:errcheck // it was only read
	m := &opened{content, f.s.view.account, f.target.message.Blob}
	for _, item := range f.pending {
		if err := item.prepare(ctx, m); err != nil {
			return err
		}
	}
	out := f.s.out
	err = out.Advance(b)
	for i, item := range f.pending {
		if i > 0 {
			err = errors.Join(err, out.WriteString(" "))
		}
		if err = errors.Join(err, item.stream(out, m)); err != nil {
			f.s.cut(err)
			return err
		}
	}
	return out.WriteString(")\r\n")
}

// cut ends a session in the middle of an answer that cannot be completed, since a literal was promised.
func (s *session) cut(err error) {
	if s.out.Err() == nil {
		s.log.Error("answer cut off", "err", err)
	}
	s.out.Fail(err)
}
