package mailboxtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing/synctest"

	"posthouse/mail"
	"posthouse/mailbox"
)

func rights(h *house) {
	const bob, carol = "bob", "carol"
	inbox := h.box("INBOX")
	if r := inbox.RightsOf(bob); r != 0 || inbox.ACL != nil {
		h.Errorf("%v before anything was granted", r)
	}
	grant := func(who string, op mailbox.FlagOp, letters string) {
		h.Helper()
		r, ok := mailbox.ParseRights(letters)
		if !ok {
			h.Fatal(letters)
		}
		h.do(mailbox.SetRights{Box: inbox.ID, Who: who, Op: op, Rights: r})
	}
	wants := func(bobs, carols, list string) {
		h.Helper()
		b := h.box("INBOX")
		if got := b.RightsOf(bob).String(); got != bobs {
			h.Errorf("bob has %q; want %q", got, bobs)
		}
		if got := b.RightsOf(carol).String(); got != carols {
			h.Errorf("carol has %q; want %q", got, carols)
		}
		if got := fmt.Sprint(b.ACL); got != list {
			h.Errorf("%s; want %s", got, list)
		}
	}
	grant(bob, mailbox.ReplaceFlags, "rl")
	grant(bob, mailbox.AddFlags, "cd")
	wants("lrkxte", "", "[{bob lrkxte}]")
	grant(mailbox.Anyone, mailbox.ReplaceFlags, "lrs")
	grant("-carol", mailbox.ReplaceFlags, "s")
	wants("lrskxte", "lr", "[{-carol s} {anyone lrs} {bob lrkxte}]")
	h.reopen()
	wants("lrskxte", "lr", "[{-carol s} {anyone lrs} {bob lrkxte}]")
	grant("-anyone", mailbox.AddFlags, "r")
	wants("lskxte", "l", "[{-anyone r} {-carol s} {anyone lrs} {bob lrkxte}]")
	grant("-anyone", mailbox.RemoveFlags, "r")
	grant(bob, mailbox.RemoveFlags, "lrkxte")
	grant(bob, mailbox.RemoveFlags, "a")
	grant("-carol", mailbox.ReplaceFlags, "")
	wants("lrs", "lrs", "[{anyone lrs}]")
	was := h.box("INBOX")
	grant(mailbox.Anyone, mailbox.AddFlags, "l")
	if is := h.box("INBOX"); is.ModSeq != was.ModSeq {
		h.Errorf("what changes nothing changed %+v to %+v", was, is)
	}
	for _, bad := range []string{"", "-", "a b", "a\nb", "\u00e4", string(make([]byte, 1000))} {
		h.refuse(mailbox.ErrGrantee, mailbox.SetRights{Box: inbox.ID, Who: bad, Rights: mailbox.MayRead})
	}
	h.refuse(mailbox.ErrNoBox, mailbox.SetRights{Box: 1 << 30, Who: bob, Rights: mailbox.MayRead})
	for _, bad := range []string{"L", "q", "1", "l r", "\u00e4"} {
		if _, ok := mailbox.ParseRights(bad); ok {
			h.Errorf("%q are rights", bad)
		}
	}
	if got := mailbox.AllRights.String(); got != "lrswipkxtea" {
		h.Error(got)
	}
}

func rightsAreBounded(h *house) {
	inbox := h.box("INBOX").ID
	var grants []mailbox.Mutation
	for i := range mailbox.MaxGrants {
		grants = append(grants, mailbox.SetRights{Box: inbox, Who: fmt.Sprint("user", i), Rights: mailbox.MayRead})
	}
	h.do(grants...)
	h.refuse(mailbox.ErrLimit, mailbox.SetRights{Box: inbox, Who: "onemore", Rights: mailbox.MayRead})
	h.do(mailbox.SetRights{Box: inbox, Who: "user7", Rights: mailbox.MayWrite})
	h.reopen()
	if n := len(h.box("INBOX").ACL); n != mailbox.MaxGrants {
		h.Errorf("%d entries", n)
	}
}

