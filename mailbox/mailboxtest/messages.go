package mailboxtest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"posthouse/mailbox"
)

func add(h *house) {
	inbox := h.box("INBOX").ID
	zone := time.FixedZone("", -3*3600-30*60)
	date := time.Date(2020, 1, 2, 3, 4, 5, 0, zone)
	blob := h.stage(letter)
	r := h.do(mailbox.Add{Box: inbox, Blob: blob, Marks: makeMarks(`\Seen`, "$One"), Internal: date},
		mailbox.Add{Box: inbox, Blob: h.stage(letter)})
	if r[0].UIDs.String() != "1" || r[1].UIDs.String() != "2" || r[0].UIDValidity != h.box("INBOX").UIDValidity {
		h.Errorf("%+v", r)
	}
	h.shows(inbox, "1($One \\Seen) 2")
	s := h.look(inbox)
	m := s.At(0)
	if !m.InternalDate().Equal(date) || m.Zone != -210 || m.Saved != time.Now().Unix() || m.Size != int64(len(letter)) || m.Blob != blob {
		h.Errorf("%+v", *m)
	}
	if m = s.At(1); m.Internal != time.Now().Unix() || m.ModSeq != s.Box.ModSeq {
		h.Errorf("%+v", *m)
	}
	h.refuse(mailbox.ErrNoBlob, mailbox.Add{Box: inbox, Blob: blob + 1000})
	h.refuse(mailbox.ErrNoBlob, mailbox.Add{Box: inbox})
	h.do(mailbox.Add{Box: inbox, Blob: blob}) // what is there may be filed again
	if s := h.look(inbox); s.At(2).Blob != blob || s.At(2).Size != m.Size {
		h.Errorf("%+v", *s.At(2))
	}
	h.reopen()
	h.shows(inbox, "1($One \\Seen) 2 3")
}

func keys(h *house) {
	inbox, sent := h.box("INBOX").ID, h.box("Sent").ID
	add := func(box mailbox.BoxID, key string) mailbox.Add {
		return mailbox.Add{Box: box, Blob: h.stage(letter), Key: key}
	}
	r := h.do(add(inbox, "k1"), add(inbox, "k2"), add(inbox, "k1"), add(sent, "k1"), add(inbox, ""), add(inbox, ""))
	for i, want := range []bool{false, false, true, true, false, false} {
		if r[i].Duplicate != want || (r[i].UIDs == nil) != want {
			h.Errorf("%d: %+v", i, r[i])
		}
	}
	h.shows(inbox, "1 2 3 4")
	h.refuse(mailbox.ErrNoBox, add(inbox, "k3"), add(1<<30, "k4"))
	h.reopen()
	again := add(inbox, "k1")
	if r := h.do(again); !r[0].Duplicate {
		h.Errorf("%+v", r)
	}
	if r := h.do(add(inbox, "k3")); r[0].Duplicate {
		h.Error("the key of an Add that failed counts")
	}
	h.refuse(mailbox.ErrNoBlob, mailbox.Add{Box: inbox, Blob: again.Blob}) // a duplicate uses its content up, too
	shared := h.stage(letter)
	h.do(mailbox.Add{Box: inbox, Blob: shared, Key: "k1"}, mailbox.Add{Box: sent, Blob: shared, Key: "k5"})
	h.shows(sent, "1")
	h.read(shared)
	time.Sleep(31 * 24 * time.Hour)
	if r := h.do(add(inbox, "k1")); r[0].Duplicate {
		h.Error("a key is known for over 30 days")
	}
	if r := h.do(add(inbox, "k1")); !r[0].Duplicate {
		h.Error("the key is not known again")
	}
}

