package imapd

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"posthouse/imapd/wire"
	"posthouse/internal/link"
	"posthouse/mail/mime"
	"posthouse/mailbox"
)

// sorting is SORT: RFC 5256.
func sorting() extension {
	return extension{
		name: "SORT", rfc: "RFC 5256",
		commands: both(command{name: "SORT", rfc: "RFC 5256 §3", in: selected, seqs: byNumbers, beside: true}, parseSort),
		sorts: []sortKey{
			byNumber("ARRIVAL", func(m *sorted) int64 { return m.message.Internal }),
			byNumber("DATE", (*sorted).sent),
			byNumber("SIZE", func(m *sorted) int64 { return m.message.Size }),
			byText("SUBJECT", func(k *mime.Keys) string { return k.Subject }),
			byText("FROM", func(k *mime.Keys) string { return k.From }),
			byText("TO", func(k *mime.Keys) string { return k.To }),
			byText("CC", func(k *mime.Keys) string { return k.Cc }),
		},
	}
}

// sortDisplay is SORT=DISPLAY: RFC 5957.
func sortDisplay() extension {
	return extension{
		name: "SORT=DISPLAY", rfc: "RFC 5957", needs: "SORT",
		sorts: []sortKey{
			byText("DISPLAYFROM", func(k *mime.Keys) string { return k.DisplayFrom }),
			byText("DISPLAYTO", func(k *mime.Keys) string { return k.DisplayTo }),
		},
	}
}

// eSort is ESORT: SORT with the result options of SEARCH, RFC 5267 §3.
func eSort() extension { return extension{name: "ESORT", rfc: "RFC 5267", needs: "SORT"} }

// sortKey is a sort criterion by its name.
type sortKey struct {
	name    string
	compare func(a, b *sorted) int
	rank    func(*sorted) uint64 // in the order of compare, as far as it goes: what is equal in it is compared. nil: it says nothing
	fuzzy   bool                 // it goes with the search key FUZZY only
}

func (k sortKey) label() string { return k.name }

func bySort(name string, compare func(a, b *sorted) int) sortKey {
	return sortKey{name: name, compare: compare}
}

func byNumber(name string, number func(*sorted) int64) sortKey {
	k := bySort(name, func(a, b *sorted) int { return cmp.Compare(number(a), number(b)) })
	k.rank = func(m *sorted) uint64 { return uint64(number(m)) ^ 1<<63 } // the negative ones come first
	return k
}

func byText(name string, text func(*mime.Keys) string) sortKey {
	k := bySort(name, func(a, b *sorted) int { return strings.Compare(text(a.keys), text(b.keys)) })
	k.rank = func(m *sorted) (r uint64) { // its first eight octets
		t := text(m.keys)
		for i := range 8 {
			if r <<= 8; i < len(t) {
				r |= uint64(t[i])
			}
		}
		return r
	}
	return k
}

// sorted is a message among those that are put in order.
type sorted struct {
	pos       int
	message   *mailbox.Message
	keys      *mime.Keys
	rank      uint64 // by the first criterion, so that few texts are looked at; 0 of all: they are
	relevancy int    // RFC 6203 §4; 0: not asked for
}

// sent is the sent date, or else the internal one: RFC 5256 §2.2.
func (m *sorted) sent() int64 {
	if m.keys.Sent == mime.NoDate {
		return m.message.Internal
	}
	return m.keys.Sent
}

type sortCommand struct {
	search  searchCommand
	by      numbering
	order   []func(a, b *sorted) int
	reverse []bool
	rank    func(*sorted) uint64 // of the first criterion
	fuzzy   bool                 // by relevancy
	found   selection            // what was found, each of its own, in order
}

func parseSort(p *parser, by numbering) (runner, error) {
	c := &sortCommand{by: by}
	c.search.program.whole = true
	c.search.by, c.search.ordered = by, true
	if !(p.SP() && p.searchReturn(&c.search) && p.List1(func() bool { return p.sortCriterion(c) }) && p.SP() && p.charset(&c.search) &&
		p.SP() && p.searchProgram(&c.search.program) && p.End()) {
		return nil, p.Err()
	}
	if c.fuzzy && !c.search.program.anyFuzzy { // RFC 6203 §6
		return nil, errNotFuzzy
	}
	return c, c.search.check()
}

