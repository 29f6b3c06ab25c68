package imapd

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"posthouse/imapd/wire"
	"posthouse/internal/link"
	"posthouse/mailbox"
)

// storeModel is a box as other sessions change it. Its snapshots share the slabs in which nothing changed.
type storeModel struct {
	rand     *rand.Rand
	messages []mailbox.Message
	keywords []string
	uidNext  mailbox.UID
	modSeq   mailbox.ModSeq
	slabs    []*mailbox.Slab
}

func (m *storeModel) snapshot() *mailbox.Snapshot {
	var slabs []*mailbox.Slab
	old := m.slabs
	for rest := m.messages; len(rest) > 0; {
		n := min(1+m.rand.IntN(7), len(rest))
		for len(old) > 0 && old[0].Messages[0].UID < rest[0].UID {
			old = old[1:]
		}
		// As a rule the slab that was there stays.
		if len(old) > 0 && len(old[0].Messages) <= len(rest) && slices.Equal(old[0].Messages, rest[:len(old[0].Messages)]) && m.rand.IntN(10) > 0 {
			slabs = append(slabs, old[0])
			rest = rest[len(old[0].Messages):]
			continue
		}
		slabs = append(slabs, &mailbox.Slab{Messages: slices.Clone(rest[:n])})
		rest = rest[n:]
	}
	m.slabs = slabs
	return mailbox.NewSnapshot(mailbox.Box{ID: 1}, slices.Clone(m.keywords), slabs)
}

// change does something that another session may do.
func (m *storeModel) change() {
	m.modSeq++
	switch n := len(m.messages); m.rand.IntN(4) {
	case 0, 1:
		for range 1 + m.rand.IntN(5) {
			m.messages = append(m.messages, mailbox.Message{UID: m.uidNext, Blob: mailbox.BlobID(m.uidNext), ModSeq: m.modSeq})
			m.uidNext += mailbox.UID(1 + m.rand.IntN(3))
		}
	case 2:
		m.messages = slices.DeleteFunc(m.messages, func(mailbox.Message) bool { return m.rand.IntN(4) == 0 })
	case 3:
		if m.rand.IntN(5) == 0 && len(m.keywords) < 10 {
			m.keywords = append(m.keywords, fmt.Sprintf("key%d", len(m.keywords)))
		}
		for range min(n, 3) {
			i := m.rand.IntN(n)
			m.messages[i].Flags, m.messages[i].ModSeq = mailbox.Flags(m.rand.IntN(1<<(5+len(m.keywords)))), m.modSeq
		}
	}
}

// setFlags does what a command of the client's own did.
func (m *storeModel) setFlags(c *flagChange) {
	m.modSeq++
	for i := range m.messages {
		if after := c.after(m.messages[i].Flags, m.keywords); c.uids.Contains(m.messages[i].UID) && after != m.messages[i].Flags {
			m.messages[i].Flags, m.messages[i].ModSeq = after, m.modSeq
		}
	}
}

// clientModel is what a client makes of what it is told.
type clientModel struct {
	t        *testing.T
	messages []clientMessage
	keywords []string
}

type clientMessage struct {
	uid   mailbox.UID // 0: not known
	flags string      // as told last; empty: not known
}

// hear takes responses; EXPUNGE must be allowed for one to come.
func (c *clientModel) hear(responses string, expunge bool) {
	c.t.Helper()
	for line := range strings.Lines(responses) {
		var n int
		var uid mailbox.UID
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "*" {
			c.t.Fatalf("response %q", line)
		}
		if words[1] == "FLAGS" {
			c.keywords = words[2:]
			continue
		}
		if words[1] == "OK" {
			continue
		}
		n, err := strconv.Atoi(words[1])
		if err != nil {
			c.t.Fatal(line, err)
		}
		switch words[2] {
		case "EXPUNGE":
			if !expunge || n < 1 || n > len(c.messages) {
				c.t.Fatalf("%q with %d messages, allowed: %t", line, len(c.messages), expunge)
			}
			c.messages = slices.Delete(c.messages, n-1, n)
		case "EXISTS":
			if n <= len(c.messages) {
				c.t.Fatalf("%q with %d messages", line, len(c.messages))
			}
			c.messages = append(c.messages, make([]clientMessage, n-len(c.messages))...)
		case "FETCH":
			if _, err := fmt.Sscanf(line, "* %d FETCH (UID %d FLAGS ", &n, &uid); err != nil || n > len(c.messages) {
				c.t.Fatalf("%q with %d messages, %v", line, len(c.messages), err)
			}
			m := &c.messages[n-1]
			if m.uid != 0 && m.uid != uid {
				c.t.Fatalf("%q, and the client knew it as UID %d", line, m.uid)
			}
			*m = clientMessage{uid, line[strings.Index(line, "FLAGS ")+6 : strings.LastIndexByte(line, ')')]}
		default:
			c.t.Fatalf("response %q", line)
		}
	}
}

