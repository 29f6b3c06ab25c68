package imapd

import (
	"context"
	"testing"

	"posthouse/mail"
	"posthouse/mailbox"
)

// fullStore is a store on a disk that is full for all but new messages.
type fullStore struct{ mailbox.Store }

func (s fullStore) Account(ctx context.Context, id mail.AccountID) (mailbox.Account, error) {
	a, err := s.Store.Account(ctx, id)
	return fullAccount{a}, err
}

type fullAccount struct{ mailbox.Account }

func (a fullAccount) Apply(ctx context.Context, changes ...mailbox.Mutation) (mailbox.Applied, error) {
	if _, flags := changes[0].(mailbox.SetFlags); flags {
		return mailbox.Applied{}, mailbox.ErrFull
	}
	return a.Account.Apply(ctx, changes...)
}

// On a full disk mail can be read, though not marked as read.
func TestFetchOnAFullDisk(t *testing.T) {
	o := testOptions(t)
	o.Store, o.Log = fullStore{o.Store}, nil
	_, addr := start(t, o)
	c := dial(t, addr).login()
	c.send("a APPEND INBOX {3+}\r\nabc\r\nf FETCH 1 BODY[]\r\n")
	c.until("* 1 FETCH (BODY[] {3}")
	if line := c.line(); line != "abc)" {
		t.Error(line)
	}
	if line := c.line(); line != "f NO [UNAVAILABLE] No space left; try again later" {
		t.Error(line)
	}
}