func filedAs(h *house) {
	inbox, sent := h.box("INBOX").ID, h.box("Sent").ID
	add := func(box mailbox.BoxID, as, unless string, marks ...string) mailbox.Add {
		return mailbox.Add{Box: box, Blob: h.stage(letter), As: as, Unless: unless, Marks: makeMarks(marks...)}
	}
	r := h.do(add(sent, "a", "b"), add(sent, "c", "d", `\Seen`), add(sent, "b", "a", `\Seen`, "Work"), add(inbox, "b", "a"), add(sent, "a", ""), add(sent, "", "x"))
	for i, want := range []struct {
		uids      string
		duplicate bool
	}{{"1", false}, {"2", false}, {"1", true}, {"1", false}, {"3", false}, {"4", false}} {
		if r[i].UIDs.String() != want.uids || r[i].Duplicate != want.duplicate || r[i].UIDValidity == 0 {
			h.Errorf("%d: %+v", i, r[i])
		}
	}
	h.shows(sent, `1(Work \Seen) 2(\Seen) 3 4`)
	h.reopen()
	again := add(sent, "", "c", `\Flagged`)
	if r := h.do(again); !r[0].Duplicate || r[0].UIDs.String() != "2" {
		h.Errorf("%+v", r)
	}
	h.refuse(mailbox.ErrNoBlob, mailbox.Add{Box: inbox, Blob: again.Blob}) // what was not needed is gone
	h.shows(sent, `1(Work \Seen) 2(\Flagged \Seen) 3 4`)

	// The latest of the name counts; one that is gone keeps nothing out.
	if r := h.do(add(sent, "", "a")); r[0].UIDs.String() != "3" {
		h.Errorf("%+v", r)
	}
	h.do(mailbox.SetFlags{Box: sent, UIDs: mailbox.UIDSet{{First: 3, Last: 3}}, Marks: makeMarks(`\Deleted`)}, mailbox.Expunge{Box: sent, UIDs: mailbox.AllUIDs()})
	if r := h.do(add(sent, "a", "a"), add(sent, "a", "a")); r[0].Duplicate || r[0].UIDs.String() != "5" || !r[1].Duplicate || r[1].UIDs.String() != "5" {
		h.Errorf("%+v", r)
	}
	time.Sleep(31 * 24 * time.Hour)
	if r := h.do(add(sent, "a", "a")); r[0].Duplicate {
		h.Error("a name is known for over 30 days")
	}
	if r := h.do(add(sent, "", "a")); !r[0].Duplicate || r[0].UIDs.String() != "6" {
		h.Errorf("the name is not known again: %+v", r)
	}
}

