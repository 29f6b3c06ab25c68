package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"posthouse/internal/testkit"
)

// submit sends a letter as an account made by addAccount.
func (s *server) submit(from, text string, to ...string) error {
	c, err := smtp.Dial(s.submission)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Auth(sasl.NewPlainClient("", from, "secret")); err != nil {
		return err
	}
	return c.SendMail(from, to, strings.NewReader(text))
}

// What an account sends waits for a moment where it sees it, and can take it back: by expunging it there, or by moving it to its drafts.
func TestScheduled(t *testing.T) {
	s := newServer(t, "[submission]\nundo_window = \"60s\"\n")
	s.start()
	const alice, bob = "alice@house.test", "bob@house.test"
	s.addAccount(alice)
	s.addAccount(bob)
	heard := make(chan uint32, 10)
	c, err := imapclient.DialInsecure(s.imap, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(data *imapclient.UnilateralDataMailbox) {
			if data.NumMessages != nil {
				heard <- *data.NumMessages
			}
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(alice, "secret").Wait(); err != nil {
		t.Fatal(err)
	}
	if box, err := c.Select("Scheduled", nil).Wait(); err != nil || box.NumMessages != 0 {
		t.Fatalf("%+v, %v", box, err)
	}
	idle, err := c.Idle()
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"stays", "canceled", "a draft again"} {
		if err := s.submit(alice, letter(alice, bob, subject, "hello\r\n"), bob); err != nil {
			t.Fatal(err)
		}
	}
	for n := uint32(0); n < 3; { // it is told at once
		select {
		case n = <-heard:
		case <-time.After(20 * time.Second):
			t.Fatalf("%d messages were told", n)
		}
	}
	if err := idle.Close(); err != nil {
		t.Fatal(err)
	}
	messages, err := c.Fetch(imap.SeqSetNum(1, 2, 3), &imap.FetchOptions{Envelope: true, BodyStructure: &imap.FetchItemBodyStructure{}, RFC822Size: true}).Collect()
	if err != nil || len(messages) != 3 || messages[1].Envelope.Subject != "canceled" {
		t.Fatalf("%+v, %v", messages, err)
	}
	deleted := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
	if _, err := c.Move(imap.SeqSetNum(3), "Drafts").Wait(); err != nil {
		t.Fatal(err)
	}
	if err := c.Store(imap.SeqSetNum(2), deleted, nil).Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Expunge().Close(); err != nil {
		t.Fatal(err)
	}
	if list := s.run("queue", "list"); strings.Count(list, bob) != 1 {
		t.Errorf("the queue:\n%s", list)
	}
	if draft := fetchBox(t, c, "Drafts"); len(draft) != 1 || !strings.Contains(string(draft[0]), "a draft again") {
		t.Errorf("%s", draft)
	}
	s.run("queue", "retry", "--to", bob)
	testkit.Until(t, "the letter is there", func() bool { return len(fetchAll(t, s, bob)) == 1 })
	if got := fmt.Sprint(fetchAll(t, s, bob)); !strings.Contains(string(fetchAll(t, s, bob)[0]), "stays") {
		t.Error(got)
	}
	if box, err := c.Status("Scheduled", &imap.StatusOptions{NumMessages: true}).Wait(); err != nil || *box.NumMessages != 0 {
		t.Errorf("%+v, %v", box, err)
	}
}
