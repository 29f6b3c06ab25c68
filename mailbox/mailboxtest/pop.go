package mailboxtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing/iotest"
	"testing/synctest"

	"posthouse/mailbox"
)

// uidls: what an import brings is kept with its message, and is no other's.
func uidls(h *house) {
	inbox, sent := h.box("INBOX"), h.box("Sent")
	add := func(box mailbox.BoxID, uidl string) mailbox.Mutation {
		return mailbox.Add{Box: box, Blob: h.stage(letter), UIDL: uidl}
	}
	look := func(box mailbox.BoxID) string {
		names, err := h.UIDLs(h.Context(), box)
		h.check(err)
		var b strings.Builder
		for _, uid := range slices.Sorted(maps.Keys(names)) {
			fmt.Fprintf(&b, "%d=%s ", uid, names[uid])
		}
		return b.String()
	}
	if got := inbox.UIDL(26); got != fmt.Sprintf("0000001a%08x", inbox.UIDValidity) {
		h.Error(got)
	}
	long := strings.Repeat("~", mailbox.MaxUIDL)
	h.do(add(inbox.ID, "one"), add(inbox.ID, ""), add(inbox.ID, "!three~"), add(inbox.ID, long), add(inbox.ID, "ONE"),
		add(sent.ID, "one"), add(sent.ID, "two"))
	h.do(add(inbox.ID, "one"), add(inbox.ID, long+"~"), add(inbox.ID, "a b"), add(inbox.ID, "ü"), add(inbox.ID, "x\x7f"), // 6 to 10
		add(inbox.ID, inbox.UIDL(11)), add(inbox.ID, inbox.UIDL(1)), add(inbox.ID, inbox.UIDL(1<<31)), // 11 to 13
		add(inbox.ID, strings.ToUpper(inbox.UIDL(0xabcdef01))), add(inbox.ID, sent.UIDL(15))) // these are nobody's here
	want := "1=one 3=!three~ 4=" + long + " 5=ONE 14=" + strings.ToUpper(inbox.UIDL(0xabcdef01)) + " 15=" + sent.UIDL(15) + " "
	h.reopen()
	if got := look(inbox.ID); got != want {
		h.Errorf("%s; want %s", got, want)
	}
	if got := look(sent.ID); got != "1=one 2=two " {
		h.Error(got)
	}

	// It goes with its message, and to no copy.
	h.do(mailbox.Copy{From: sent.ID, UIDs: mailbox.AllUIDs(), To: inbox.ID}, mailbox.Move{From: sent.ID, UIDs: mailbox.NewUIDSet(mailbox.UIDRange{First: 2, Last: 2}), To: inbox.ID})
	if got := look(inbox.ID) + look(sent.ID); got != want+"1=one " {
		h.Error(got)
	}
	h.do(mailbox.SetFlags{Box: inbox.ID, UIDs: mailbox.AllUIDs(), Marks: makeMarks(`\Deleted`)},
		mailbox.Expunge{Box: inbox.ID, UIDs: mailbox.NewUIDSet(mailbox.UIDRange{First: 1, Last: 3}, mailbox.UIDRange{First: 5, Last: 15})})
	h.do(add(inbox.ID, "!three~"))
	if got := look(inbox.ID); got != "4="+long+" 19=!three~ " {
		h.Error(got)
	}
	h.refuse(mailbox.ErrNoBlob, add(inbox.ID, "never"), mailbox.Add{Box: inbox.ID, Blob: 1 << 30})
	box := h.makeBox("box")
	h.do(add(box.ID, "in"))
	h.do(mailbox.DeleteBox{Name: "box"})
	h.reopen()
	if got := look(box.ID) + look(inbox.ID); got != "4="+long+" 19=!three~ " {
		h.Error(got)
	}
}

// lineEnds: what a content lacks to be lines that end in CRLF is known of it, once it is filed.
func lineEnds(h *house) {
	inbox := h.box("INBOX").ID
	want := map[mailbox.BlobID]int64{}
	var adds []mailbox.Mutation
	for _, c := range []struct {
		text    string
		missing int64
	}{
		{"", 0}, {"\r\n", 0}, {letter, 0}, {"\n", 1}, {"x", 2}, {"a\nb\r\nc\n", 2}, {"a\r", 2}, {"\r\n\r", 2}, {"\r\r\n\n\r", 3}, {"a\x00", 2}, {"\x00\n", 1},
		{strings.Repeat("line\n", 200_000), 200_000}, {strings.Repeat("line\r\n", 200_000), 0},
	} {
		for _, in := range []func(string) mailbox.BlobID{h.stage, h.stageByOctets} {
			blob := in(c.text)
			if c.missing != 0 {
				want[blob] = c.missing
			}
			adds = append(adds, mailbox.Add{Box: inbox, Blob: blob})
			if len(c.text) > 1000 {
				break
			}
		}
	}
	look := func() map[mailbox.BlobID]int64 {
		got, err := h.LineEnds(h.Context())
		h.check(err)
		return got
	}
	if got := look(); len(got) != 0 {
		h.Errorf("of what is staged only: %v", got)
	}
	h.do(adds...)
	h.reopen()
	if got := look(); !maps.Equal(got, want) {
		h.Errorf("%v; want %v", got, want)
	}
	h.do(mailbox.SetFlags{Box: inbox, UIDs: mailbox.AllUIDs(), Marks: makeMarks(`\Deleted`)}, mailbox.Expunge{Box: inbox, UIDs: mailbox.AllUIDs()})
	synctest.Wait()
	if got := look(); len(got) != 0 {
		h.Errorf("of what is gone: %v", got)
	}
}

// stageByOctets stages a message that comes octet by octet.
func (h *house) stageByOctets(text string) mailbox.BlobID {
	h.Helper()
	id, err := h.Stage(h.Context(), iotest.OneByteReader(strings.NewReader(text)))
	h.check(err)
	return id
}
