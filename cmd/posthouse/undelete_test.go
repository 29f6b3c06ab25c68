package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"posthouse/internal/testkit"
)

// What a user expunged, from a box that is gone as well, is filed again.
func TestUndelete(t *testing.T) {
	s := newServer(t, "")
	s.start()
	const alice = "alice@house.test"
	s.addAccount(alice)
	for i, subject := range []string{"first", "second", "third"} {
		if err := s.deliver("bob@sender.test", letter("bob@sender.test", alice, subject, "hello\r\n"), alice); err != nil {
			t.Fatal(err)
		}
		testkit.Until(t, "the letter is there", func() bool { return len(fetchAll(t, s, alice)) == i+1 }) // one delivered later may come sooner
	}
	c, err := s.login(alice)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	deleted := &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}
	all := imap.SeqSetNum(1)
	created := c.Create("Work", nil).Wait()
	_, selected := c.Select("INBOX", nil).Wait()
	_, moved := c.Move(imap.SeqSetNum(1, 2), "Work").Wait()
	for _, err := range []error{
		created, selected, moved, c.Store(all, deleted, nil).Close(), c.Expunge().Close(), c.Delete("Work").Wait(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}

	list := s.run("mailbox", "undelete", alice, "--list")
	for _, want := range []string{"Work", "INBOX", "first", "second", "third", "bob@sender.test"} {
		if !strings.Contains(list, want) {
			t.Errorf("%s is not in:\n%s", want, list)
		}
	}
	s.holds("1 messages", "mailbox", "undelete", alice, "--box", "Work", "--subject", "SECOND")
	if status, err := c.Status("Work", &imap.StatusOptions{NumMessages: true}).Wait(); err != nil || *status.NumMessages != 1 {
		t.Errorf("%+v, %v", status, err)
	}
	s.holds("2 messages", "mailbox", "undelete", alice, "--since", "1h", "--into", "Back")
	if back, err := c.Select("Back", nil).Wait(); err != nil || back.NumMessages != 2 {
		t.Errorf("%+v, %v", back, err)
	}

	if err := errors.Join(c.Store(imap.SeqSetNum(1, 2), deleted, nil).Close(), c.Expunge().Close()); err != nil {
		t.Fatal(err)
	}
	s.run("mailbox", "purge", alice)
	if got := s.run("mailbox", "undelete", alice, "--list"); got != "" {
		t.Error(got)
	}
	if out, err := s.command("mailbox", "undelete", alice).CombinedOutput(); err == nil || !strings.Contains(string(out), "--all") {
		t.Errorf("%v: %s", err, out)
	}
}
