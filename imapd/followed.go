package imapd

import (
	"context"
	"errors"
	"slices"

	"posthouse/directory"
	"posthouse/mail"
	"posthouse/mailbox"
)

// followed is an account that NOTIFY follows: the user's own, another's, or the one that has the extra mailbox.
type followed struct {
	place   // of each of its mailboxes, but for what is the mailbox's own
	rights  func(*mailbox.Box) mailbox.Rights
	foreign bool // the account was opened to be followed

	changes   <-chan mailbox.ModSeq
	news      bool                      // there may be something to tell
	boxes     map[mailbox.BoxID]*listed // as the client knows them; nil: not compared yet
	annotated mailbox.ModSeq            // up to which it was told of metadata; of the user's own account awareness knows
}

// follow begins to follow an account.
func (n *notification) follow(f *followed) (err error) {
	if f.changes, err = n.watch(f.account); err == nil {
		n.accounts = append(n.accounts, f)
	}
	return err
}

// followOwn begins to follow the user's own account.
func (n *notification) followOwn(s *session) error {
	all := func(*mailbox.Box) mailbox.Rights { return mailbox.AllRights }
	return n.follow(&followed{place: place{account: s.account, owner: s.who.ID}, rights: all})
}

// followReached begins to follow those accounts that the groups reach by now. None is let go before NOTIFY ends: what the user may not see
// any more he is told to be gone.
func (n *notification) followReached(ctx context.Context, s *session) error {
	sources := make([]source, len(n.groups))
	for i := range n.groups {
		sources[i] = n.groups[i].source
	}
	patterns, err := s.reach(ctx, sources)
	if err != nil || len(patterns) == 0 {
		return err
	}
	owners, err := s.owners(ctx, patterns)
	if err != nil {
		return err
	}
	for i := range owners {
		if err := n.followForeign(ctx, s, &owners[i]); err != nil {
			return err
		}
	}
	return n.followExtra(ctx, s, patterns)
}

func (n *notification) followForeign(ctx context.Context, s *session, owner *directory.Account) error {
	switch {
	case n.of(owner.ID) != nil:
		return nil
	case len(n.accounts) > maxFollowed:
		return errOverflow
	}
	account, err := s.server.opts.Store.AccountAs(ctx, owner.ID, s.who.ID)
	if err != nil {
		return err
	}
	user := s.who.ID
	f := &followed{
		place:   place{account: account, owner: owner.ID, prefix: foreignPrefix(rootOf(owner), owner.Login)},
		rights:  func(b *mailbox.Box) mailbox.Rights { return b.RightsOf(user) },
		foreign: true, news: true,
	}
	if err := n.follow(f); err != nil {
		return errors.Join(err, account.Close())
	}
	return nil
}

// followExtra begins to follow the extra mailbox, if it is named.
func (n *notification) followExtra(ctx context.Context, s *session, patterns []string) error {
	extra := s.server.opts.Extra
	if extra == nil || !slices.Contains(patterns, extra.Name) {
		return nil
	}
	at, err := s.placeOf(ctx, extra.Name, toList)
	if err != nil || n.of(at.owner) != nil {
		return err
	}
	rights := func(*mailbox.Box) mailbox.Rights { return at.rights }
	return n.follow(&followed{place: at, rights: rights, news: true})
}

// of is the account of that ID; nil if it is not followed.
func (n *notification) of(owner mail.AccountID) *followed {
	if i := slices.IndexFunc(n.accounts, func(f *followed) bool { return f.owner == owner }); i >= 0 {
		return n.accounts[i]
	}
	return nil
}

// look are the mailboxes of the account that the user may list by now, by name. One that was removed has none.
func (f *followed) look(ctx context.Context, subscribed map[string]bool) ([]*listed, error) {
	boxes, err := f.account.Boxes(ctx)
	if f.foreign && errors.Is(err, mailbox.ErrClosed) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all := make([]*listed, 0, len(boxes))
	for _, b := range boxes {
		if l := f.listed(b); toList.check(l.at.rights) == nil {
			l.subscribed = subscribed[l.name]
			all = append(all, l)
		}
	}
	return all, nil
}

// listed is a mailbox of the account.
func (f *followed) listed(b mailbox.Box) *listed {
	at := f.place
	at.Box, at.rights = b, f.rights(&b)
	box := at.shown()
	return &listed{name: box.Name, at: &at, box: &box}
}

// learn takes all mailboxes of the account as known.
func (f *followed) learn(ctx context.Context, subscribed map[string]bool) error {
	all, err := f.look(ctx, subscribed)
	if err != nil {
		return err
	}
	f.boxes = byID(all)
	_, f.annotated, err = f.account.Annotated(ctx, 0)
	return err
}

func byID(all []*listed) map[mailbox.BoxID]*listed {
	boxes := make(map[mailbox.BoxID]*listed, len(all))
	for _, l := range all {
		boxes[l.box.ID] = l
	}
	return boxes
}

// hasNews tells whether the account may have changed since the client was told last.
func (f *followed) hasNews() bool {
	select {
	case <-f.changes:
		f.news = true
	default:
	}
	return f.news
}
