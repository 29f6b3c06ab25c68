package imapd

import (
	"context"

	"posthouse/mail"
	"posthouse/mailbox"
)

// Extra is a mailbox that is shown among each user's own and kept elsewhere: his mail that waits to be sent.
type Extra struct {
	Name   string
	Rights mailbox.Rights
	Open   func(mail.AccountID) mailbox.Account // with this one mailbox
}

// extraPlace is the extra mailbox, if that is its name. One of the user's own of that name, from before, comes first.
func (s *session) extraPlace(ctx context.Context, name string) (at place, is bool, err error) {
	extra := s.server.opts.Extra
	if extra == nil || name != extra.Name {
		return at, false, nil
	}
	if s.extra == nil {
		s.extra = extra.Open(s.who.ID)
	}
	box, err := s.extra.Box(ctx, name)
	return place{Box: box, account: s.extra, owner: s.who.ID + "/", rights: extra.Rights, asked: name}, true, err // no account has such an ID
}

// closeExtra lets go of it at the session's end.
func (s *session) closeExtra() error {
	if s.extra == nil {
		return nil
	}
	err := s.extra.Close()
	s.extra = nil
	return err
}