func annotations(h *house) {
	inbox := h.box("INBOX").ID
	set := func(box mailbox.BoxID, entry string, value []byte) mailbox.SetAnnotation {
		return mailbox.SetAnnotation{Box: box, Entry: entry, Value: value}
	}
	look := func(box mailbox.BoxID, since mailbox.ModSeq) string {
		list, err := h.Annotations(h.Context(), box, since)
		h.check(err)
		var b strings.Builder
		for _, a := range list {
			fmt.Fprintf(&b, "%s=%q/%v ", a.Entry, a.Value, a.Value == nil)
		}
		return b.String()
	}
	first, err := h.Apply(h.Context(), set(inbox, "/private/Comment", []byte("mine")), set(0, "/shared/x", []byte{}), set(inbox, "/private/b/c", []byte("d")))
	h.check(err)
	h.reopen()
	if got := look(inbox, 0) + look(0, 0); got != `/private/b/c="d"/false /private/comment="mine"/false /shared/x=""/false ` {
		h.Error(got)
	}
	second, err := h.Apply(h.Context(), set(inbox, "/PRIVATE/comment", nil))
	h.check(err)
	if got := look(inbox, first.ModSeq); got != `/private/comment=""/true ` {
		h.Error(got)
	}
	boxes, latest, err := h.Annotated(h.Context(), first.ModSeq)
	if h.check(err); len(boxes) != 1 || boxes[0] != inbox || latest != second.ModSeq {
		h.Errorf("%v %d", boxes, latest)
	}
	for _, bad := range []string{"", "x", "/", "/a/", "/a//b", "/a*", "/ü", "/" + strings.Repeat("x", mailbox.MaxAnnotationName)} {
		h.refuse(mailbox.ErrBoxName, set(inbox, bad, []byte("x")))
	}
	h.refuse(mailbox.ErrLimit, set(inbox, "/a", make([]byte, mailbox.MaxAnnotation+1)))
	h.refuse(mailbox.ErrNoBox, set(1<<30, "/a", []byte("x")))
	var many []mailbox.Mutation
	for i := range mailbox.MaxAnnotations + 1 {
		many = append(many, set(0, fmt.Sprintf("/private/%d", i), []byte("x")))
	}
	h.refuse(mailbox.ErrLimit, many...)
	if got := look(0, 0); got != `/shared/x=""/false ` {
		h.Error(got)
	}
	for i := 0; i < 3*mailbox.MaxAnnotations; { // what was taken away takes no place for ever
		var both []mailbox.Mutation
		for range mailbox.MaxAnnotations / 5 {
			both = append(both, set(0, fmt.Sprintf("/private/%d", i), []byte("x")), set(0, fmt.Sprintf("/private/%d", i), nil))
			i++
		}
		h.do(both...)
	}
	if list, err := h.Annotations(h.Context(), 0, 0); err != nil || len(list) > 2*mailbox.MaxAnnotations {
		h.Errorf("%d, %v", len(list), err)
	}
	h.do(mailbox.CreateBox{Name: "gone"})
	gone := h.box("gone").ID
	h.do(set(gone, "/private/x", []byte("y")), mailbox.RenameBox{From: "gone", To: "away"})
	if got := look(gone, 0); got != `/private/x="y"/false ` {
		h.Error(got)
	}
	h.do(mailbox.DeleteBox{Name: "away"})
	if _, err := h.Annotations(h.Context(), gone, 0); !errors.Is(err, mailbox.ErrNoBox) {
		h.Error(err)
	}
}

func within(h *house) {
	inbox := h.box("INBOX").ID
	size := int64(len(letter))
	add := func() mailbox.Add { return mailbox.Add{Box: inbox, Blob: h.stage(letter)} }
	h.do(add(), add(), mailbox.Within{Octets: 2 * size, Messages: 2})
	h.refuse(mailbox.ErrOverQuota, mailbox.Within{Octets: 3*size - 1}, add())
	h.refuse(mailbox.ErrOverQuota, add(), mailbox.Within{Messages: 2})
	h.refuse(mailbox.ErrOverQuota, mailbox.Copy{From: inbox, UIDs: mailbox.AllUIDs(), To: h.box("Sent").ID}, mailbox.Within{Messages: 3})
	h.shows(inbox, "1 2")
	h.do(add(), mailbox.Within{})
	// Who holds too much already may still make order, and make less of it.
	h.do(mailbox.Move{From: inbox, UIDs: mailbox.UIDSet{{First: 1, Last: 1}}, To: h.box("Sent").ID}, mailbox.Within{Messages: 1})
	h.do(mailbox.SetFlags{Box: inbox, UIDs: mailbox.AllUIDs(), Marks: makeMarks(`\Deleted`)}, mailbox.Expunge{Box: inbox, UIDs: mailbox.AllUIDs()}, add(), mailbox.Within{Octets: 1})
	usage, err := h.Usage(h.Context())
	if h.check(err); usage.Messages != 2 || usage.Octets != 2*size || usage.Boxes != 6 {
		h.Errorf("%+v", usage)
	}
}