// sortCriterion decodes a sort-criterion.
func (p *parser) sortCriterion(c *sortCommand) bool {
	var name string
	reverse := p.Word("REVERSE")
	if reverse && !p.SP() || !p.Label(&name) {
		return false
	}
	key, known := p.table.sorts[name]
	if !known {
		return p.Refuse(errSortKey)
	}
	if len(c.order) >= maxSortKeys {
		return p.Refuse(errTooMany)
	}
	c.fuzzy = c.fuzzy || key.fuzzy
	if c.order == nil {
		c.rank = key.rank
	}
	c.order, c.reverse = append(c.order, key.compare), append(c.reverse, reverse)
	return true
}

func (c *sortCommand) run(ctx context.Context, s *session) (reply, error) {
	return c.search.find(ctx, s, c)
}

func (c *sortCommand) arrange(ctx context.Context, v *view, found selection) error {
	messages, err := v.withKeys(ctx, found)
	if err != nil {
		return err
	}
	if c.fuzzy {
		c.search.program.setRelevancy(messages)
	}
	ranked := make([]*sorted, len(messages))
	for i := range messages {
		if ranked[i] = &messages[i]; c.rank != nil {
			messages[i].rank = c.rank(ranked[i])
		}
	}
	slices.SortFunc(ranked, c.compare)
	c.found = make(selection, len(ranked))
	for i, m := range ranked {
		c.found[i] = span{m.pos, m.pos + 1}
	}
	return nil
}

func (c *sortCommand) tagless(dialect) bool { return !c.search.extended }

func (c *sortCommand) tell(s *session, v *view) (reply, error) {
	err := c.search.save(v, c.search.saved(c.found))
	if err != nil {
		return reply{}, err
	}
	if c.tagless(s.dialect) {
		return reply{}, c.write(s.out, v)
	}
	err = s.write(func(b []byte) []byte { return c.search.appendResponse(b, s, v, c.found) })
	if err == nil {
		err = c.search.keepUpdated(s, c.found, c)
	}
	return reply{}, err
}

// compare puts two messages in order; the last criterion is always the one's place in the mailbox.
func (c *sortCommand) compare(a, b *sorted) int {
	if a.rank != b.rank {
		return cmp.Compare(a.rank, b.rank) * c.direction()
	}
	for i, compare := range c.order {
		if n := compare(a, b); n != 0 {
			if c.reverse[i] {
				return -n
			}
			return n
		}
	}
	return cmp.Compare(a.pos, b.pos)
}

// direction is that of the first criterion.
func (c *sortCommand) direction() int {
	if c.reverse[0] {
		return -1
	}
	return 1
}

// write is the response of RFC 5256 §4.
func (c *sortCommand) write(w *link.Writer, v *view) error {
	if err := w.WriteString("* SORT"); err != nil {
		return err
	}
	for _, m := range c.found {
		if err := w.Advance(v.appendNumber(append(w.Available(), ' '), m.from, c.by)); err != nil {
			return err
		}
	}
	if c.search.program.modSeqs && len(c.found) > 0 { // RFC 7162 §3.1.6
		b := wire.AppendNumber(append(w.Available(), " (MODSEQ "...), v.highest(c.search.saved(c.found)))
		if err := w.Advance(append(b, ')')); err != nil {
			return err
		}
	}
	return w.WriteString("\r\n")
}

// withKeys are the messages of a selection with their keys. One whose content is gone sorts as if it were empty.
func (v *view) withKeys(ctx context.Context, sel selection) ([]sorted, error) {
	messages := make([]sorted, 0, sel.len())
	for k, err := range v.facts(ctx, mailbox.WantKeys, sel) {
		if err != nil {
			return nil, err
		}
		m := sorted{pos: k.pos, message: k.message}
		switch {
		case k.Facts == nil:
			m.keys = &mime.Keys{Sent: mime.NoDate}
		case k.Keys != nil:
			m.keys = k.Keys
		default:
			if m.keys, err = v.keysOf(ctx, k.Blob); err != nil {
				return nil, err
			}
		}
		messages = append(messages, m)
	}
	return messages, nil
}

// keysOf are the keys of a message that are not stored.
func (v *view) keysOf(ctx context.Context, blob mailbox.BlobID) (*mime.Keys, error) {
	content, err := v.account.Open(ctx, blob)
	if errors.Is(err, mailbox.ErrNoBlob) {
		return &mime.Keys{Sent: mime.NoDate}, nil
	}
	if err != nil {
		return nil, err
	}
	defer content.Close() //nolint:errcheck // it was only read
	header := make([]byte, min(content.Size(), mime.MaxHeader))
	if _, err := content.ReadAt(header, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	keys := mime.KeysOf(header)
	return &keys, nil
}
