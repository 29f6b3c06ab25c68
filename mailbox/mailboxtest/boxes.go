package mailboxtest

import (
	"fmt"
	"strings"
	"time"

	"posthouse/mailbox"
)

func newAccount(h *house) {
	if got, want := h.boxNames(), "INBOX Archive Drafts Junk Sent Trash"; got != want {
		h.Errorf("%s; want %s", got, want)
	}
	boxes, err := h.Boxes(h.Context())
	h.check(err)
	for _, b := range boxes {
		if !b.Subscribed || b.UIDNext != 1 || b.UIDValidity == 0 || b.ModSeq == 0 || b.Name != mailbox.Inbox && string(b.Special) != b.Name {
			h.Errorf("%+v", b)
		}
		if s := h.look(b.ID); s.Len() != 0 || !sameBox(s.Box, b) {
			h.Errorf("%+v; want %+v", s.Box, b)
		}
	}
}

func names(h *house) {
	deep := strings.Repeat("d/", mailbox.MaxBoxDepth-1)
	for given, want := range map[string]string{
		"inbox": "INBOX", "InBoX/": "INBOX", "inbox/Sub": "INBOX/Sub", "inboxes": "inboxes", "a/inbox": "a/inbox",
		"cafe\u0301": "caf\u00e9", "trailing/": "trailing", " x ": " x ", "日本": "日本", "..": "..", "a/../b": "a/../b",
		deep + "d": deep + "d", strings.Repeat("n", mailbox.MaxBoxName): strings.Repeat("n", mailbox.MaxBoxName),
	} {
		if got, err := mailbox.CanonicalName(given); err != nil || got != want {
			h.Errorf("%q: %q, %v; want %q", given, got, err, want)
		}
		if want != mailbox.Inbox {
			if got := h.makeBox(given); got.Name != want {
				h.Errorf("%q was made as %q", given, got.Name)
			}
		}
		if got := h.box(given); got.Name != want {
			h.Errorf("%q is %q", given, got.Name)
		}
	}
	for _, bad := range []string{
		"", "/", "//", "/a", "a//b", "a//", "a\x00b", "a\r\nb", "a\x7f", "\xff", "a\u2028b", "a\u0085", deep + "d/d",
		strings.Repeat("n", mailbox.MaxBoxName+1), strings.Repeat("\u0958", mailbox.MaxBoxName/3), // which NFC makes longer
	} {
		_, err := h.Box(h.Context(), bad)
		h.wants(err, mailbox.ErrBoxName)
		h.refuse(mailbox.ErrBoxName, mailbox.CreateBox{Name: bad})
		h.refuse(mailbox.ErrBoxName, mailbox.DeleteBox{Name: bad})
		h.refuse(mailbox.ErrBoxName, mailbox.RenameBox{From: "Sent", To: bad})
		h.refuse(mailbox.ErrBoxName, mailbox.RenameBox{From: bad, To: "new"})
		h.refuse(mailbox.ErrBoxName, mailbox.Subscribe{Name: bad})
		h.refuse(mailbox.ErrBoxName, mailbox.Unsubscribe{Name: bad})
	}
	_, err := h.Box(h.Context(), "none")
	h.wants(err, mailbox.ErrNoBox)
}

func create(h *house) {
	made := h.makeBox("a/b/c")
	if made.Name != "a/b/c" || made.UIDNext != 1 || made.Messages != 0 {
		h.Errorf("%+v", made)
	}
	if got, want := h.boxNames(), "INBOX Archive Drafts Junk Sent Trash a a/b a/b/c"; got != want {
		h.Errorf("%s; want %s", got, want)
	}
	for _, name := range []string{"a", "a/b/c", "a/b/", "inbox", "Sent"} {
		h.refuse(mailbox.ErrBoxExists, mailbox.CreateBox{Name: name})
	}
	if upper := h.makeBox("A"); upper.ID == h.box("a").ID {
		h.Error("names differ by case, but for Inbox")
	}
	h.reopen()
	if got := h.box("a/b/c"); !sameBox(got, made) {
		h.Errorf("%+v after a restart; was %+v", got, made)
	}
}