func flags(h *house) {
	inbox := h.box("INBOX").ID
	for range 4 {
		h.file(inbox, letter, `\Seen`)
	}
	for _, c := range []struct {
		op    mailbox.FlagOp
		uids  mailbox.UIDSet
		marks []string
		want  string
	}{
		{mailbox.AddFlags, mailbox.UIDSet{{First: 1, Last: 2}, {First: 4, Last: 9}}, []string{`\Deleted`, "Work"}, `1(Work \Deleted \Seen) 2(Work \Deleted \Seen) 3(\Seen) 4(Work \Deleted \Seen)`},
		{mailbox.RemoveFlags, mailbox.UIDSet{{First: 2, Last: 3}}, []string{`\Seen`, "WORK", "unknown"}, `1(Work \Deleted \Seen) 2(\Deleted) 3 4(Work \Deleted \Seen)`},
		{mailbox.ReplaceFlags, mailbox.AllUIDs(), []string{`\Flagged`, `\Draft`, `\Answered`}, `1(\Answered \Draft \Flagged) 2(\Answered \Draft \Flagged) 3(\Answered \Draft \Flagged) 4(\Answered \Draft \Flagged)`},
		{mailbox.ReplaceFlags, mailbox.UIDSet{{First: 3, Last: 3}}, nil, `1(\Answered \Draft \Flagged) 2(\Answered \Draft \Flagged) 3 4(\Answered \Draft \Flagged)`},
	} {
		h.do(mailbox.SetFlags{Box: inbox, UIDs: c.uids, Op: c.op, Marks: makeMarks(c.marks...)})
		h.shows(inbox, c.want)
	}
	was := h.look(inbox)
	r := h.do(mailbox.SetFlags{Box: inbox, UIDs: mailbox.UIDSet{{First: 1, Last: 1}}, Marks: makeMarks(`\Draft`)})
	now := h.look(inbox)
	if r[0].Source.String() != "1" || now.Box.ModSeq != was.Box.ModSeq || now.At(0).ModSeq != was.At(0).ModSeq {
		h.Errorf("a flag that was there made a change: %+v, %+v", r, now.Box)
	}
	if none := h.do(mailbox.SetFlags{Box: inbox, UIDs: mailbox.UIDSet{{First: 10, Last: 99}}, Marks: makeMarks("New")}); none[0].Source != nil {
		h.Errorf("%+v", none)
	}
	h.reopen()
	h.shows(inbox, `1(\Answered \Draft \Flagged) 2(\Answered \Draft \Flagged) 3 4(\Answered \Draft \Flagged)`)
}

func unchangedSince(h *house) {
	inbox := h.box("INBOX").ID
	h.file(inbox, letter)
	h.file(inbox, letter)
	h.file(inbox, letter)
	since := h.look(inbox).Box.ModSeq
	h.do(mailbox.SetFlags{Box: inbox, UIDs: mailbox.UIDSet{{First: 2, Last: 2}}, Marks: makeMarks(`\Seen`)})
	r := h.do(mailbox.SetFlags{Box: inbox, UIDs: mailbox.AllUIDs(), Marks: makeMarks(`\Flagged`), UnchangedSince: since})
	if r[0].Source.String() != "1,3" || r[0].Modified.String() != "2" {
		h.Errorf("%+v", r)
	}
	h.shows(inbox, `1(\Flagged) 2(\Seen) 3(\Flagged)`)
}

