package local

import (
	"slices"
	"strings"
	"testing"

	"posthouse/delivery/hop"
	"posthouse/mail"
	"posthouse/mail/mailtest"
	"posthouse/mail/mime"
	"posthouse/mailbox"
)

// apply changes bob's boxes.
func (h *house) apply(changes ...mailbox.Mutation) []mailbox.Result {
	h.Helper()
	a, err := h.store.Account(h.Context(), h.accounts["bob"])
	h.check(err)
	defer a.Close()
	applied, err := a.Apply(h.Context(), changes...)
	h.check(err)
	return applied.Results
}

// appends files a message in bob's Sent box as a client does, and says whether it was there already.
func (h *house) appends(text string, marks mailbox.Flags) bool {
	h.Helper()
	a, err := h.store.Account(h.Context(), h.accounts["bob"])
	h.check(err)
	defer a.Close()
	box, err := a.Box(h.Context(), "Sent")
	h.check(err)
	blob, err := a.Stage(h.Context(), strings.NewReader(text))
	h.check(err)
	twin := mime.NewTwin()
	twin.Write([]byte(text))
	add := mailbox.Add{Box: box.ID, Blob: blob, Marks: mailbox.Marks{System: marks}}
	return h.apply(add.ByClient(twin.String()))[0].Duplicate
}

// own delivers bob's own copy.
func (h *house) own(id mail.ID, text, bcc string) {
	h.Helper()
	env := mail.Envelope{ID: id, From: mailtest.Address("bob@south.test"), Bcc: bcc, Origin: mail.Origin{Account: h.accounts["bob"]}}
	task := hop.Task{Envelope: &env, Content: content{strings.NewReader(text)}}
	task.Recipients = []mail.Recipient{{Address: mailtest.Address("bob@south.test"), Own: true}}
	if r := h.transport.Deliver(h.Context(), hop.Hop{Kind: hop.Local}, task)[0]; r.Status != hop.Delivered || r.Via != "Sent box of bob@south.test" {
		h.Fatalf("%+v", r)
	}
}

// The server's copy and the client's are one message, whichever comes first; a message sent twice is there twice.
func TestOwnCopy(t *testing.T) {
	h := newHouse(t)
	sent := "Received: by south.test\r\nMessage-ID: <1@south.test>\r\nTo: a@north.test\r\n\r\nHello.\r\n"
	clients := "Message-ID: <1@south.test>\r\nTo: a@north.test\r\nBcc: c@north.test\r\n\r\nHello.\r\n"
	bcc := "Bcc: c@north.test\r\n"
	h.own(1, sent, bcc)
	h.own(1, sent, bcc) // the queue did not hear that it was done
	if !h.appends(clients, mailbox.Flagged) {
		t.Error("the client's copy is not the server's")
	}
	if got := h.box("bob", "Sent"); !slices.Equal(got, []string{bcc + sent}) {
		t.Errorf("%q", got)
	}
	second := strings.NewReplacer("<1@", "<2@")
	if h.appends(second.Replace(clients), mailbox.Seen) {
		t.Error("another message is taken for the first")
	}
	if h.appends(second.Replace(clients), mailbox.Seen) {
		t.Error("what a client files twice is there once")
	}
	h.own(2, second.Replace(sent), bcc)
	if got := h.box("bob", "Sent"); !slices.Equal(got, []string{bcc + sent, second.Replace(clients), second.Replace(clients)}) {
		t.Errorf("%q", got)
	}
	if got := h.inbox("bob"); len(got) != 0 {
		t.Errorf("in the inbox: %q", got)
	}
}

// Where there is no box for it any more, there is one again.
func TestBoxFor(t *testing.T) {
	h := newHouse(t)
	const text = "Message-ID: <1@south.test>\r\n\r\nHello.\r\n"
	h.apply(mailbox.DeleteBox{Name: "Sent"})
	h.own(1, text, "")
	if got := h.box("bob", "Sent"); len(got) != 1 {
		t.Errorf("%q", got)
	}
	h.apply(mailbox.RenameBox{From: "Sent", To: "Gesendet"})
	h.own(2, text, "")
	if got := h.box("bob", "Gesendet"); len(got) != 2 {
		t.Errorf("%q", got)
	}
	h.apply(mailbox.DeleteBox{Name: "Gesendet"}, mailbox.CreateBox{Name: "Sent"})
	h.own(3, text, "")
	if got := h.box("bob", "Sent"); len(got) != 1 {
		t.Errorf("%q", got)
	}
}

// What admission put in quarantine is in Junk.
func TestQuarantine(t *testing.T) {
	h := newHouse(t)
	env := mail.Envelope{ID: 7, From: mailtest.Address("alice@north.test"), Quarantined: true}
	task := hop.Task{Envelope: &env, Content: content{strings.NewReader("Subject: x\r\n\r\nx\r\n")}}
	task.Recipients = []mail.Recipient{{Address: mailtest.Address("bob@south.test")}}
	if r := h.transport.Deliver(t.Context(), hop.Hop{Kind: hop.Local}, task)[0]; r.Status != hop.Delivered || r.Via != "Junk box of bob@south.test" {
		t.Fatalf("%+v", r)
	}
	if in, junk := h.inbox("bob"), h.box("bob", "Junk"); len(in) != 0 || len(junk) != 1 || !strings.Contains(junk[0], "Delivered-To: bob@south.test") {
		t.Errorf("inbox %q, Junk %q", in, junk)
	}
}

// A copy whose address has become somebody else's, or an alias that leads out of the house, goes to nobody.
func TestOwnCopyIsNobodyElses(t *testing.T) {
	h := newHouse(t)
	for _, address := range []string{"dave@south.test", "both@south.test"} {
		env := mail.Envelope{ID: 1, From: mailtest.Address(address), Origin: mail.Origin{Account: h.accounts["bob"]}}
		task := hop.Task{Envelope: &env, Content: content{strings.NewReader(message)}}
		task.Recipients = []mail.Recipient{{Address: mailtest.Address(address), Own: true}}
		if r := h.transport.Deliver(h.Context(), hop.Hop{Kind: hop.Local}, task)[0]; r.Status != hop.Permanent || r.Targets != nil {
			t.Errorf("%s: %+v", address, r)
		}
	}
	if got := h.box("dave", "Sent"); len(got) != 0 {
		t.Errorf("dave has sent %q", got)
	}
}
