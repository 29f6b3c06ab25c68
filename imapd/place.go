package imapd

import (
	"context"
	"errors"

	"posthouse/directory"
	"posthouse/mailbox"
)

// place is a mailbox that a command names, with the account that has it.
type place struct {
	mailbox.Box
	account mailbox.Account
	quota   directory.Quota // of the account
	asked   string          // its name as the client wrote it, decoded
}

// place is the mailbox that the client wrote the name of.
func (s *session) place(ctx context.Context, raw string) (place, error) {
	name, err := s.dialect.name(raw)
	if err != nil {
		return place{}, err
	}
	return s.placeOf(ctx, name)
}

// placeOf is the mailbox of that name, in UTF-8.
func (s *session) placeOf(ctx context.Context, name string) (place, error) {
	box, err := s.account.Box(ctx, name)
	return place{box, s.account, s.who.Quota, name}, err
}

// destination is the place that messages go to. If it could be created, the client is told so: RFC 9051 §6.3.12, §6.4.7.
func (s *session) destination(ctx context.Context, raw string) (place, error) {
	at, err := s.place(ctx, raw)
	if errors.Is(err, mailbox.ErrNoBox) || at.NoSelect {
		err = errTryCreate
	}
	return at, err
}

// within is what refuses a change that is too much for the account.
func (at *place) within() mailbox.Within { return mailbox.Within(at.quota) }