// A box keeps for so many users what they have seen; to those that are more it can be shown all the same, and they can file messages.
func readersAreBounded(h *house) {
	inbox := h.box("INBOX").ID
	h.file(inbox, letter)
	mark := mailbox.SetFlags{Box: inbox, UIDs: mailbox.AllUIDs(), Marks: makeMarks(`\Seen`)}
	for i := range mailbox.MaxReaders {
		a := h.as(mail.AccountID(fmt.Sprint("user", i)))
		_, err := a.Apply(h.Context(), mark)
		h.check(errors.Join(err, a.Close()))
	}
	h.reopen()
	late := h.as("late")
	_, err := late.Apply(h.Context(), mark)
	h.wants(err, mailbox.ErrLimit)
	_, err = late.Apply(h.Context(), mailbox.Add{Box: inbox, Blob: h.stage(letter), Marks: makeMarks(`\Seen`, `\Draft`)})
	h.check(err)
	s, err := late.Snapshot(h.Context(), inbox)
	h.check(err)
	if got := listing(s); got != `1 2(\Draft)` {
		h.Error(got)
	}
	early := h.as("user7")
	s, err = early.Snapshot(h.Context(), inbox)
	h.check(err)
	if got := listing(s); got != `1(\Seen) 2(\Draft)` {
		h.Error(got)
	}
	h.check(errors.Join(early.Close(), late.Close()))
}

// A new box begins with the list of the one above it, a renamed one keeps its own, and what was deleted has none.
func rightsInherit(h *house) {
	a := h.makeBox("a")
	h.do(mailbox.SetRights{Box: a.ID, Who: "bob", Rights: mailbox.MayRead})
	lists := func(want string) {
		h.Helper()
		var got []string
		boxes, err := h.Boxes(h.Context())
		h.check(err)
		for _, b := range boxes {
			if b.ACL != nil {
				got = append(got, b.Name)
			}
		}
		if fmt.Sprint(got) != want {
			h.Errorf("%v have lists; want %s", got, want)
		}
	}
	h.makeBox("a/b/c")
	h.makeBox("x/y")
	lists("[a a/b a/b/c]")
	h.do(mailbox.RenameBox{From: "x/y", To: "a/y"}, mailbox.RenameBox{From: "a/b", To: "x/b"})
	lists("[a x/b x/b/c]")
	h.do(mailbox.DeleteBox{Name: "x/b"})
	lists("[a x/b/c]")
	h.do(mailbox.DeleteBox{Name: "a"})
	h.makeBox("a/z")
	lists("[x/b/c]")
	h.reopen()
	lists("[x/b/c]")
}

// seen expects how users see a box: alice, who has it, bob and carol.
func (h *house) seen(box mailbox.BoxID, alices, bobs, carols string) {
	h.Helper()
	h.shows(box, alices)
	for user, want := range map[mail.AccountID]string{"bob": bobs, "carol": carols} {
		a := h.as(user)
		s, err := a.Snapshot(h.Context(), box)
		h.check(err)
		if got := listing(s); got != want {
			h.Errorf("%s sees %s; want %s", user, got, want)
		}
		h.balance(s)
		b, err := a.Box(h.Context(), s.Box.Name)
		h.check(err)
		if !sameBox(b, s.Box) {
			h.Errorf("%s: %+v; the snapshot has %+v", user, b, s.Box)
		}
		h.check(a.Close())
	}
}