// compare checks that the view's numbers are the client's, and learns what the client would by FETCH.
func (c *clientModel) compare(v *view) {
	c.t.Helper()
	if len(c.messages) != v.told.Len() {
		c.t.Fatalf("the client knows %d messages, the view %d", len(c.messages), v.told.Len())
	}
	for i := range c.messages {
		m := v.told.At(i)
		flags := string(appendFlags(nil, m.Flags, v.told.Keywords))
		if c.messages[i].uid != 0 && c.messages[i].uid != m.UID {
			c.t.Fatalf("message %d is UID %d to the client and %d to the view", i+1, c.messages[i].uid, m.UID)
		}
		if c.messages[i].flags != "" && c.messages[i].flags != flags {
			c.t.Fatalf("message %d (UID %d) has %s to the client and %s to the view", i+1, m.UID, c.messages[i].flags, flags)
		}
		c.messages[i] = clientMessage{m.UID, flags}
	}
}

// Whatever other sessions do, and whenever the client may be told, its sequence numbers are the view's, and when all may be told the
// client knows what the store has.
func TestViewAgainstModel(t *testing.T) {
	seeds := uint64(300)
	if testing.Short() {
		seeds = 60
	}
	for seed := range seeds {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			store := &storeModel{rand: r, uidNext: 1}
			store.change()
			v := newView(&place{rights: mailbox.AllRights}, store.snapshot(), &awareness{})
			client := &clientModel{t: t, messages: make([]clientMessage, v.told.Len())}
			for range 60 {
				client.compare(v)
				for range r.IntN(3) {
					store.change()
				}
				told := telling{expunge: r.IntN(3) == 0}
				own(r, store, v, client, &told)
				var out bytes.Buffer
				w := link.NewWriter(&out)
				now := store.snapshot()
				if err := v.sync(w, now, told); err != nil {
					t.Fatal(err)
				}
				w.Flush() //nolint:errcheck // into memory
				client.hear(out.String(), told.expunge)
				client.compare(v)
				if told.expunge && v.told != now {
					t.Fatal("the client was not told all it could be")
				}
				if lost := vanished(now, v.told); len(lost) > 0 {
					t.Fatalf("the view lacks messages at %v", lost)
				}
			}
		})
	}
}

// own lets the client set flags as well, with .SILENT or without.
func own(r *rand.Rand, store *storeModel, v *view, client *clientModel, told *telling) {
	n := v.told.Len()
	if n == 0 || r.IntN(3) > 0 {
		return
	}
	sel, err := v.resolve(wire.Set{Ranges: []wire.Range{{First: 1 + uint32(r.IntN(n)), Last: wire.Star}}}, bySequence)
	if err != nil {
		client.t.Fatal(err)
	}
	c := &flagChange{uids: v.uids(sel), op: mailbox.FlagOp(r.IntN(3)), marks: mailbox.Marks{System: mailbox.Flags(r.IntN(32))}}
	store.setFlags(c)
	if r.IntN(2) == 0 {
		told.echo = c.uids
		return
	}
	told.silent = c
	for pos, m := range v.each(sel) { // The client reckons what it did, unless the message is gone.
		if slices.ContainsFunc(store.messages, func(s mailbox.Message) bool { return s.UID == m.UID }) {
			client.messages[pos].flags = string(appendFlags(nil, c.after(m.Flags, v.told.Keywords), v.told.Keywords))
		}
	}
}

