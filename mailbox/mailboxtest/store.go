package mailboxtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing/synctest"

	"posthouse/mail"
	"posthouse/mailbox"
)

func snapshotsStay(h *house) {
	inbox := h.box("INBOX").ID
	h.fill(inbox, 100)
	s := h.look(inbox)
	was := listing(s)
	h.do(mailbox.SetFlags{Box: inbox, UIDs: mailbox.AllUIDs(), Marks: makeMarks(`\Deleted`, "K")})
	h.do(mailbox.Expunge{Box: inbox, UIDs: mailbox.UIDSet{{First: 1, Last: 50}}})
	h.file(inbox, letter)
	h.do(mailbox.RenameBox{From: "INBOX", To: "moved"})
	if listing(s) != was || s.Box.Name != "INBOX" || s.Box.Messages != 100 {
		h.Errorf("%s; was %s", listing(s), was)
	}
	h.balance(s)
}

func snapshotsShareSlabs(h *house) {
	inbox := h.box("INBOX").ID
	h.fill(inbox, 5000)
	s := h.look(inbox)
	if again := h.look(inbox); !slices.Equal(again.Slabs, s.Slabs) {
		h.Error("nothing changed, but the slabs are others")
	}
	h.do(mailbox.SetFlags{Box: inbox, UIDs: mailbox.UIDSet{{First: 1, Last: 1}}, Marks: makeMarks(`\Seen`)})
	h.file(inbox, letter)
	now := h.look(inbox)
	shared := 0
	for _, slab := range now.Slabs {
		if slices.Contains(s.Slabs, slab) {
			shared++
		}
	}
	if shared < len(s.Slabs)-2 {
		h.Errorf("%d of %d slabs are shared", shared, len(s.Slabs))
	}
}

func watch(h *house) {
	inbox := h.box("INBOX").ID
	ctx, cancel := context.WithCancel(h.Context())
	c, err := h.Watch(ctx)
	h.check(err)
	other := h.account("alice")
	for range 5 {
		h.file(inbox, letter)
	}
	synctest.Wait()
	select {
	case n := <-c:
		if n != h.look(inbox).Box.ModSeq {
			h.Errorf("%d; the box has %d", n, h.look(inbox).Box.ModSeq)
		}
	default:
		h.Error("not told of a change")
	}
	if _, err := h.Apply(h.Context(), mailbox.DeleteBox{Name: "none"}); err == nil {
		h.Error("no error")
	}
	h.do(mailbox.Expunge{Box: inbox, UIDs: mailbox.AllUIDs()})
	synctest.Wait()
	select {
	case n := <-c:
		h.Errorf("told of %d, but nothing changed", n)
	default:
	}
	applied, err := other.Apply(h.Context(), mailbox.CreateBox{Name: "new"})
	h.check(err)
	if n := <-c; n != applied.ModSeq {
		h.Errorf("%d; want %d", n, applied.ModSeq)
	}
	h.check(other.Close())
	cancel()
	if n, open := <-c; open {
		h.Errorf("told of %d after the end", n)
	}
	synctest.Wait()
}

func numbersSurviveRestarts(h *house) {
	inbox := h.box("INBOX").ID
	var lastUID mailbox.UID
	var lastModSeq mailbox.ModSeq
	var lastBlob mailbox.BlobID
	for range 10 {
		blob := h.stage(letter)
		applied, err := h.Apply(h.Context(), mailbox.Add{Box: inbox, Blob: blob, Marks: makeMarks(`\Deleted`)})
		h.check(err)
		uid := applied.Results[0].UIDs[0].First
		if uid <= lastUID || applied.ModSeq <= lastModSeq || blob <= lastBlob {
			h.Fatalf("UID %d after %d, mod-sequence %d after %d, content %d after %d", uid, lastUID, applied.ModSeq, lastModSeq, blob, lastBlob)
		}
		applied, err = h.Apply(h.Context(), mailbox.Expunge{Box: inbox, UIDs: mailbox.AllUIDs()})
		h.check(err)
		lastUID, lastModSeq, lastBlob = uid, applied.ModSeq, blob
		synctest.Wait() // the content is deleted
		h.reopen()
		if b := h.box("INBOX"); b.UIDNext != uid+1 || b.ModSeq != lastModSeq {
			h.Errorf("%+v", b)
		}
	}
}