func seenByOthers(h *house) {
	inbox := h.box("INBOX").ID
	bob := h.as("bob")
	defer func() { h.check(bob.Close()) }()
	by := func(a mailbox.Account, changes ...mailbox.Mutation) mailbox.Applied {
		h.Helper()
		applied, err := a.Apply(h.Context(), changes...)
		h.check(err)
		return applied
	}
	one := func(uid mailbox.UID) mailbox.UIDSet { return mailbox.UIDSet{{First: uid, Last: uid}} }
	h.file(inbox, letter, `\Seen`)
	h.file(inbox, letter)
	h.seen(inbox, `1(\Seen) 2`, "1 2", "1 2")
	before := h.look(inbox)
	applied := by(bob, mailbox.SetFlags{Box: inbox, UIDs: one(2), Marks: makeMarks(`\Seen`)})
	h.seen(inbox, `1(\Seen) 2`, `1 2(\Seen)`, "1 2")
	if after := h.look(inbox); !slices.Equal(after.Slabs, before.Slabs) || after.Box.ModSeq != before.Box.ModSeq {
		h.Error("what another has seen changes the owner's box")
	}
	s, err := bob.Snapshot(h.Context(), inbox)
	h.check(err)
	if s.Box.ModSeq != applied.ModSeq || s.At(1).ModSeq != applied.ModSeq || s.At(0).ModSeq >= applied.ModSeq {
		h.Errorf("%+v, %+v after %d", s.Box, *s.At(1), applied.ModSeq)
	}
	if again, err := bob.Snapshot(h.Context(), inbox); err != nil || again != s {
		h.Errorf("nothing changed, but the snapshot is another: %v", err)
	}
	// What was changed after is not changed again: by what one has seen, and by what all see.
	since := applied.ModSeq - 1
	r := by(bob, mailbox.SetFlags{Box: inbox, UIDs: mailbox.AllUIDs(), Op: mailbox.ReplaceFlags, Marks: makeMarks(`\Flagged`, "K"), UnchangedSince: since}).Results[0]
	if r.Modified.String() != "2" || r.Source.String() != "1" {
		h.Errorf("%+v", r)
	}
	h.seen(inbox, `1(K \Flagged \Seen) 2`, `1(K \Flagged) 2(\Seen)`, `1(K \Flagged) 2`)
	by(bob, mailbox.SetFlags{Box: inbox, UIDs: mailbox.AllUIDs(), Op: mailbox.ReplaceFlags, Marks: makeMarks(`\Seen`, `\Draft`),
		Keep: mailbox.Keywords | mailbox.Draft})
	h.seen(inbox, `1(K \Seen) 2`, `1(K \Seen) 2(\Seen)`, `1(K) 2`)
	h.reopen()
	h.check(bob.Close())
	bob = h.as("bob")
	by(bob, mailbox.SetFlags{Box: inbox, UIDs: one(1), Op: mailbox.RemoveFlags, Marks: makeMarks(`\Seen`)},
		mailbox.Add{Box: inbox, Blob: h.stage(letter), Marks: makeMarks(`\Seen`, `\Answered`)})
	h.seen(inbox, `1(K \Seen) 2 3(\Answered)`, `1(K) 2(\Seen) 3(\Answered \Seen)`, `1(K) 2 3(\Answered)`)
	alice, err := h.store.AccountAs(h.Context(), "alice", "alice")
	h.check(err)
	by(alice, mailbox.SetFlags{Box: inbox, UIDs: one(3), Marks: makeMarks(`\Seen`)})
	h.check(alice.Close())
	h.seen(inbox, `1(K \Seen) 2 3(\Answered \Seen)`, `1(K) 2(\Seen) 3(\Answered \Seen)`, `1(K) 2 3(\Answered)`)
	bob.Apply(h.Context(), mailbox.SetFlags{Box: inbox, UIDs: one(3), Op: mailbox.RemoveFlags, Marks: makeMarks(`\Seen`)}, mailbox.DeleteBox{Name: "none"}) //nolint:errcheck // it fails
	h.seen(inbox, `1(K \Seen) 2 3(\Answered \Seen)`, `1(K) 2(\Seen) 3(\Answered \Seen)`, `1(K) 2 3(\Answered)`)
}

// What goes to another box is as seen there as it was, by everybody.
func seenIsCarried(h *house) {
	inbox, archive := h.box("INBOX").ID, h.box("Archive").ID
	bob, carol := h.as("bob"), h.as("carol")
	h.fill(inbox, 3000)
	mark := func(a mailbox.Account, uids ...mailbox.UIDRange) {
		h.Helper()
		_, err := a.Apply(h.Context(), mailbox.SetFlags{Box: inbox, UIDs: uids, Marks: makeMarks(`\Seen`)})
		h.check(err)
	}
	mark(bob, mailbox.UIDRange{First: 1000, Last: 1030}, mailbox.UIDRange{First: 2999, Last: 3000})
	mark(carol, mailbox.UIDRange{First: 2999, Last: 2999})
	h.do(mailbox.Copy{From: inbox, UIDs: mailbox.UIDSet{{First: 1029, Last: 1032}}, To: archive},
		mailbox.Move{From: inbox, UIDs: mailbox.UIDSet{{First: 2998, Last: 3000}}, To: archive})
	h.seen(archive, `1 2 3 4 5 6 7`, `1(\Seen) 2(\Seen) 3 4 5 6(\Seen) 7(\Seen)`, `1 2 3 4 5 6(\Seen) 7`)
	_, err := bob.Apply(h.Context(), mailbox.Copy{From: archive, UIDs: mailbox.UIDSet{{First: 5, Last: 7}}, To: archive, Without: mailbox.Seen})
	h.check(err)
	h.do(mailbox.SetFlags{Box: archive, UIDs: mailbox.UIDSet{{First: 1, Last: 6}}, Marks: makeMarks(`\Deleted`)},
		mailbox.Expunge{Box: archive, UIDs: mailbox.AllUIDs()})
	h.seen(archive, `7 8 9 10`, `7(\Seen) 8 9 10`, `7 8 9(\Seen) 10`)
	h.do(mailbox.RenameBox{From: "Archive", To: "Old"})
	h.do(mailbox.RenameBox{From: "INBOX", To: "old mail"})
	h.check(errors.Join(bob.Close(), carol.Close()))
	h.reopen()
	h.seen(archive, `7 8 9 10`, `7(\Seen) 8 9 10`, `7 8 9(\Seen) 10`)
	moved := h.box("old mail")
	bob = h.as("bob")
	if b, err := bob.Box(h.Context(), moved.Name); err != nil || b.Unseen != moved.Messages-31 {
		h.Errorf("%+v, %v", b, err)
	}
	h.do(mailbox.DeleteBox{Name: "old mail"}, mailbox.DeleteBox{Name: "Old"})
	h.check(bob.Close())
	h.reopen()
}