func keywords(h *house) {
	inbox, sent := h.box("INBOX").ID, h.box("Sent").ID
	h.file(inbox, letter, "A", "b")
	h.file(sent, letter, "c", "B")
	h.do(mailbox.Copy{From: inbox, UIDs: mailbox.AllUIDs(), To: sent})
	h.shows(sent, "1(B c) 2(A B)") // kept as first given in each box
	for _, bad := range []string{"", " ", "a b", "(", `\x`, "a*", "%", `"`, "]", "{", "a\r\n", strings.Repeat("k", mailbox.MaxKeyword+1)} {
		h.refuse(mailbox.ErrLimit, mailbox.SetFlags{Box: inbox, UIDs: mailbox.AllUIDs(), Marks: mailbox.Marks{Keywords: []string{bad}}})
	}
	var many []string
	for i := range mailbox.MaxKeywords - 2 {
		many = append(many, fmt.Sprint("key", i))
	}
	h.do(mailbox.SetFlags{Box: inbox, UIDs: mailbox.AllUIDs(), Marks: makeMarks(many...)})
	h.refuse(mailbox.ErrLimit, mailbox.SetFlags{Box: inbox, UIDs: mailbox.AllUIDs(), Marks: makeMarks("more")})
	h.refuse(mailbox.ErrLimit, mailbox.Copy{From: inbox, UIDs: mailbox.AllUIDs(), To: sent}, mailbox.Copy{From: sent, UIDs: mailbox.AllUIDs(), To: inbox})
	h.reopen()
	if got := len(flagNames(h.look(inbox), h.look(inbox).At(0))); got != mailbox.MaxKeywords {
		h.Errorf("%d keywords", got)
	}
	h.balance(h.look(inbox))
}

func copyMessages(h *house) {
	inbox, sent := h.box("INBOX").ID, h.box("Sent").ID
	for i := range 5 {
		h.file(inbox, fmt.Sprintf("Subject: %d\r\n\r\n", i), []string{`\Seen`, "K"}[i%2])
	}
	h.file(sent, letter)
	time.Sleep(time.Hour)
	r := h.do(mailbox.Copy{From: inbox, UIDs: mailbox.UIDSet{{First: 2, Last: 3}, {First: 5, Last: 100}}, To: sent})[0]
	if r.Source.String() != "2:3,5" || r.UIDs.String() != "2:4" || r.UIDValidity != h.box("Sent").UIDValidity {
		h.Errorf("%+v", r)
	}
	h.shows(sent, `1 2(K) 3(\Seen) 4(\Seen)`)
	from, to := h.look(inbox).At(4), h.look(sent).At(3)
	if to.Blob != from.Blob || to.Internal != from.Internal || to.Zone != from.Zone || to.Size != from.Size || to.Saved != time.Now().Unix() {
		h.Errorf("%+v of %+v", *to, *from)
	}
	r = h.do(mailbox.Copy{From: inbox, UIDs: mailbox.AllUIDs(), To: inbox})[0]
	if r.Source.String() != "1:5" || r.UIDs.String() != "6:10" {
		h.Errorf("%+v", r)
	}
	if none := h.do(mailbox.Copy{From: inbox, UIDs: mailbox.UIDSet{{First: 50, Last: 60}}, To: sent})[0]; none.UIDs != nil || none.Source != nil {
		h.Errorf("%+v", none)
	}
	h.shows(inbox, `1(\Seen) 2(K) 3(\Seen) 4(K) 5(\Seen) 6(\Seen) 7(K) 8(\Seen) 9(K) 10(\Seen)`)
}

func moveMessages(h *house) {
	inbox, trash := h.box("INBOX").ID, h.box("Trash").ID
	for i := range 4 {
		h.file(inbox, fmt.Sprintf("Subject: %d\r\n\r\n", i), `\Flagged`)
	}
	kept := h.look(inbox).At(1).Blob
	r := h.do(mailbox.Move{From: inbox, UIDs: mailbox.UIDSet{{First: 2, Last: 3}}, To: trash})[0]
	if r.Source.String() != "2:3" || r.UIDs.String() != "1:2" || r.UIDValidity != h.box("Trash").UIDValidity {
		h.Errorf("%+v", r)
	}
	h.shows(inbox, `1(\Flagged) 4(\Flagged)`)
	h.shows(trash, `1(\Flagged) 2(\Flagged)`)
	if h.look(trash).At(0).Blob != kept || h.read(kept) != "Subject: 1\r\n\r\n" {
		h.Error("the content changed")
	}
	r = h.do(mailbox.Move{From: inbox, UIDs: mailbox.AllUIDs(), To: inbox})[0]
	if r.Source.String() != "1,4" || r.UIDs.String() != "5:6" {
		h.Errorf("%+v", r)
	}
	h.shows(inbox, `5(\Flagged) 6(\Flagged)`)
	h.do(mailbox.Move{From: inbox, UIDs: mailbox.AllUIDs(), To: trash}, mailbox.Move{From: trash, UIDs: mailbox.AllUIDs(), To: inbox})
	h.reopen()
	h.shows(inbox, `7(\Flagged) 8(\Flagged) 9(\Flagged) 10(\Flagged)`)
	h.shows(trash, "")
}

