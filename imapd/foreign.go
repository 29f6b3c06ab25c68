package imapd

import (
	"context"
	"errors"
	"slices"

	"posthouse/directory"
	"posthouse/mail"
	"posthouse/mailbox"
)

// sharing is who may have granted whom rights to mailboxes, and how much accounts may hold: directory.Directory.
type sharing interface {
	SetQuota(ctx context.Context, login mail.Address, q directory.Quota) error
	Account(ctx context.Context, login mail.Address) (directory.Account, error)
	AccountByID(ctx context.Context, id mail.AccountID) (directory.Account, error)
	Share(ctx context.Context, owner, with mail.AccountID) error
	Unshare(ctx context.Context, owner, with mail.AccountID) error
	MayShare(ctx context.Context, owner, with mail.AccountID) (bool, error)
	SharedWith(ctx context.Context, id mail.AccountID) ([]directory.Account, error)
}

// maxForeign is how many accounts of others a session has open: those of the commands under way, and that of the selected mailbox.
const maxForeign = directory.MaxOwners + 1

// foreign is another's account that the session has open: for a command that names a mailbox of it, or since one of them is selected.
type foreign struct {
	directory.Account
	mailbox mailbox.Account // as the session's user has it
	prefix  string          // of the names of its mailboxes
}

// place is a mailbox of the account.
func (f *foreign) place(box mailbox.Box, user mail.AccountID) place {
	return place{Box: box, account: f.mailbox, owner: f.ID, quota: f.Quota, prefix: f.prefix, rights: box.RightsOf(user)}
}

// rootOf is the namespace that an account's mailboxes are in.
func rootOf(a *directory.Account) string {
	if a.Shared {
		return sharedFolders
	}
	return otherUsers
}

// foreignAccount is the account that a name is in. One that does not exist and one that shares nothing with the user are the same to him.
func (s *session) foreignAccount(ctx context.Context, name foreignName) (*foreign, error) {
	if name.owner.IsNull() || name.box == "" || s.server.opts.Sharing == nil {
		return nil, mailbox.ErrNoBox
	}
	owner, err := s.server.opts.Sharing.Account(ctx, name.owner)
	switch {
	case errors.Is(err, directory.ErrNoAccount):
		return nil, mailbox.ErrNoBox
	case err != nil:
		return nil, err
	case rootOf(&owner) != name.root || owner.ID == s.who.ID:
		return nil, mailbox.ErrNoBox
	}
	may, err := s.server.opts.Sharing.MayShare(ctx, owner.ID, s.who.ID)
	if err != nil {
		return nil, err
	}
	if !may {
		return nil, mailbox.ErrNoBox
	}
	return s.openForeign(ctx, owner)
}

// openForeign opens another's account until the command ends.
func (s *session) openForeign(ctx context.Context, owner directory.Account) (*foreign, error) {
	if f := s.foreign[owner.ID]; f != nil {
		f.Account = owner
		return f, nil
	}
	if len(s.foreign) >= maxForeign {
		return nil, errTooMany
	}
	account, err := s.server.opts.Store.AccountAs(ctx, owner.ID, s.who.ID)
	if err != nil {
		return nil, err
	}
	f := &foreign{owner, account, foreignPrefix(rootOf(&owner), owner.Login)}
	if s.foreign == nil {
		s.foreign = make(map[mail.AccountID]*foreign)
	}
	s.foreign[owner.ID] = f
	return f, nil
}

// closeForeign lets go of others' accounts but for that of the selected mailbox, unless commands are under way that may read them.
func (s *session) closeForeign() {
	if len(s.errands) > 0 {
		return
	}
	for id, f := range s.foreign {
		if s.view != nil && s.view.account == f.mailbox {
			continue
		}
		delete(s.foreign, id)
		if err := f.mailbox.Close(); err != nil {
			s.log.Warn("closing an account", "err", err)
		}
	}
}

// owners are the accounts that share with the user and whose mailboxes may have names that match one of the patterns.
func (s *session) owners(ctx context.Context, patterns []string) ([]directory.Account, error) {
	if s.server.opts.Sharing == nil || !reachesAny(patterns, otherUsers) && !reachesAny(patterns, sharedFolders) {
		return nil, nil
	}
	owners, err := s.server.opts.Sharing.SharedWith(ctx, s.who.ID)
	return slices.DeleteFunc(owners, func(owner directory.Account) bool {
		root := rootOf(&owner)
		prefix := foreignPrefix(root, owner.Login)
		return !matchAny(patterns, root) && !reachesAny(patterns, prefix[:len(prefix)-len(mailbox.Separator)])
	}), err
}

// foreignPlaces calls each for every mailbox of others that the user may list and whose name may match one of the patterns.
func (s *session) foreignPlaces(ctx context.Context, patterns []string, each func(place)) error {
	owners, err := s.owners(ctx, patterns)
	if err != nil {
		return err
	}
	for _, owner := range owners {
		f, err := s.openForeign(ctx, owner)
		if err != nil {
			return err
		}
		boxes, err := f.mailbox.Boxes(ctx)
		if errors.Is(err, mailbox.ErrClosed) { // it was removed just now
			continue
		}
		if err != nil {
			return err
		}
		for _, box := range boxes {
			if at := f.place(box, s.who.ID); toList.check(at.rights) == nil {
				each(at)
			}
		}
	}
	return nil
}

func reachesAny(patterns []string, prefix string) bool {
	for _, p := range patterns {
		if reaches(p, prefix) {
			return true
		}
	}
	return false
}
