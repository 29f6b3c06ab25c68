package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"posthouse/directory"
	"posthouse/mail"
	"posthouse/mailbox"
)

// Share is what somebody may do with a mailbox of another's.
type Share struct {
	// Box is the mailbox. Empty in a request: every one that the owner has.
	Box string `json:"box,omitempty"`
	// With is a login name, or "anyone". "-" before it: what is taken away, whatever else is granted.
	With string `json:"with"`
	// Rights are the letters of RFC 4314 §2.1; in a request "read", "write" or "all" as well.
	Rights string `json:"rights,omitempty"`
}

// namedRights are sets of rights that people ask for.
var namedRights = map[string]mailbox.Rights{
	"read": mailbox.MayLookUp | mailbox.MayRead | mailbox.MayMarkSeen,
	"write": mailbox.MayLookUp | mailbox.MayRead | mailbox.MayMarkSeen | mailbox.MayWrite | mailbox.MayInsert | mailbox.MayMarkDeleted |
		mailbox.MayExpunge,
	"all": mailbox.AllRights,
}

func parseRights(text string) (mailbox.Rights, error) {
	if r, ok := namedRights[text]; ok {
		return r, nil
	}
	r, ok := mailbox.ParseRights(text)
	if !ok || r == 0 {
		return 0, fmt.Errorf("%w: %q is neither read, write, all, nor letters of lrswipkxtea", errRequest, text)
	}
	return r, nil
}

// owned is an account whose sharing is looked at or changed.
type owned struct {
	mailbox.Sharer
	boxes []mailbox.Box
}

// owned opens the account in the path. Its user closes it.
func (a *api) owned(r *http.Request) (*owned, error) {
	who, err := login(r)
	if err != nil {
		return nil, err
	}
	owner, err := a.Directory.Account(r.Context(), who)
	if err != nil {
		return nil, err
	}
	return a.openOwned(r.Context(), owner.ID)
}

func (a *api) openOwned(ctx context.Context, id mail.AccountID) (*owned, error) {
	account, err := a.Store.Account(ctx, id)
	if err != nil {
		return nil, err
	}
	boxes, err := account.Boxes(ctx)
	if err != nil {
		return nil, errors.Join(err, account.Close())
	}
	return &owned{mailbox.Sharer{Account: account, Owner: id, Hints: a.Directory}, boxes}, nil
}

// set sets what a Who may do with the mailbox of that name, or with all.
func (o *owned) set(ctx context.Context, box string, who []string, rights mailbox.Rights) error {
	var changes []mailbox.SetRights
	if box != "" {
		b, err := o.Account.Box(ctx, box)
		if err != nil {
			return err
		}
		o.boxes = []mailbox.Box{b}
	}
	for _, w := range who {
		for _, b := range o.boxes {
			if !b.NoSelect {
				changes = append(changes, mailbox.SetRights{Box: b.ID, Who: w, Op: mailbox.ReplaceFlags, Rights: rights})
			}
		}
	}
	return o.Set(ctx, changes...)
}

// shares lists what an account grants.
func (a *api) shares(r *http.Request) (any, error) {
	o, err := a.owned(r)
	if err != nil {
		return nil, err
	}
	defer o.Account.Close() //nolint:errcheck // it was only read
	return many(func(yield func(Share, error) bool) {
		for _, b := range o.boxes {
			list, err := a.sharesOf(r.Context(), &b)
			if err != nil {
				yield(Share{}, err)
				return
			}
			for _, s := range list {
				if !yield(s, nil) {
					return
				}
			}
		}
	})
}

// sharesOf is what a mailbox grants, in the order of names.
func (a *api) sharesOf(ctx context.Context, b *mailbox.Box) (list []Share, err error) {
	for _, g := range b.ACL {
		name, err := a.nameOf(ctx, g.Who)
		if err != nil {
			return nil, err
		}
		if name != "" {
			list = append(list, Share{b.Name, name, g.Rights.String()})
		}
	}
	slices.SortFunc(list, func(x, y Share) int { return strings.Compare(x.With, y.With) })
	return list, nil
}

// nameOf is how people name a Who; empty: nobody has that account any more.
func (a *api) nameOf(ctx context.Context, who string) (string, error) {
	id, negative := strings.CutPrefix(who, "-")
	if id == mailbox.Anyone {
		return who, nil
	}
	account, err := a.Directory.AccountByID(ctx, mail.AccountID(id))
	switch {
	case errors.Is(err, directory.ErrNoAccount):
		return "", nil
	case err != nil:
		return "", err
	case negative:
		return "-" + account.Login.String(), nil
	}
	return account.Login.String(), nil
}

// whoIs is the Who that a name means, for an owner.
func (a *api) whoIs(ctx context.Context, name string, owner mail.AccountID) (string, error) {
	if name == mailbox.Anyone {
		return name, nil
	}
	address, err := mail.ParseAddress(name)
	if err != nil {
		return "", err
	}
	account, err := a.Directory.Account(ctx, address)
	switch {
	case err != nil:
		return "", err
	case account.Shared:
		return "", directory.ErrShared
	case account.ID == owner:
		return "", fmt.Errorf("%w: the owner has all rights", errRequest)
	}
	return string(account.ID), nil
}

// share grants rights to mailboxes as they stand. Those that are made below one of them later have them too.
func (a *api) share(r *http.Request) (any, error) {
	var s Share
	if err := decode(r, &s); err != nil {
		return nil, err
	}
	rights, err := parseRights(s.Rights)
	if err != nil {
		return nil, err
	}
	return a.setShare(r, s, func(who string) []string { return []string{who} }, rights)
}

// unshare takes all rights away, also those that were taken before.
func (a *api) unshare(r *http.Request) (any, error) {
	s := Share{Box: r.URL.Query().Get("box"), With: r.PathValue("with")}
	return a.setShare(r, s, bothSigns, 0)
}

func bothSigns(who string) []string { return []string{who, "-" + who} }

func (a *api) setShare(r *http.Request, s Share, whose func(string) []string, rights mailbox.Rights) (any, error) {
	o, err := a.owned(r)
	if err != nil {
		return nil, err
	}
	defer o.Account.Close() //nolint:errcheck // what it did is durable
	who, err := a.whoIs(r.Context(), s.With, o.Owner)
	if err != nil {
		return nil, err
	}
	return done{}, o.set(r.Context(), s.Box, whose(who), rights)
}

// forgetGrantee takes an account that is removed out of the lists of others.
func (a *api) forgetGrantee(ctx context.Context, id mail.AccountID, owners []directory.Account) error {
	var errs []error
	for _, owner := range owners {
		o, err := a.openOwned(ctx, owner.ID)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		o.boxes = slices.DeleteFunc(o.boxes, func(b mailbox.Box) bool {
			return !slices.ContainsFunc(b.ACL, func(g mailbox.Grant) bool { return slices.Contains(bothSigns(string(id)), g.Who) })
		})
		errs = append(errs, o.set(ctx, "", bothSigns(string(id)), 0), o.Account.Close())
	}
	return errors.Join(errs...)
}