// resolve finds what a look at each message would.
func TestResolveAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		store := &storeModel{rand: r, uidNext: 1}
		for range r.IntN(6) {
			store.change()
		}
		v := newView(&place{rights: mailbox.AllRights}, store.snapshot(), &awareness{})
		n := uint32(v.told.Len())
		var set wire.Set
		for range 1 + r.IntN(4) {
			a, b := uint32(r.IntN(25)), uint32(r.IntN(25))
			if b != wire.Star && a > b || a == wire.Star {
				a, b = b, a
			}
			set.Ranges = append(set.Ranges, wire.Range{First: a, Last: b})
		}
		for _, by := range []numbering{bySequence, byUID} {
			greatest, numbers := n, []uint32{}
			for i := range v.told.Len() {
				number := uint32(i + 1)
				if by == byUID {
					number = uint32(v.told.At(i).UID)
					greatest = number
				}
				numbers = append(numbers, number)
			}
			want, beyond := naive(set, numbers, greatest)
			sel, err := v.resolve(set, by)
			if by == bySequence && (beyond || n == 0) {
				if err == nil {
					t.Fatalf("%v of %d messages: %v", set, n, sel)
				}
				continue
			}
			got := []uint32{}
			for pos := range v.each(sel) {
				got = append(got, numbers[pos])
			}
			if err != nil || !slices.Equal(got, want) || sel.len() != len(want) {
				t.Fatalf("%v of %v: %v, %v; want %v", set, numbers, got, err, want)
			}
			for pos := range v.told.Len() {
				if sel.has(pos) != slices.Contains(want, numbers[pos]) {
					t.Fatalf("%v has %d: %t", sel, pos, sel.has(pos))
				}
			}
		}
	}
}

// naive are the members of numbers in the set, and whether it names one beyond the greatest.
func naive(set wire.Set, numbers []uint32, greatest uint32) (members []uint32, beyond bool) {
	members = []uint32{}
	for _, number := range numbers {
		in := false
		for _, r := range set.Ranges {
			first, last := r.First, r.Last
			if first == wire.Star {
				first = greatest
			}
			if last == wire.Star {
				last = greatest
			}
			in = in || min(first, last) <= number && number <= max(first, last)
		}
		if in {
			members = append(members, number)
		}
	}
	for _, r := range set.Ranges {
		beyond = beyond || r.First > greatest || r.Last > greatest
	}
	return members, beyond
}

func TestKeepMessagesThatAreGone(t *testing.T) {
	slab := func(uids ...mailbox.UID) *mailbox.Slab {
		s := &mailbox.Slab{}
		for _, uid := range uids {
			s.Messages = append(s.Messages, mailbox.Message{UID: uid})
		}
		return s
	}
	shared := slab(20, 21)
	old := mailbox.NewSnapshot(mailbox.Box{}, nil, []*mailbox.Slab{slab(1, 2), slab(10, 11, 12), shared, slab(30)})
	now := mailbox.NewSnapshot(mailbox.Box{}, nil, []*mailbox.Slab{slab(11), shared, slab(40)})
	next := keep(old, now, vanished(old, now))
	var uids []mailbox.UID
	for _, m := range next.All() {
		uids = append(uids, m.UID)
	}
	if want := []mailbox.UID{1, 2, 10, 11, 12, 20, 21, 30, 40}; !slices.Equal(uids, want) {
		t.Errorf("%v, want %v", uids, want)
	}
	if next.Slabs[0] == now.Slabs[0] {
		t.Error("a slab of the store was changed")
	}
	empty := mailbox.NewSnapshot(mailbox.Box{}, nil, nil)
	if next := keep(old, empty, vanished(old, empty)); next.Len() != old.Len() {
		t.Errorf("%d of %d messages kept", next.Len(), old.Len())
	}
}

func TestAppendSet(t *testing.T) {
	store := &storeModel{rand: rand.New(rand.NewPCG(3, 3)), uidNext: 7}
	for len(store.messages) < 12 {
		store.change()
	}
	for i := range store.messages {
		store.messages[i].UID = mailbox.UID(2 * (i + 1))
	}
	v := newView(&place{rights: mailbox.AllRights}, store.snapshot(), &awareness{})
	sel := selection{{0, 3}, {4, 5}, {6, 8}}
	if got := string(v.appendSet(nil, sel, bySequence)); got != "1:3,5,7:8" {
		t.Error(got)
	}
	if got := string(v.appendSet(nil, sel, byUID)); got != "2,4,6,10,14,16" {
		t.Error(got)
	}
}