func rename(h *house) {
	h.makeBox("a/b/c")
	h.makeBox("ab")
	before := h.box("a/b")
	h.file(before.ID, letter)
	h.do(mailbox.RenameBox{From: "a", To: "x/y"})
	want := "INBOX Archive Drafts Junk Sent Trash ab x x/y x/y/b x/y/b/c"
	if got := h.boxNames(); got != want {
		h.Errorf("%s; want %s", got, want)
	}
	after := h.box("x/y/b")
	if after.ID != before.ID || after.UIDValidity != before.UIDValidity || after.UIDNext != 2 || after.Messages != 1 {
		h.Errorf("%+v; was %+v", after, before)
	}
	h.shows(after.ID, "1")
	for _, c := range []struct {
		from, to string
		want     error
	}{
		{"none", "new", mailbox.ErrNoBox},
		{"x", "ab", mailbox.ErrBoxExists},
		{"x", "x", mailbox.ErrBoxExists},
		{"x", "x/y/z", mailbox.ErrBoxName}, // below itself
		{"ab", "inbox", mailbox.ErrInbox},
		{"x", strings.Repeat("n", mailbox.MaxBoxName-3), mailbox.ErrBoxName}, // too long for what is below
	} {
		h.refuse(c.want, mailbox.RenameBox{From: c.from, To: c.to})
	}
	h.reopen()
	if got := h.boxNames(); got != want {
		h.Errorf("%s after a restart; want %s", got, want)
	}
	h.do(mailbox.RenameBox{From: "ab", To: "swap"}, mailbox.RenameBox{From: "x", To: "ab"}, mailbox.RenameBox{From: "swap", To: "x"})
	h.reopen()
	if got, want := h.boxNames(), "INBOX Archive Drafts Junk Sent Trash ab ab/y ab/y/b ab/y/b/c x"; got != want {
		h.Errorf("%s after a swap; want %s", got, want)
	}
	if h.box("ab/y/b").ID != before.ID {
		h.Error("the swap lost a box")
	}
}

func renameInbox(h *house) {
	inbox := h.box("INBOX")
	h.makeBox("INBOX/sub")
	h.file(inbox.ID, letter, `\Seen`, "$Work")
	h.file(inbox.ID, letter)
	h.do(mailbox.RenameBox{From: "inbox", To: "old/mail"})
	h.shows(inbox.ID, "")
	h.shows(h.box("old/mail").ID, "1($Work \\Seen) 2")
	if got := h.box("INBOX"); got.ID != inbox.ID || got.UIDNext != 3 || got.UIDValidity != inbox.UIDValidity {
		h.Errorf("%+v; was %+v", got, inbox)
	}
	if got, want := h.boxNames(), "INBOX Archive Drafts INBOX/sub Junk Sent Trash old old/mail"; got != want {
		h.Errorf("%s; want %s", got, want)
	}
}

func deleteBoxes(h *house) {
	h.makeBox("a/b/c")
	was := h.box("a/b")
	h.file(was.ID, letter)
	h.do(mailbox.DeleteBox{Name: "a/b"})
	if got, want := h.boxNames(), "INBOX Archive Drafts Junk Sent Trash a (a/b) a/b/c"; got != want {
		h.Errorf("%s; want %s", got, want)
	}
	level := h.box("a/b")
	if level.ID == was.ID || level.Messages != 0 {
		h.Errorf("%+v", level)
	}
	for _, id := range []mailbox.BoxID{was.ID, level.ID, 1 << 30} {
		_, err := h.Snapshot(h.Context(), id)
		h.wants(err, mailbox.ErrNoBox)
		h.refuse(mailbox.ErrNoBox, mailbox.Add{Box: id, Blob: h.stage(letter)})
		h.refuse(mailbox.ErrNoBox, mailbox.Copy{From: 1, UIDs: mailbox.AllUIDs(), To: id})
		h.refuse(mailbox.ErrNoBox, mailbox.Move{From: id, UIDs: mailbox.AllUIDs(), To: 1})
		h.refuse(mailbox.ErrNoBox, mailbox.SetFlags{Box: id, UIDs: mailbox.AllUIDs()})
		h.refuse(mailbox.ErrNoBox, mailbox.Expunge{Box: id, UIDs: mailbox.AllUIDs()})
	}
	h.refuse(mailbox.ErrHasChildren, mailbox.DeleteBox{Name: "a/b"})
	h.refuse(mailbox.ErrInbox, mailbox.DeleteBox{Name: "inbox"})
	h.refuse(mailbox.ErrNoBox, mailbox.DeleteBox{Name: "none"})
	h.reopen()
	again := h.makeBox("a/b")
	if again.NoSelect || again.ID == was.ID || again.ID == level.ID || again.UIDValidity <= was.UIDValidity {
		h.Errorf("%+v; was %+v", again, was)
	}
	h.shows(again.ID, "")
	h.do(mailbox.DeleteBox{Name: "a/b"}, mailbox.DeleteBox{Name: "a/b/c"}, mailbox.DeleteBox{Name: "a/b"})
	if got, want := h.boxNames(), "INBOX Archive Drafts Junk Sent Trash a"; got != want {
		h.Errorf("%s; want %s", got, want)
	}
	h.do(mailbox.CreateBox{Name: "gone"}, mailbox.DeleteBox{Name: "gone"})
}

