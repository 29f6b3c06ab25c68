package mailboxtest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"posthouse/mailbox"
)

// Keep is how long the stores of RunKeeping keep expunged messages.
const Keep = 48 * time.Hour

// RunKeeping runs the suite about expunged messages, with stores that keep them for Keep.
func RunKeeping(t *testing.T, open Opener) {
	for _, c := range []step{
		{"Restore", restore},
		{"RestoreElsewhere", restoreElsewhere},
		{"RestoreDeletedBox", restoreDeletedBox},
		{"KeptForSoLong", keptForSoLong},
		{"Purge", purge},
	} {
		c.test(t, open)
	}
}

// kept lists what is kept: "box: UIDs" of each change.
func (h *house) kept() (list []mailbox.Expunged, text string) {
	h.Helper()
	var lines []string
	for e, err := range h.Expunged(h.Context()) {
		h.check(err)
		var uids mailbox.UIDSet
		for i := range e.Messages {
			uids = uids.Append(e.Messages[i].UID)
		}
		list = append(list, e)
		lines = append(lines, fmt.Sprintf("%s: %s", e.Box, uids))
	}
	return list, strings.Join(lines, "; ")
}

// keeps compares what is kept.
func (h *house) keeps(want string) []mailbox.Expunged {
	h.Helper()
	list, got := h.kept()
	if got != want {
		h.Errorf("kept %q, want %q", got, want)
	}
	return list
}

func (h *house) expunge(box mailbox.BoxID, uids mailbox.UIDSet) {
	h.Helper()
	h.do(mailbox.SetFlags{Box: box, UIDs: uids, Marks: makeMarks(`\Deleted`)}, mailbox.Expunge{Box: box, UIDs: uids})
}

func uids(first, last mailbox.UID) mailbox.UIDSet { return mailbox.UIDSet{{First: first, Last: last}} }

func restore(h *house) {
	inbox := h.box("INBOX").ID
	first := h.file(inbox, letter, `\Seen`, "$Label1")
	h.file(inbox, letter)
	h.fill(inbox, 2500)
	before := *h.look(inbox).At(0)
	h.expunge(inbox, uids(1, 2))
	h.expunge(inbox, uids(10, 2400)) // more than a row
	h.keeps("INBOX: 1:2; INBOX: 10:1009; INBOX: 1010:2009; INBOX: 2010:2400")
	if u, err := h.Usage(h.Context()); err != nil || u.Messages != 2502-2-2391 {
		h.Errorf("usage %+v, %v", u, err)
	}
	h.reopen()
	list := h.keeps("INBOX: 1:2; INBOX: 10:1009; INBOX: 1010:2009; INBOX: 2010:2400")

	r := h.do(mailbox.Restore{ID: list[0].ID, UIDs: uids(1, 1)})[0]
	if r.Source.String() != "1" || r.UIDs.String() != "2503" || r.Box.ID != inbox || r.UIDValidity != h.box("INBOX").UIDValidity {
		h.Errorf("%+v", r)
	}
	s := h.look(inbox)
	h.balance(s)
	after := s.At(s.Len() - 1)
	if after.Blob != before.Blob || after.Internal != before.Internal || strings.Join(flagNames(s, after), " ") != `$Label1 \Seen` {
		h.Errorf("%+v with %v; it was %+v", after, flagNames(s, after), before)
	}
	if h.read(after.Blob) != letter || first != 1 {
		h.Error("the content is another")
	}
	h.keeps("INBOX: 2; INBOX: 10:1009; INBOX: 1010:2009; INBOX: 2010:2400")
	if r := h.do(mailbox.Restore{ID: list[0].ID, UIDs: uids(1, 1)})[0]; r.Source != nil || r.UIDs != nil {
		h.Errorf("twice: %+v", r)
	}
	for _, e := range list {
		h.do(mailbox.Restore{ID: e.ID, UIDs: mailbox.AllUIDs()})
	}
	h.keeps("")
	if n := h.look(inbox).Len(); n != 2502 {
		h.Errorf("%d messages", n)
	}
	h.refuse(mailbox.ErrOverQuota, append(h.expungedAgain(inbox), mailbox.Within{Messages: 2000})...)
}

