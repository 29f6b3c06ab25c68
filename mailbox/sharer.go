package mailbox

import (
	"context"
	"slices"
	"strings"

	"posthouse/mail"
)

// Hints are kept of who has been granted anything in an account, so that nobody has to look into every one.
type Hints interface {
	Share(ctx context.Context, owner, with mail.AccountID) error
	Unshare(ctx context.Context, owner, with mail.AccountID) error
}

// Sharer changes who may do what in the boxes of an account, and keeps the hints. These name too many rather than too few, whatever
// happens: a hint is written before what it is about, and forgotten after it.
type Sharer struct {
	Account Account
	Owner   mail.AccountID
	Hints   Hints
}

// Set makes the changes, in one Apply.
func (s Sharer) Set(ctx context.Context, changes ...SetRights) error {
	mutations := make([]Mutation, len(changes))
	for i, c := range changes {
		mutations[i] = c
	}
	if err := s.hint(ctx, changes); err != nil {
		return err
	}
	if _, err := s.Account.Apply(ctx, mutations...); err != nil {
		return err
	}
	if err := s.hint(ctx, changes); err != nil { // for somebody may have forgotten it since
		return err
	}
	return s.forget(ctx, changes)
}

// gives tells whether a change may grant something, and takes whether it may have taken the last.
func (m SetRights) gives() bool { return m.Rights != 0 && m.Op != RemoveFlags && !m.isNegative() }
func (m SetRights) takes() bool { return !m.gives() && m.Op != AddFlags && !m.isNegative() }

func (m SetRights) isNegative() bool { return strings.HasPrefix(m.Who, negative) }

// hint notes whom changes grant something.
func (s Sharer) hint(ctx context.Context, changes []SetRights) error {
	last := ""
	for _, c := range changes {
		if !c.gives() || c.Who == last {
			continue
		}
		if err := s.Hints.Share(ctx, s.Owner, mail.AccountID(c.Who)); err != nil {
			return err
		}
		last = c.Who
	}
	return nil
}

// forget forgets the hints of those who are granted nothing any more.
func (s Sharer) forget(ctx context.Context, changes []SetRights) error {
	last := ""
	for _, c := range changes {
		if !c.takes() || c.Who == last {
			continue
		}
		last = c.Who
		granted, err := s.grants(ctx, c.Who)
		if err == nil && !granted {
			err = s.Hints.Unshare(ctx, s.Owner, mail.AccountID(c.Who))
		}
		if err != nil {
			return err
		}
		if granted {
			continue
		}
		if granted, err = s.grants(ctx, c.Who); err == nil && granted { // meanwhile
			err = s.Hints.Share(ctx, s.Owner, mail.AccountID(c.Who))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// grants tells whether a box of the account grants somebody anything.
func (s Sharer) grants(ctx context.Context, who string) (bool, error) {
	boxes, err := s.Account.Boxes(ctx)
	return slices.ContainsFunc(boxes, func(b Box) bool {
		return slices.ContainsFunc(b.ACL, func(g Grant) bool { return g.Who == who })
	}), err
}
