package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"posthouse/crypto/password"
	"posthouse/delivery/hop"
	"posthouse/directory"
	"posthouse/mail"
	"posthouse/mail/mailtest"
	"posthouse/mailbox"
)

// house is a directory and mailboxes, both real.
type house struct {
	*testing.T
	directory *directory.SQLite
	store     mailbox.Store
	transport *Transport
	accounts  map[string]mail.AccountID
}

func newHouse(t *testing.T) *house {
	dir := t.TempDir()
	d, err := directory.Open(dir+"/directory.db", directory.Options{Cost: password.Cost{Time: 1, Memory: 8, Iterations: 4096}})
	if err != nil {
		t.Fatal(err)
	}
	store, err := mailbox.OpenSQLite(mailbox.Options{Dir: dir + "/accounts"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(store.Close(), d.Close()); err != nil {
			t.Error(err)
		}
	})
	h := &house{T: t, directory: d, store: store, accounts: make(map[string]mail.AccountID)}
	h.transport = New(Options{Directory: d, Store: store})
	h.check(d.AddDomain(t.Context(), directory.Domain{Name: "south.test"}))
	for _, name := range []string{"bob", "dave"} {
		a, err := d.AddAccount(t.Context(), mailtest.Address(name+"@south.test"), "posthouse")
		h.check(err)
		h.accounts[name] = a.ID
	}
	h.check(d.AddAlias(t.Context(), directory.Alias{Address: mailtest.Address("both@south.test"), Target: mailtest.Address("bob@south.test")}))
	h.check(d.AddAlias(t.Context(), directory.Alias{Address: mailtest.Address("both@south.test"), Target: mailtest.Address("carol@north.test")}))
	return h
}