// expungedAgain expunges the last message and is what would bring it back.
func (h *house) expungedAgain(box mailbox.BoxID) []mailbox.Mutation {
	h.Helper()
	h.expunge(box, uids(2503, 2503))
	list, _ := h.kept()
	return []mailbox.Mutation{mailbox.Restore{ID: list[0].ID, UIDs: mailbox.AllUIDs()}}
}

func restoreElsewhere(h *house) {
	work := h.makeBox("Work").ID
	h.file(work, letter, "one", "two")
	h.expunge(work, uids(1, 1))
	list := h.keeps("Work: 1")
	h.refuse(mailbox.ErrBoxName, mailbox.Restore{ID: list[0].ID, UIDs: mailbox.AllUIDs(), Into: "/"})
	r := h.do(mailbox.Restore{ID: list[0].ID, UIDs: mailbox.AllUIDs(), Into: "Found/again"})[0]
	if r.Box.Name != "Found/again" || r.Box.Messages != 1 {
		h.Errorf("%+v", r.Box)
	}
	h.shows(r.Box.ID, "1(one two)")
	h.shows(work, "")
}

// restoreDeletedBox brings back what went with a box; one that was renamed is still the same box.
func restoreDeletedBox(h *house) {
	work := h.makeBox("Work").ID
	h.fill(work, 3)
	h.expunge(work, uids(1, 1))
	h.do(mailbox.RenameBox{From: "Work", To: "Play"})
	list := h.keeps("Work: 1")
	if r := h.do(mailbox.Restore{ID: list[0].ID, UIDs: mailbox.AllUIDs()})[0]; r.Box.Name != "Play" {
		h.Errorf("in %s", r.Box.Name)
	}
	h.do(mailbox.DeleteBox{Name: "Play"})
	list = h.keeps("Play: 2:4")
	if r := h.do(mailbox.Restore{ID: list[0].ID, UIDs: uids(2, 3)})[0]; r.Box.Name != "Play" || r.Box.ID == work || r.UIDs.String() != "1:2" {
		h.Errorf("%+v", r)
	}
}

func keptForSoLong(h *house) {
	inbox := h.box("INBOX").ID
	h.fill(inbox, 2)
	blob := h.look(inbox).At(0).Blob
	h.expunge(inbox, uids(1, 1))
	time.Sleep(Keep - time.Hour)
	h.expunge(inbox, uids(2, 2))
	h.keeps("INBOX: 1; INBOX: 2")
	time.Sleep(time.Hour + time.Minute)
	h.keeps("INBOX: 2")
	h.gone(blob)
	h.end()
	time.Sleep(Keep)
	h.begin()
	time.Sleep(time.Second) // it is looked at when the account is opened
	h.keeps("")
}

// gone checks that a content cannot be opened.
func (h *house) gone(blob mailbox.BlobID) {
	h.Helper()
	if c, err := h.Open(h.Context(), blob); !errors.Is(err, mailbox.ErrNoBlob) {
		h.Errorf("%v, %v", c, err)
	}
}

func purge(h *house) {
	inbox := h.box("INBOX").ID
	h.fill(inbox, 3)
	blob := h.look(inbox).At(0).Blob
	h.do(mailbox.Copy{From: inbox, UIDs: uids(2, 2), To: h.box("Trash").ID})
	h.expunge(inbox, mailbox.AllUIDs())
	h.do(mailbox.Purge{})
	h.keeps("")
	time.Sleep(time.Second)
	h.gone(blob)
	trash := h.look(h.box("Trash").ID)
	if h.read(trash.At(0).Blob) == "" {
		h.Error("the copy is empty")
	}
}
