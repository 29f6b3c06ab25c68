package imapd

import (
	"cmp"
	"context"
	"errors"

	"posthouse/directory"
	"posthouse/mail"
	"posthouse/mailbox"
)

// place is a mailbox that a command names, with the account that has it.
type place struct {
	mailbox.Box // in its account
	account     mailbox.Account
	owner       mail.AccountID  // whose the account is
	quota       directory.Quota // of the account
	prefix      string          // what is before its name, where it is another's
	rights      mailbox.Rights  // the user's
	asked       string          // its name as the client wrote it, decoded
}

// place is the mailbox that the client wrote the name of, for something that takes rights to it.
func (s *session) place(ctx context.Context, raw string, to needs) (place, error) {
	name, err := s.dialect.name(raw)
	if err != nil {
		return place{}, err
	}
	return s.placeOf(ctx, name, to)
}

// placeOf is the mailbox of that name, in UTF-8. One of the user's own comes first: there may be some from before there were other
// namespaces.
func (s *session) placeOf(ctx context.Context, name string, to needs) (place, error) {
	box, err := s.account.Box(ctx, name)
	if errors.Is(err, mailbox.ErrNoBox) {
		if f, foreign := parseForeign(name); foreign {
			return s.foreignPlace(ctx, f, name, to)
		}
		if at, is, err := s.extraPlace(ctx, name); is {
			return at, cmp.Or(err, to.check(at.rights))
		}
	}
	return place{Box: box, account: s.account, owner: s.who.ID, quota: s.who.Quota, rights: mailbox.AllRights, asked: name}, err
}

// foreignPlace is a mailbox of another's, if the user may do with it what he is about to.
func (s *session) foreignPlace(ctx context.Context, name foreignName, asked string, to needs) (place, error) {
	f, err := s.foreignAccount(ctx, name)
	if err != nil {
		return place{}, err
	}
	box, err := f.mailbox.Box(ctx, name.box)
	if err != nil {
		return place{}, mailbox.ErrNoBox // no name tells more than that
	}
	at := f.place(box, s.who.ID)
	at.asked = asked
	return at, to.check(at.rights)
}

// shown is the mailbox as the client knows it. What others use theirs for is not the client's.
func (at *place) shown() mailbox.Box { return shownBox(at.Box, at.prefix) }

func shownBox(box mailbox.Box, prefix string) mailbox.Box {
	if prefix != "" {
		box.Name, box.Special, box.Subscribed = prefix+box.Name, "", false
	}
	return box
}

// destination is the place that messages go to. If it could be created, the client is told so: RFC 9051 §6.3.12, §6.4.7.
func (s *session) destination(ctx context.Context, raw string) (place, error) {
	at, err := s.place(ctx, raw, toInsert)
	if err == nil && !at.NoSelect || err != nil && !errors.Is(err, mailbox.ErrNoBox) {
		return at, err
	}
	if name, err := s.dialect.name(raw); err == nil {
		if _, err := s.nest(ctx, name); err == nil {
			return at, errTryCreate
		}
	}
	return at, mailbox.ErrNoBox
}

// nest is where a mailbox of that name could be: its account, and its name in it. ErrNoPerm: it may not be there.
type nest struct {
	account mailbox.Account
	owner   mail.AccountID
	name    string
	prefix  string
}

// nest takes the right to create, of the nearest mailbox above: RFC 4314 §4 CREATE. Whoever lacks it is not told whether there is one.
func (s *session) nest(ctx context.Context, name string) (nest, error) {
	parsed, foreign := parseForeign(name)
	if extra := s.server.opts.Extra; extra != nil && name == extra.Name {
		return nest{}, mailbox.ErrBoxExists
	}
	if !foreign {
		return nest{account: s.account, owner: s.who.ID, name: name}, nil
	}
	if parsed.owner.IsNull() || parsed.box == "" {
		return nest{}, errReserved
	}
	f, err := s.foreignAccount(ctx, parsed)
	if errors.Is(err, mailbox.ErrNoBox) {
		err = errNoPerm
	}
	if err != nil {
		return nest{}, err
	}
	box, err := mailbox.CanonicalName(parsed.box)
	if err != nil {
		return nest{}, errNoPerm
	}
	for above := parent(box); above != ""; above = parent(above) {
		b, err := f.mailbox.Box(ctx, above)
		if err != nil || b.NoSelect {
			continue
		}
		if toCreate.check(b.RightsOf(s.who.ID)) != nil {
			break
		}
		return nest{f.mailbox, f.ID, box, f.prefix}, nil
	}
	return nest{}, errNoPerm
}

// within is what refuses a change that is too much for the account.
func (at *place) within() mailbox.Within { return mailbox.Within(at.quota) }

// holds tells whether the account may have so much.
func (at *place) holds(usage mailbox.Usage) bool {
	q := at.quota
	return (q.Octets == 0 || usage.Octets <= q.Octets) && (q.Messages == 0 || usage.Messages <= q.Messages)
}

// hasTwins tells whether the server may have filed the same message itself, which the client's is then not added to.
func (at *place) hasTwins() bool { return at.Special == mailbox.Sent && at.prefix == "" }
