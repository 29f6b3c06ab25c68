package main

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2/imapclient"

	"posthouse/directory"
	"posthouse/internal/testkit"
	"posthouse/mail/mailtest"
)

// The server files what a user sends, for nobody but the user; the copy that the client appends, too, is the same message.
func TestSentCopy(t *testing.T) {
	p := newPost(t)
	p.start("north")
	p.start("south")
	if err := p.house("north").directory.SetSentCopies(t.Context(), mailtest.Address("alice@north.test"), directory.SentByServer); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(letter("alice@north.test", "bob@south.test", "kept", "the text\r\n"), "Subject:", "Bcc: carol@north.test\r\nSubject:", 1)
	if err := p.send("alice@north.test", text, "bob@south.test", "carol@north.test", "alice@north.test"); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"bob@south.test", "carol@north.test", "alice@north.test"} {
		if got := p.wait(who, 1)[0]; bytes.Contains(got, []byte("Bcc")) {
			t.Errorf("%s sees who else got it:\n%s", who, got)
		}
	}
	p.empty("north")
	if sent := p.read("alice@north.test", "Sent"); len(sent) != 1 || !bytes.HasPrefix(sent[0], []byte("Bcc: carol@north.test\r\n")) ||
		!bytes.Contains(sent[0], []byte("Dkim-Signature")) && !bytes.Contains(sent[0], []byte("DKIM-Signature")) {
		t.Fatalf("%q", sent)
	}

	c, err := imapclient.DialTLS(p.addr("north", 993), &imapclient.Options{TLSConfig: p.tls("north")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login("alice@north.test", p.password).Wait(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // as a client does that did not hear the answer
		w := c.Append("Sent", int64(len(text)), nil)
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if data, err := w.Wait(); err != nil || data.UID != 1 {
			t.Fatalf("%+v, %v", data, err)
		}
	}
	if sent := p.read("alice@north.test", "Sent"); len(sent) != 1 {
		t.Errorf("%q", sent)
	}
	if sent := p.read("bob@south.test", "Sent"); len(sent) != 0 {
		t.Errorf("bob has sent %q", sent)
	}
}

// What came back for good is refused at once the next time, until somebody says otherwise.
func TestSuppression(t *testing.T) {
	p := newPost(t)
	p.start("north")
	p.start("south")
	send := func(subject string) error {
		return p.send("alice@north.test", letter("alice@north.test", "nobody@south.test", subject, "?\r\n"), "nobody@south.test")
	}
	if err := send("first"); err != nil {
		t.Fatal(err)
	}
	p.wait("alice@north.test", 1)
	d := p.house("north").directory
	nobody := mailtest.Address("nobody@south.test")
	testkit.Until(t, "the address is suppressed", func() bool {
		s, err := d.Suppressed(context.Background(), nobody)
		return err == nil && strings.Contains(s.Reason, "550 5.1.1") && s.Expires.After(s.Since)
	})
	if err := send("second"); err == nil || !strings.Contains(err.Error(), "came back for good") {
		t.Errorf("%v", err)
	}
	if err := d.Unsuppress(t.Context(), nobody); err != nil {
		t.Fatal(err)
	}
	if err := send("third"); err != nil {
		t.Error(err)
	}
	p.wait("alice@north.test", 2)
}

// An account sends so much a day; what is refused has gone to nobody.
func TestAllowance(t *testing.T) {
	p := newPost(t)
	p.start("north")
	d := p.house("north").directory
	if err := d.SetAllowance(t.Context(), mailtest.Address("alice@north.test"), directory.Allowance{Messages: 2}); err != nil {
		t.Fatal(err)
	}
	var errs []error
	for _, subject := range []string{"first", "second", "second", "third"} { // the second comes again: its answer was not heard
		text := "X-Idempotency-Key: " + subject + "\r\n" + letter("alice@north.test", "carol@north.test", subject, "?\r\n")
		errs = append(errs, p.send("alice@north.test", text, "carol@north.test"))
	}
	if errs[0] != nil || errs[1] != nil || errs[2] != nil || errs[3] == nil || !strings.Contains(errs[3].Error(), "450") {
		t.Errorf("%v", errs)
	}
	if err := p.send("carol@north.test", letter("carol@north.test", "alice@north.test", "other", "?\r\n"), "alice@north.test"); err != nil {
		t.Error(err)
	}
	p.wait("carol@north.test", 2)
	p.wait("alice@north.test", 1)
}