func expunge(h *house) {
	inbox := h.box("INBOX").ID
	h.fill(inbox, 3000) // several slabs, whatever their size
	mark := mailbox.UIDSet{{First: 1, Last: 1500}, {First: 1502, Last: 1502}, {First: 2990, Last: 3000}}
	h.do(mailbox.SetFlags{Box: inbox, UIDs: mark, Marks: makeMarks(`\Deleted`)})
	r := h.do(mailbox.Expunge{Box: inbox, UIDs: mailbox.UIDSet{{First: 1000, Last: 5000}}})[0]
	if r.Source.String() != "1000:1500,1502,2990:3000" {
		h.Errorf("%v", r.Source)
	}
	s := h.look(inbox)
	h.balance(s)
	if s.Box.Messages != 3000-501-1-11 || s.Box.Deleted != 999 || s.Box.UIDNext != 3001 {
		h.Errorf("%+v", s.Box)
	}
	if i, found := s.Find(1501); !found || s.At(i-1).UID != 999 || s.At(i+1).UID != 1503 {
		h.Errorf("%d, %v", i, found)
	}
	h.reopen()
	h.do(mailbox.Expunge{Box: inbox, UIDs: mailbox.AllUIDs()}, mailbox.SetFlags{Box: inbox, UIDs: mailbox.AllUIDs(), Marks: makeMarks(`\Deleted`)},
		mailbox.Expunge{Box: inbox, UIDs: mailbox.AllUIDs()})
	h.shows(inbox, "")
	if r := h.do(mailbox.Expunge{Box: inbox, UIDs: mailbox.AllUIDs()})[0]; r.Source != nil {
		h.Errorf("%+v", r)
	}
	if uid := h.file(inbox, letter); uid != 3001 {
		h.Errorf("UID %d after 3000 were expunged", uid)
	}
}

func allOrNothing(h *house) {
	inbox, sent := h.box("INBOX").ID, h.box("Sent").ID
	h.file(inbox, letter, `\Deleted`, "K")
	h.file(sent, letter)
	before, err := h.Boxes(h.Context())
	h.check(err)
	blob := h.stage(letter)
	h.refuse(mailbox.ErrNoBox,
		mailbox.CreateBox{Name: "x/y"}, mailbox.RenameBox{From: "Junk", To: "Spam"}, mailbox.DeleteBox{Name: "Drafts"},
		mailbox.Subscribe{Name: "x"}, mailbox.Unsubscribe{Name: "Sent"},
		mailbox.Add{Box: inbox, Blob: blob, Marks: makeMarks("New"), Key: "key"},
		mailbox.SetFlags{Box: sent, UIDs: mailbox.AllUIDs(), Marks: makeMarks(`\Seen`, "L")},
		mailbox.Copy{From: sent, UIDs: mailbox.AllUIDs(), To: inbox}, mailbox.Expunge{Box: inbox, UIDs: mailbox.AllUIDs()},
		mailbox.Move{From: sent, UIDs: mailbox.AllUIDs(), To: inbox}, mailbox.DeleteBox{Name: "none"})
	for range 2 {
		after, err := h.Boxes(h.Context())
		h.check(err)
		if fmt.Sprint(after) != fmt.Sprint(before) {
			h.Errorf("%+v; was %+v", after, before)
		}
		h.shows(inbox, `1(K \Deleted)`)
		h.shows(sent, "1")
		h.read(h.look(sent).At(0).Blob)
		if len(h.look(inbox).Keywords) != 1 || len(h.look(sent).Keywords) != 0 {
			h.Errorf("%v, %v", h.look(inbox).Keywords, h.look(sent).Keywords)
		}
		if r := h.do(mailbox.Add{Box: h.box("Trash").ID, Blob: blob}); r[0].UIDs == nil {
			h.Errorf("%+v", r)
		}
		h.do(mailbox.SetFlags{Box: h.box("Trash").ID, UIDs: mailbox.AllUIDs(), Marks: makeMarks(`\Deleted`)},
			mailbox.Expunge{Box: h.box("Trash").ID, UIDs: mailbox.AllUIDs()})
		h.reopen()
		blob = h.stage(letter)
		before, err = h.Boxes(h.Context())
		h.check(err)
	}
}

