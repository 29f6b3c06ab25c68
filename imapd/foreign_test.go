package imapd

import (
	"context"
	"sync/atomic"
	"testing"

	"posthouse/mail"
	"posthouse/mail/mailtest"
	"posthouse/mailbox"
)

// counting counts the accounts of others that are open.
type counting struct {
	mailbox.Store
	open, most atomic.Int64
}

type counted struct {
	mailbox.Account
	store *counting
}

func (c *counting) AccountAs(ctx context.Context, id, user mail.AccountID) (mailbox.Account, error) {
	a, err := c.Store.AccountAs(ctx, id, user)
	if err != nil {
		return nil, err
	}
	c.most.Store(max(c.most.Load(), c.open.Add(1)))
	return &counted{a, c}, nil
}

func (a *counted) Close() error {
	a.store.open.Add(-1)
	return a.Account.Close()
}

// Accounts of others are open as long as a command runs that names a mailbox of theirs, or one of them is selected.
func TestForeignAccountsAreClosed(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	grant(t, &o, "bob@south.test INBOX dave@south.test lrswipkxtea; team@south.test INBOX anyone lr")
	store := &counting{Store: o.Store}
	o.Store = store
	_, addr := start(t, o)
	c := dial(t, addr)
	c.send("l LOGIN dave@south.test posthouse\r\n")
	c.until("l OK")
	const bobs = `"Other Users/bob@south.test/INBOX"`
	for _, step := range []struct {
		command string
		open    int64 // after it
	}{
		{`LIST "" *`, 0},
		{"STATUS " + bobs + " (MESSAGES)", 0},
		{"SELECT " + bobs, 1},
		{`LIST "" *`, 1},
		{"GETACL " + bobs, 1},
		{`SELECT "Shared Folders/team@south.test/INBOX"`, 1},
		{"STATUS " + bobs + " (MESSAGES)", 1},
		{"UNSELECT", 0},
		{"SELECT " + bobs, 1},
		{"UNAUTHENTICATE", 0},
		{"LOGIN carol@south.test posthouse", 0},
		{`EXAMINE "Shared Folders/team@south.test/INBOX"`, 1},
	} {
		c.send("a " + step.command + "\r\n")
		c.until("a OK")
		c.send("b NOOP\r\n") // the accounts are closed when the next command begins
		c.until("b OK")
		if n := store.open.Load(); n != step.open {
			t.Errorf("%d accounts are open after %s; want %d", n, step.command, step.open)
		}
	}
	if n := store.most.Load(); n != 2 {
		t.Errorf("at most %d accounts were open", n)
	}
	c.send("c LOGOUT\r\n")
	c.until("c OK")
	c.expectEnd()
	if n := store.open.Load(); n != 0 {
		t.Errorf("%d accounts are open after the session", n)
	}
}

// Sessions that have a mailbox of an account selected end when the account is removed; others of the same users go on.
func TestOwnerIsRemoved(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	grant(t, &o, "bob@south.test INBOX dave@south.test lrs")
	s, addr := start(t, o)
	var clients []*client
	for range 3 {
		c := dial(t, addr)
		c.send("l LOGIN dave@south.test posthouse\r\n")
		c.until("l OK")
		clients = append(clients, c)
	}
	idle, waiting, other := clients[0], clients[1], clients[2]
	for _, c := range clients[:2] {
		c.send("s SELECT \"Other Users/bob@south.test/INBOX\"\r\n")
		c.until("s OK")
	}
	idle.send("a IDLE\r\n")
	idle.until("+ ")
	bob, err := o.Sharing.Account(t.Context(), mailtest.Address("bob@south.test"))
	if err != nil {
		t.Fatal(err)
	}
	s.Disconnect(bob.ID)
	if err := o.Store.Remove(t.Context(), bob.ID); err != nil {
		t.Fatal(err)
	}
	idle.until("* BYE The selected mailbox was deleted")
	idle.expectEnd()
	waiting.send("a FETCH 1:* FLAGS\r\n")
	waiting.until("* BYE The selected mailbox was deleted")
	waiting.until("a NO")
	waiting.expectEnd()
	other.send("a NOOP\r\n")
	other.until("a OK")
}
