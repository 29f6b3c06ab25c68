package mailboxtest

import (
	"fmt"
	"strings"
	"testing/synctest"

	"posthouse/mail/mime"
	"posthouse/mailbox"
)

// fileOne files a message in INBOX.
func (h *house) fileOne(text string) mailbox.BlobID {
	h.Helper()
	id, err := h.Stage(h.Context(), strings.NewReader(text))
	h.check(err)
	h.do(mailbox.Add{Box: h.box("INBOX").ID, Blob: id})
	return id
}

// suspects: what has a text is a suspect, whether it came before others, after them, or just now.
func suspects(h *house) {
	early, err := h.Stage(h.Context(), strings.NewReader("Subject: early\r\n\r\nA wombat.\r\n"))
	h.check(err)
	has := make(map[mailbox.BlobID]bool)
	for i := range 300 {
		if i%50 == 7 {
			has[h.fileOne(fmt.Sprintf("Subject: %d\r\n\r\nSome w\u00f6mbats.\r\nAnd a wombat.\r\n", i))] = true
			continue
		}
		h.fileOne(fmt.Sprintf("Subject: %d\r\n\r\nNothing.\r\n", i))
	}
	synctest.Wait()
	look := func() {
		h.Helper()
		found := h.Suspects(h.Context(), mime.AppendCollated(nil, []byte("a wombat")), []byte("OMBAT"), []byte("X"), nil)
		if len(found) != 4 {
			h.Fatalf("%d answers", len(found))
		}
		for id := range has {
			if !found[0].Has(id) || !found[1].Has(id) || !found[3].Has(id) {
				h.Errorf("content %d is no suspect", id)
			}
		}
	}
	look()
	h.do(mailbox.Add{Box: h.box("INBOX").ID, Blob: early})
	has[early] = true
	look()
	synctest.Wait()
	look()
	h.reopen()
	has[h.fileOne("Subject: late\r\n\r\nWombats: a wombat is one.\r\n")] = true
	look()
	synctest.Wait()
	look()
	if len(h.Suspects(h.Context())) != 0 {
		h.Error("an answer to nothing")
	}
}

// fuzzy: what is known has a score if it fits, and none if not.
func fuzzy(h *house) {
	fits, not := h.fileOne("Subject: Caf\u00e9 au lait\r\n\r\n"), h.fileOne("Subject: tea\r\n\r\ncafe\r\n")
	for in, want := range map[mailbox.Place][2]bool{mailbox.Anywhere: {true, true}, "subject": {true, false}, mailbox.InText: {false, true}} {
		r := h.Fuzzy(h.Context(), in, "CAF")
		for i, id := range []mailbox.BlobID{fits, not} {
			if r.Known(id) && (r.Score(id) > 0) != want[i] {
				h.Errorf("%q: content %d has %f", in, id, r.Score(id))
			}
		}
	}
	if (mailbox.Ranks{}).Known(fits) || !(mailbox.Suspects{}).Has(fits) {
		h.Error("without an index, something is known")
	}
}