func accounts(h *house) {
	h.file(h.box("INBOX").ID, letter)
	bob := h.account("bob")
	if b, err := bob.Box(h.Context(), "INBOX"); err != nil || b.Messages != 0 {
		h.Errorf("%+v, %v", b, err)
	}
	for _, bad := range []mail.AccountID{"", ".", "..", "a/b", "../x", "a\x00", mail.AccountID(strings.Repeat("x", 1000))} {
		if _, err := h.store.Account(h.Context(), bad); err == nil {
			h.Errorf("%q is taken for an account", bad)
		}
	}
	h.check(h.store.Remove(h.Context(), "bob"))
	h.check(h.store.Remove(h.Context(), "nobody"))
	if _, err := bob.Apply(h.Context(), mailbox.CreateBox{Name: "x"}); !errors.Is(err, mailbox.ErrClosed) {
		h.Errorf("%v", err)
	}
	h.check(bob.Close())
	bob = h.account("bob")
	if b, err := bob.Boxes(h.Context()); err != nil || len(b) != 6 {
		h.Errorf("%+v, %v", b, err)
	}
	h.check(bob.Close())
	h.shows(h.box("INBOX").ID, "1")
}

func closed(h *house) {
	id := h.stage(letter)
	inbox := h.box("INBOX").ID
	h.check(h.store.Close())
	_, err := h.store.Account(h.Context(), "alice")
	h.wants(err, mailbox.ErrClosed)
	h.refuse(mailbox.ErrClosed, mailbox.Add{Box: inbox, Blob: id})
	_, err = h.Open(h.Context(), id)
	h.wants(err, mailbox.ErrClosed)
	h.begin()
}

func manyWriters(h *house) {
	inbox := h.box("INBOX").ID
	const clients, each = 8, 40
	var mu sync.Mutex
	filed := make(map[mailbox.UID]string)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			a, err := h.store.Account(h.Context(), "alice")
			if err != nil {
				h.Error(err)
				return
			}
			defer a.Close()
			for j := range each {
				text := fmt.Sprintf("Subject: %d/%d\r\n\r\n", i, j)
				id, err := a.Stage(h.Context(), strings.NewReader(text))
				if err != nil {
					h.Error(err)
					return
				}
				applied, err := a.Apply(h.Context(), mailbox.Add{Box: inbox, Blob: id, Key: text})
				if err != nil {
					h.Error(err)
					return
				}
				uid := applied.Results[0].UIDs[0].First
				mu.Lock()
				if filed[uid] != "" {
					h.Errorf("UID %d was given twice", uid)
				}
				filed[uid] = text
				mu.Unlock()
				if s, err := a.Snapshot(h.Context(), inbox); err != nil {
					h.Error(err)
				} else if _, found := s.Find(uid); !found {
					h.Errorf("UID %d is not there", uid)
				}
				if j%5 == 0 {
					one := mailbox.UIDSet{{First: uid, Last: uid}}
					if _, err := a.Apply(h.Context(), mailbox.SetFlags{Box: inbox, UIDs: one, Marks: makeMarks(`\Flagged`)}); err != nil {
						h.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	for range 2 {
		s := h.look(inbox)
		h.balance(s)
		if s.Len() != clients*each || s.Box.UIDNext != clients*each+1 {
			h.Errorf("%+v", s.Box)
		}
		for _, m := range s.All() {
			text := filed[m.UID]
			flagged := strings.HasSuffix(text, "0\r\n\r\n") || strings.HasSuffix(text, "5\r\n\r\n")
			if h.read(m.Blob) != text || (m.Flags&mailbox.Flagged != 0) != flagged {
				h.Errorf("UID %d: %q, flags %v", m.UID, text, m.Flags)
			}
		}
		h.reopen()
	}
}