// Snapshots of another user share the slabs between which nothing changed, also with the owner's.
func seenSharesSlabs(h *house) {
	inbox := h.box("INBOX").ID
	bob := h.as("bob")
	h.fill(inbox, 5000)
	look := func() *mailbox.Snapshot {
		h.Helper()
		s, err := bob.Snapshot(h.Context(), inbox)
		h.check(err)
		h.balance(s)
		return s
	}
	shared := func(a, b *mailbox.Snapshot, least int) {
		h.Helper()
		n := 0
		for _, slab := range a.Slabs {
			if slices.Contains(b.Slabs, slab) {
				n++
			}
		}
		if n < least {
			h.Errorf("%d of %d slabs are shared", n, len(a.Slabs))
		}
	}
	mark := func(a mailbox.Account, uid mailbox.UID) {
		h.Helper()
		_, err := a.Apply(h.Context(), mailbox.SetFlags{Box: inbox, UIDs: mailbox.UIDSet{{First: uid, Last: uid}}, Marks: makeMarks(`\Seen`)})
		h.check(err)
	}
	all := len(h.look(inbox).Slabs)
	shared(h.look(inbox), look(), all)
	mark(h.Account, 1)
	shared(h.look(inbox), look(), all-1)
	was := look()
	mark(bob, 1)
	mark(bob, 4000)
	now := look()
	shared(was, now, all-3) // a part of 1,024 UIDs may lie across two slabs
	h.file(inbox, letter)
	shared(now, look(), all-2)
	h.check(bob.Close())
}

func privateAnnotations(h *house) {
	inbox := h.box("INBOX").ID
	bob, carol := h.as("bob"), h.as("carol")
	set := func(a mailbox.Account, entry, value string) {
		h.Helper()
		_, err := a.Apply(h.Context(), mailbox.SetAnnotation{Box: inbox, Entry: entry, Value: []byte(value)})
		h.check(err)
	}
	wants := func(a mailbox.Account, want string) {
		h.Helper()
		list, err := a.Annotations(h.Context(), inbox, 0)
		h.check(err)
		got := ""
		for _, n := range list {
			got += fmt.Sprintf("%s=%s ", n.Entry, n.Value)
		}
		if got != want {
			h.Errorf("%q; want %q", got, want)
		}
	}
	set(h.Account, "/private/comment", "alice's")
	set(h.Account, "/shared/comment", "all's")
	set(bob, "/PRIVATE/Comment", "bob's")
	set(bob, "/shared/x", "also all's")
	wants(h.Account, "/private/comment=alice's /shared/comment=all's /shared/x=also all's ")
	wants(bob, "/private/comment=bob's /shared/comment=all's /shared/x=also all's ")
	wants(carol, "/shared/comment=all's /shared/x=also all's ")
	for i := range mailbox.MaxAnnotations - 1 {
		set(bob, fmt.Sprint("/private/", i), "x")
	}
	_, err := bob.Apply(h.Context(), mailbox.SetAnnotation{Box: inbox, Entry: "/private/more", Value: []byte("x")})
	h.wants(err, mailbox.ErrLimit)
	set(carol, "/private/comment", "carol's")
	h.refuse(mailbox.ErrBoxName, mailbox.SetAnnotation{Box: inbox, Entry: "/user/bob/comment", Value: []byte("not his")})
	wants(carol, "/private/comment=carol's /shared/comment=all's /shared/x=also all's ")
	h.check(errors.Join(bob.Close(), carol.Close()))
}

// Who uses an account that is removed finds its boxes gone, and is told to look.
func removed(h *house) {
	shared, err := h.store.AccountAs(h.Context(), "team", "alice")
	h.check(err)
	inbox, err := shared.Box(h.Context(), "INBOX")
	h.check(err)
	_, err = shared.Snapshot(h.Context(), inbox.ID)
	h.check(err)
	ctx, cancel := context.WithCancel(h.Context())
	changes, err := shared.Watch(ctx)
	h.check(err)
	h.check(h.store.Remove(h.Context(), "team"))
	synctest.Wait()
	select {
	case <-changes:
	default:
		h.Error("not told that the account is gone")
	}
	_, err = shared.Snapshot(h.Context(), inbox.ID)
	h.wants(err, mailbox.ErrNoBox)
	cancel()
	synctest.Wait()
	h.check(shared.Close())
}
