// Package mailboxtest is what every mailbox.Store must do, as tests: each implementation runs them with Run.
//
// It knows no implementation. Random compares random histories with a small model. What a crash of the process leaves is tested
// beside each implementation.
package mailboxtest

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"posthouse/mail"
	"posthouse/mailbox"
)

// Opener opens the store of a directory, again after Close.
type Opener func(t testing.TB, dir string) mailbox.Store

// Run runs the whole suite.
func Run(t *testing.T, open Opener) {
	for _, c := range []step{
		{"NewAccount", newAccount},
		{"Names", names},
		{"Create", create},
		{"Rename", rename},
		{"RenameInbox", renameInbox},
		{"Delete", deleteBoxes},
		{"SpecialUses", specialUses},
		{"Subscriptions", subscriptions},
		{"UIDValidityAscends", uidValidityAscends},
		{"Add", add},
		{"Keys", keys},
		{"FiledAs", filedAs},
		{"Annotations", annotations},
		{"UIDLs", uidls},
		{"Within", within},
		{"Flags", flags},
		{"UnchangedSince", unchangedSince},
		{"Keywords", keywords},
		{"Copy", copyMessages},
		{"Move", moveMessages},
		{"Expunge", expunge},
		{"AllOrNothing", allOrNothing},
		{"Vanished", vanished},
		{"VanishedIsBounded", vanishedIsBounded},
		{"Contents", contents},
		{"LineEnds", lineEnds},
		{"ContentIsShared", contentIsShared},
		{"ContentOutlivesItsMessages", contentOutlivesItsMessages},
		{"OpenWhileDeleted", openWhileDeleted},
		{"Discard", discard},
		{"StageFails", stageFails},
		{"Facts", facts},
		{"FactsInAnyOrder", factsInAnyOrder},
		{"Suspects", suspects},
		{"Fuzzy", fuzzy},
		{"SnapshotsStay", snapshotsStay},
		{"SnapshotsShareSlabs", snapshotsShareSlabs},
		{"Watch", watch},
		{"NumbersSurviveRestarts", numbersSurviveRestarts},
		{"Accounts", accounts},
		{"Closed", closed},
		{"ManyWriters", manyWriters},
		{"Rights", rights},
		{"RightsAreBounded", rightsAreBounded},
		{"ReadersAreBounded", readersAreBounded},
		{"RightsInherit", rightsInherit},
		{"SeenByOthers", seenByOthers},
		{"SeenIsCarried", seenIsCarried},
		{"SeenSharesSlabs", seenSharesSlabs},
		{"PrivateAnnotations", privateAnnotations},
		{"Removed", removed},
		{"Random", random},
	} {
		c.test(t, open)
	}
}

// step is one test of a suite.
type step struct {
	name string
	run  func(*house)
}

func (c step) test(t *testing.T, open Opener) {
	t.Run(c.name, func(t *testing.T) {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			h := &house{T: t, dir: dir, opener: open}
			h.begin()
			c.run(h)
			h.end()
		})
	})
}

// house is a store under test, with one account open. Time is that of testing/synctest.
type house struct {
	*testing.T
	mailbox.Account
	store  mailbox.Store
	dir    string
	opener Opener
}

func (h *house) begin() {
	h.store = h.opener(h.T, h.dir)
	h.Account = h.account("alice")
}

func (h *house) end() {
	h.check(h.Account.Close())
	h.check(h.store.Close())
}

// reopen restarts the store.
func (h *house) reopen() {
	h.Helper()
	h.end()
	h.begin()
}

func (h *house) account(id mail.AccountID) mailbox.Account {
	h.Helper()
	a, err := h.store.Account(h.Context(), id)
	h.check(err)
	return a
}

// as is alice's account as a user has it; the empty one is alice.
func (h *house) as(user mail.AccountID) mailbox.Account {
	h.Helper()
	a, err := h.store.AccountAs(h.Context(), "alice", user)
	h.check(err)
	return a
}