func vanished(h *house) {
	inbox, sent := h.box("INBOX").ID, h.box("Sent").ID
	h.fill(inbox, 20)
	gone := func(since mailbox.ModSeq, want string) {
		h.Helper()
		got, complete, err := h.Vanished(h.Context(), inbox, since)
		h.check(err)
		if got.String() != want || !complete {
			h.Errorf("since %d: %v, %v; want %s", since, got, complete, want)
		}
	}
	start := h.look(inbox).Box.ModSeq
	gone(start, "")
	h.do(mailbox.Move{From: inbox, UIDs: mailbox.UIDSet{{First: 5, Last: 6}}, To: sent})
	middle := h.look(inbox).Box.ModSeq
	h.do(mailbox.SetFlags{Box: inbox, UIDs: mailbox.UIDSet{{First: 1, Last: 4}, {First: 7, Last: 9}, {First: 15, Last: 15}}, Marks: makeMarks(`\Deleted`)},
		mailbox.Expunge{Box: inbox, UIDs: mailbox.UIDSet{{First: 7, Last: 20}}}, mailbox.Expunge{Box: inbox, UIDs: mailbox.UIDSet{{First: 1, Last: 2}}})
	for range 2 {
		gone(start, "1:2,5:9,15")
		gone(middle, "1:2,7:9,15")
		gone(h.look(inbox).Box.ModSeq, "")
		h.reopen()
	}
	if _, complete, err := h.Vanished(h.Context(), inbox, 0); err != nil || complete {
		h.Errorf("since before the box was: %v, %v", complete, err)
	}
	_, _, err := h.Vanished(h.Context(), 1<<30, 1)
	h.wants(err, mailbox.ErrNoBox)
}

func vanishedIsBounded(h *house) {
	inbox, sent := h.box("INBOX").ID, h.box("Sent").ID
	const moves, each = 5000, 100
	h.fill(inbox, moves)
	start := h.look(inbox).Box.ModSeq
	next := mailbox.UID(1)
	complete := true
	for complete {
		if next > moves {
			h.Fatal("every expunge is known for ever")
		}
		var changes []mailbox.Mutation
		for range each {
			changes = append(changes, mailbox.Move{From: inbox, UIDs: mailbox.UIDSet{{First: next, Last: next}}, To: sent})
			next++
		}
		h.do(changes...)
		var gone mailbox.UIDSet
		var err error
		gone, complete, err = h.Vanished(h.Context(), inbox, start)
		h.check(err)
		if complete && gone.Len() != int64(next)-1 || !complete && gone != nil {
			h.Fatalf("%v after %d", gone, next-1)
		}
	}
	last := h.look(inbox).Box.ModSeq
	h.do(mailbox.Move{From: inbox, UIDs: mailbox.UIDSet{{First: moves, Last: moves}}, To: sent})
	if gone, complete, err := h.Vanished(h.Context(), inbox, last); err != nil || !complete || gone.Len() != 1 {
		h.Errorf("%v, %v, %v", gone, complete, err)
	}
}
