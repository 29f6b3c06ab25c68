package directory

import (
	"context"
	"errors"
	"strings"

	"zombiezen.com/go/sqlite"

	"posthouse/mail"
)

// detailSeparator divides a local part from its detail: RFC 5233 §1.
const detailSeparator = "+"

// rule is one way an address of ours can be somebody's.
type rule func(ctx context.Context, a mail.Address) (Resolution, error)

// Resolve is Directory. The rules are tried in order; ErrNoAddress from one means the next.
func (s *SQLite) Resolve(ctx context.Context, a mail.Address) (Resolution, error) {
	a = a.FoldLocal()
	domain, ok := (*s.domains.Load())[a.Domain()]
	if !ok {
		return Resolution{}, ErrNotLocal
	}
	for _, try := range []rule{s.ownAddress, s.withoutDetail, s.role} {
		if r, err := try(ctx, a); !errors.Is(err, ErrNoAddress) {
			return r, err
		}
	}
	if domain.CatchAll.IsNull() {
		return Resolution{}, ErrNoAddress
	}
	return s.lead(ctx, domain.CatchAll)
}

// ownAddress is the address of an account or an alias.
func (s *SQLite) ownAddress(ctx context.Context, a mail.Address) (Resolution, error) {
	state := s.own.state.Load()
	if r, ok := s.own.get(a); ok {
		return r, nil
	}
	account, err := s.Account(ctx, a)
	switch {
	case err == nil && !account.Disabled.IsZero():
		return Resolution{}, ErrDisabled
	case err == nil:
		r := Resolution{Account: account.ID, Login: account.Login, Quota: account.Quota}
		s.own.put(a, r, state)
		return r, nil
	case !errors.Is(err, ErrNoAccount):
		return Resolution{}, err
	}
	return s.expand(ctx, a)
}

// withoutDetail is ownAddress for the address before its "+detail".
func (s *SQLite) withoutDetail(ctx context.Context, a mail.Address) (Resolution, error) {
	local, detail, ok := strings.Cut(a.Local(), detailSeparator)
	if !ok || local == "" {
		return Resolution{}, ErrNoAddress
	}
	r, err := s.ownAddress(ctx, a.WithLocal(local))
	r.Detail = detail
	return r, err
}

// role is postmaster and abuse of every domain.
func (s *SQLite) role(ctx context.Context, a mail.Address) (Resolution, error) {
	if !isRole(a) || s.opts.Postmaster.IsNull() {
		return Resolution{}, ErrNoAddress
	}
	return s.lead(ctx, s.opts.Postmaster)
}

func isRole(a mail.Address) bool { return a.Local() == "postmaster" || a.Local() == "abuse" }

// lead is where an address that stands for another's leads: an account of ours directly, else the address itself.
func (s *SQLite) lead(ctx context.Context, to mail.Address) (Resolution, error) {
	if ours, err := s.IsLocal(ctx, to.Domain()); err != nil || ours {
		if err != nil {
			return Resolution{}, err
		}
		return s.ownAddress(ctx, to.FoldLocal())
	}
	return Resolution{Targets: []mail.Address{to}}, nil
}

// expand follows an alias breadth first until only accounts of ours and addresses elsewhere are left.
func (s *SQLite) expand(ctx context.Context, a mail.Address) (Resolution, error) {
	level, err := s.targets(ctx, a)
	if err != nil {
		return Resolution{}, err
	}
	if len(level) == 0 {
		return Resolution{}, ErrNoAddress
	}
	var r Resolution
	seen := map[mail.Address]bool{a: true}
	for depth := 1; len(level) > 0; depth++ {
		var next []mail.Address
		for _, t := range level {
			if seen[t] {
				continue
			}
			seen[t] = true
			if depth > MaxAliasDepth || len(seen) > MaxAliasTargets {
				return Resolution{}, ErrAliasLoop
			}
			on, err := s.step(ctx, t)
			if err != nil {
				return Resolution{}, err
			}
			if len(on) == 1 && on[0] == t {
				r.Targets = append(r.Targets, t)
			} else {
				next = append(next, on...)
			}
		}
		level = next
	}
	if len(r.Targets) == 0 {
		return Resolution{}, ErrAliasLoop // it leads only to itself, or to addresses that are gone
	}
	return r, nil
}

// step is where the mail of an alias's target goes next, by the rules of Resolve, one at a time so that no circle escapes expand: to
// itself if it is elsewhere or an account; nowhere if that is disabled.
func (s *SQLite) step(ctx context.Context, a mail.Address) ([]mail.Address, error) {
	domain, ours := (*s.domains.Load())[a.Domain()]
	if !ours {
		return []mail.Address{a}, nil
	}
	account, err := s.Account(ctx, a)
	switch {
	case err == nil && account.Disabled.IsZero():
		return []mail.Address{a}, nil
	case !errors.Is(err, ErrNoAccount):
		return nil, err
	}
	list, err := s.targets(ctx, a)
	if err != nil || len(list) > 0 {
		return list, err
	}
	local, _, detailed := strings.Cut(a.Local(), detailSeparator)
	for _, other := range []struct {
		applies bool
		address mail.Address
	}{{detailed && local != "", a.WithLocal(local)}, {isRole(a), s.opts.Postmaster}, {true, domain.CatchAll}} {
		if other.applies && !other.address.IsNull() {
			return []mail.Address{s.fold(other.address)}, nil
		}
	}
	return nil, nil
}

func (s *SQLite) targets(ctx context.Context, a mail.Address) (list []mail.Address, err error) {
	err = s.each(ctx, "SELECT target FROM alias WHERE address=? ORDER BY target", []any{a.String()}, func(r *sqlite.Stmt) error {
		var t mail.Address
		err := t.UnmarshalText([]byte(r.ColumnText(0)))
		list = append(list, t)
		return err
	})
	return list, err
}

// MaySend is Directory: who alone gets an address's mail may send as it.
func (s *SQLite) MaySend(ctx context.Context, id mail.AccountID, a mail.Address) error {
	r, err := s.Resolve(ctx, a)
	switch {
	case errors.Is(err, ErrUnavailable):
		return err
	case err != nil || id == "": // an alias's Resolution has no Account either
		return ErrNotOwner
	case r.Account == id:
		return nil
	case len(r.Targets) != 1:
		return ErrNotOwner
	}
	owner, err := s.Account(ctx, r.Targets[0])
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	if err != nil || owner.ID != id {
		return ErrNotOwner
	}
	return nil
}