func (h *house) check(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

type content struct{ *strings.Reader }

func (content) Close() error { return nil }

// deliver delivers a message with an ID to recipients.
func (h *house) deliver(ctx context.Context, id mail.ID, text string, to ...string) string {
	h.Helper()
	task := hop.Task{Envelope: &mail.Envelope{ID: id, From: mailtest.Address("alice@north.test")}, Content: content{strings.NewReader(text)}}
	for _, s := range to {
		task.Recipients = append(task.Recipients, mail.Recipient{Address: mailtest.Address(s)})
	}
	var b strings.Builder
	for _, r := range h.transport.Deliver(ctx, hop.Hop{Kind: hop.Local}, task) {
		fmt.Fprintf(&b, "%d %s %v\n", r.Status, r.Reply, r.Targets)
	}
	return strings.TrimSpace(b.String())
}

// inbox is what is in somebody's inbox.
func (h *house) inbox(name string) (messages []string) {
	h.Helper()
	return h.box(name, mailbox.Inbox)
}

// box is what is in a box of somebody's.
func (h *house) box(name, box string) (messages []string) {
	h.Helper()
	ctx := h.Context()
	a, err := h.store.Account(ctx, h.accounts[name])
	h.check(err)
	defer a.Close()
	b, err := a.Box(ctx, box)
	h.check(err)
	s, err := a.Snapshot(ctx, b.ID)
	h.check(err)
	for _, m := range s.All() {
		c, err := a.Open(ctx, m.Blob)
		h.check(err)
		var b bytes.Buffer
		_, err = io.Copy(&b, io.NewSectionReader(c, 0, c.Size()))
		h.check(errors.Join(err, c.Close()))
		messages = append(messages, b.String())
	}
	return messages
}

const message = "Subject: hello\r\n\r\nThe body.\r\n"

func TestFiled(t *testing.T) {
	h := newHouse(t)
	want := "1 250 2.1.5 filed []\n1 250 2.1.5 filed []\n1 250 2.1.5 filed []"
	for range 2 { // the second time as after a crash before the queue knew
		if got := h.deliver(t.Context(), 7, message, "bob@south.test", "Bob+tag@south.test", "dave@south.test"); got != want {
			t.Errorf("%s", got)
		}
	}
	// Two addresses of one account are two messages.
	got := h.inbox("bob")
	if len(got) != 2 || len(h.inbox("dave")) != 1 {
		t.Fatalf("%q", got)
	}
	all := strings.Join(got, "")
	for _, to := range []string{"bob@south.test", "Bob+tag@south.test"} {
		if want := "Return-Path: <alice@north.test>\r\nDelivered-To: " + to + "\r\n" + message; !strings.Contains(all, want) {
			t.Errorf("%q has no %q", all, want)
		}
	}
}

func TestRefused(t *testing.T) {
	h := newHouse(t)
	h.check(h.directory.SetDisabled(t.Context(), mailtest.Address("dave@south.test"), time.Now().Add(-time.Hour)))
	for to, want := range map[string]string{
		"nobody@south.test": "3 550 5.1.1 no such address here []",
		"bob@north.test":    "3 550 5.1.2 not a domain of ours []",
		"dave@south.test":   "3 550 5.2.1 the account is disabled []",
		"both@south.test":   "1 250 2.1.5 sent on [bob@south.test carol@north.test]",
	} {
		if got := h.deliver(t.Context(), 7, message, to); got != want {
			t.Errorf("%s: %s, want %s", to, got, want)
		}
	}
}

func TestLoop(t *testing.T) {
	h := newHouse(t)
	const loop = "3 554 5.4.6 mail loop: it was delivered to this address before []"
	for header, want := range map[string]string{
		"Delivered-To: bob@south.test":                            loop,
		"Received: x\r\n y\r\nDelivered-To: \r\n BOB@south.test ": loop,
		"Delivered-To: carol@south.test":                          "1 250 2.1.5 filed []",
		"X-Delivered-To: bob@south.test":                          "1 250 2.1.5 filed []",
		"Subject: x\r\n\r\nDelivered-To: bob@south.test":          "1 250 2.1.5 filed []",
	} {
		if got := h.deliver(t.Context(), mail.ID(len(header)), header+"\r\n"+message, "bob@south.test"); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}

func TestStopped(t *testing.T) {
	h := newHouse(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := h.deliver(ctx, 7, message, "bob@south.test"); got != "0 0 []" {
		t.Error(got)
	}
	if got := h.inbox("bob"); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

// TestEveryErrorHasAReply: whatever the directory or a mailbox says is an SMTP reply that fits; what is not said is for later.
func TestEveryErrorHasAReply(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{directory.ErrNoAddress, 550}, {directory.ErrNotLocal, 550}, {directory.ErrDisabled, 550}, {directory.ErrAliasLoop, 554},
		{directory.ErrUnavailable, 451}, {mailbox.ErrOverQuota, 452}, {mailbox.ErrLimit, 452}, {mailbox.ErrFull, 452},
		{mailbox.ErrFailed, 451}, {mailbox.ErrCorrupt, 451}, {mailbox.ErrClosed, 451}, {mailbox.ErrNoBox, 451}, {io.ErrUnexpectedEOF, 451},
	} {
		r := replyTo(fmt.Errorf("wrapped: %w", c.err))
		if r.Code != c.want || int(r.Enhanced[0]) != r.Code/100 {
			t.Errorf("%v: %v", c.err, r)
		}
	}
}

// TestBinary: a mailbox holds lines (RFC 3030 §3), and a message that cannot be made of them comes back.
func TestBinary(t *testing.T) {
	h := newHouse(t)
	task := hop.Task{Envelope: &mail.Envelope{ID: 7, Body: mail.BodyBinaryMIME}, Recipients: []mail.Recipient{{Address: mailtest.Address("bob@south.test")}}}
	task.Content = content{strings.NewReader("Content-Type: multipart/encrypted; boundary=b\r\n\r\n--b\r\n\r\n\x00\r\n--b--\r\n")}
	if got := h.transport.Deliver(t.Context(), hop.Hop{Kind: hop.Local}, task); got[0].Status != hop.Permanent || got[0].Reply.Enhanced != [3]uint16{5, 6, 2} {
		t.Errorf("%+v", got)
	}
	task.Content = content{strings.NewReader("Content-Type: image/x\r\nContent-Transfer-Encoding: binary\r\n\r\n\xff\n\x00")}
	if got := h.transport.Deliver(t.Context(), hop.Hop{Kind: hop.Local}, task); got[0].Status != hop.Delivered {
		t.Errorf("%+v", got)
	}
	want := "Content-Type: image/x\r\nContent-Transfer-Encoding: base64\r\nMIME-Version: 1.0\r\n\r\n/woA\r\n"
	if got := h.inbox("bob"); len(got) != 1 || !strings.HasSuffix(got[0], want) {
		t.Errorf("%q", got)
	}
}