func (h *house) check(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// wants checks for an error.
func (h *house) wants(err, want error) {
	h.Helper()
	if !errors.Is(err, want) {
		h.Fatalf("%v, want %v", err, want)
	}
}

// do applies mutations.
func (h *house) do(changes ...mailbox.Mutation) []mailbox.Result {
	h.Helper()
	applied, err := h.Apply(h.Context(), changes...)
	h.check(err)
	if len(applied.Results) != len(changes) {
		h.Fatalf("%d results of %d mutations", len(applied.Results), len(changes))
	}
	return applied.Results
}

// refuse expects an error.
func (h *house) refuse(want error, changes ...mailbox.Mutation) {
	h.Helper()
	if _, err := h.Apply(h.Context(), changes...); !errors.Is(err, want) {
		h.Fatalf("%+v: %v, want %v", changes, err, want)
	}
}

// box is the box of that name.
func (h *house) box(name string) mailbox.Box {
	h.Helper()
	b, err := h.Box(h.Context(), name)
	h.check(err)
	return b
}

// sameBox tells whether two states of a box are the same.
func sameBox(a, b mailbox.Box) bool { return reflect.DeepEqual(a, b) }

func (h *house) makeBox(name string) mailbox.Box {
	h.Helper()
	return h.do(mailbox.CreateBox{Name: name})[0].Box
}

// boxNames are the names of all boxes, in order; those of levels only in parentheses.
func (h *house) boxNames() string {
	h.Helper()
	boxes, err := h.Boxes(h.Context())
	h.check(err)
	var names []string
	for _, b := range boxes {
		if b.NoSelect {
			b.Name = "(" + b.Name + ")"
		}
		names = append(names, b.Name)
	}
	return strings.Join(names, " ")
}

func (h *house) stage(text string) mailbox.BlobID {
	h.Helper()
	id, err := h.Stage(h.Context(), strings.NewReader(text))
	h.check(err)
	return id
}

// file adds a message.
func (h *house) file(box mailbox.BoxID, text string, marks ...string) mailbox.UID {
	h.Helper()
	r := h.do(mailbox.Add{Box: box, Blob: h.stage(text), Marks: makeMarks(marks...)})[0]
	if len(r.UIDs) != 1 || r.UIDs.Len() != 1 || r.Duplicate {
		h.Fatalf("%+v", r)
	}
	return r.UIDs[0].First
}

// fill adds n messages.
func (h *house) fill(box mailbox.BoxID, n int) {
	h.Helper()
	changes := make([]mailbox.Mutation, n)
	for i := range changes {
		changes[i] = mailbox.Add{Box: box, Blob: h.stage(letter)}
	}
	h.do(changes...)
}

const letter = "From: a@north.test\r\nSubject: a letter\r\n\r\nHello.\r\n"

func (h *house) look(box mailbox.BoxID) *mailbox.Snapshot {
	h.Helper()
	s, err := h.Snapshot(h.Context(), box)
	h.check(err)
	return s
}

// read is a content, whole.
func (h *house) read(id mailbox.BlobID) string {
	h.Helper()
	c, err := h.Open(h.Context(), id)
	h.check(err)
	defer c.Close()
	b, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
	h.check(err)
	return string(b)
}

// systemFlags are the flags of RFC 9051 §2.3.2 by name.
var systemFlags = map[string]mailbox.Flags{
	`\Answered`: mailbox.Answered, `\Flagged`: mailbox.Flagged, `\Deleted`: mailbox.Deleted, `\Seen`: mailbox.Seen, `\Draft`: mailbox.Draft,
}

func makeMarks(names ...string) (m mailbox.Marks) {
	for _, name := range names {
		if f := systemFlags[name]; f != 0 {
			m.System |= f
		} else {
			m.Keywords = append(m.Keywords, name)
		}
	}
	return m
}

// flagNames are a message's flags by name, in order.
func flagNames(s *mailbox.Snapshot, m *mailbox.Message) []string {
	var names []string
	for name, f := range systemFlags {
		if m.Flags&f != 0 {
			names = append(names, name)
		}
	}
	for i, name := range s.Keywords {
		if m.Flags&(1<<(mailbox.FirstKeyword+i)) != 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// listing is the box's messages as text: UIDs with their flags.
func listing(s *mailbox.Snapshot) string {
	var b strings.Builder
	for i, m := range s.All() {
		if i > 0 {
			b.WriteString(" ")
		}
		fmt.Fprint(&b, m.UID)
		if names := flagNames(s, m); names != nil {
			b.WriteString("(" + strings.Join(names, " ") + ")")
		}
	}
	return b.String()
}

// shows expects a box's listing.
func (h *house) shows(box mailbox.BoxID, want string) {
	h.Helper()
	s := h.look(box)
	if got := listing(s); got != want {
		h.Errorf("box %d: %s; want %s", box, got, want)
	}
	h.balance(s)
}

// balance compares a box's numbers with its messages.
func (h *house) balance(s *mailbox.Snapshot) {
	h.Helper()
	var want mailbox.Box
	last := mailbox.UID(0)
	for i, m := range s.All() {
		if m.UID <= last || m.UID >= s.Box.UIDNext || m.ModSeq > s.Box.ModSeq {
			h.Errorf("%+v in %+v after UID %d", *m, s.Box, last)
		}
		if at, found := s.Find(m.UID); !found || at != i || s.At(i) != m {
			h.Errorf("UID %d: found %v at %d, is at %d", m.UID, found, at, i)
		}
		last = m.UID
		want.Messages++
		want.Size += m.Size
		if m.Flags&mailbox.Seen == 0 {
			want.Unseen++
		}
		if m.Flags&mailbox.Deleted != 0 {
			want.Deleted++
		}
	}
	b := s.Box
	if b.Messages != want.Messages || b.Size != want.Size || b.Unseen != want.Unseen || b.Deleted != want.Deleted || s.Len() != int(b.Messages) {
		h.Errorf("%+v; the messages say %+v", b, want)
	}
}