func specialUses(h *house) {
	h.refuse(mailbox.ErrSpecialUse, mailbox.CreateBox{Name: "Sent 2", Special: mailbox.Sent})
	for _, bad := range []mailbox.SpecialUse{"a b", "a\r\n", "ä", mailbox.SpecialUse(strings.Repeat("x", 100))} {
		h.refuse(mailbox.ErrBoxName, mailbox.CreateBox{Name: "new", Special: bad})
	}
	h.do(mailbox.RenameBox{From: "Sent", To: "Gesendet"})
	h.refuse(mailbox.ErrSpecialUse, mailbox.CreateBox{Name: "Sent", Special: mailbox.Sent})
	if got := h.box("Gesendet").Special; got != mailbox.Sent {
		h.Errorf("%q", got)
	}
	h.do(mailbox.DeleteBox{Name: "Gesendet"}, mailbox.CreateBox{Name: "Out", Special: mailbox.Sent})
	h.reopen()
	if got := h.box("Out").Special; got != mailbox.Sent {
		h.Errorf("%q", got)
	}
}

func subscriptions(h *house) {
	subscribed := func(want string) {
		h.Helper()
		got, err := h.Subscriptions(h.Context())
		h.check(err)
		if strings.Join(got, " ") != want {
			h.Errorf("%v; want %s", got, want)
		}
		is := make(map[string]bool)
		for _, name := range got {
			is[name] = true
		}
		boxes, err := h.Boxes(h.Context())
		h.check(err)
		for _, b := range boxes {
			if b.Subscribed != is[b.Name] {
				h.Errorf("%+v", b)
			}
		}
	}
	subscribed("INBOX Archive Drafts Junk Sent Trash")
	h.do(mailbox.Unsubscribe{Name: "Junk"}, mailbox.Unsubscribe{Name: "Junk"}, mailbox.Subscribe{Name: "later/"}, mailbox.Subscribe{Name: "inbox"})
	subscribed("INBOX Archive Drafts Sent Trash later")
	h.makeBox("later")
	h.do(mailbox.DeleteBox{Name: "Sent"}, mailbox.RenameBox{From: "Archive", To: "Old"}) // RFC 9051 §6.3.6, §6.3.7: names stay
	subscribed("INBOX Archive Drafts Sent Trash later")
	h.reopen()
	subscribed("INBOX Archive Drafts Sent Trash later")
	h.do(mailbox.Unsubscribe{Name: "later"}, mailbox.Subscribe{Name: "later"}, mailbox.Unsubscribe{Name: "later"})
	subscribed("INBOX Archive Drafts Sent Trash")
}

func uidValidityAscends(h *house) {
	last := h.box("Trash").UIDValidity
	for i := range 50 {
		if i%10 == 9 {
			h.reopen()
		}
		if i == 25 {
			time.Sleep(time.Hour)
		}
		b := h.makeBox(fmt.Sprint("box", i%5))
		if b.UIDValidity <= last {
			h.Fatalf("%d after %d", b.UIDValidity, last)
		}
		last = b.UIDValidity
		h.do(mailbox.DeleteBox{Name: b.Name})
	}
}
