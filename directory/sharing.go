package directory

import (
	"context"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
	"posthouse/mail"
)

// Limits of sharing; one over is ErrTooMany.
const (
	MaxShares = 10_000 // of one account, with others
	MaxOwners = 1000   // that SharedWith names
)

// Anyone is the account that stands for all.
const Anyone mail.AccountID = "anyone"

// AddSharedAccount is Directory. It has no password, and nobody can be given one.
func (s *SQLite) AddSharedAccount(ctx context.Context, login mail.Address) (Account, error) {
	return s.insertAccount(ctx, Account{Login: login, Shared: true}, secrets{})
}

// AccountByID is Directory.
func (s *SQLite) AccountByID(ctx context.Context, id mail.AccountID) (a Account, err error) {
	err = s.each(ctx, "SELECT "+accountColumns+" FROM account WHERE id=?", []any{string(id)}, func(r *sqlite.Stmt) (err error) {
		a, err = scanAccount(r)
		return err
	})
	if err == nil && a.ID == "" {
		err = ErrNoAccount
	}
	return a, err
}

// Share is Directory.
func (s *SQLite) Share(ctx context.Context, owner, with mail.AccountID) error {
	if known, err := s.isShared(ctx, owner, with); known || err != nil {
		return err
	}
	return s.write(ctx, func(tx *db.Tx) error {
		err := exec(tx, "INSERT OR IGNORE INTO share(owner, with_id) SELECT id, ? FROM account WHERE id=?", string(with), string(owner))
		if err != nil {
			return err
		}
		n := 0
		err = query(tx.Conn, "SELECT count(*) FROM share WHERE owner=?", []any{string(owner)}, func(r *sqlite.Stmt) error {
			n = r.ColumnInt(0)
			return nil
		})
		switch {
		case err == nil && n == 0:
			err = ErrNoAccount
		case err == nil && n > MaxShares:
			err = ErrTooMany
		}
		return err
	})
}

// isShared tells whether there is this very entry.
func (s *SQLite) isShared(ctx context.Context, owner, with mail.AccountID) (is bool, err error) {
	err = s.each(ctx, "SELECT 1 FROM share WHERE owner=? AND with_id=?", []any{string(owner), string(with)}, func(*sqlite.Stmt) error {
		is = true
		return nil
	})
	return is, err
}

// Unshare is Directory.
func (s *SQLite) Unshare(ctx context.Context, owner, with mail.AccountID) error {
	return s.write(ctx, func(tx *db.Tx) error {
		return exec(tx, "DELETE FROM share WHERE owner=? AND with_id=?", string(owner), string(with))
	})
}

// MayShare is Directory.
func (s *SQLite) MayShare(ctx context.Context, owner, with mail.AccountID) (bool, error) {
	if is, err := s.isShared(ctx, owner, with); is || err != nil {
		return is, err
	}
	return s.isShared(ctx, owner, Anyone)
}

// SharedWith is Directory.
func (s *SQLite) SharedWith(ctx context.Context, id mail.AccountID) (list []Account, err error) {
	const text = "SELECT " + accountColumns + " FROM account WHERE id<>?1 AND id IN (SELECT owner FROM share WHERE with_id IN (?1, ?2)) ORDER BY login LIMIT ?3"
	err = s.each(ctx, text, []any{string(id), string(Anyone), MaxOwners}, func(r *sqlite.Stmt) error {
		a, err := scanAccount(r)
		list = append(list, a)
		return err
	})
	return list, err
}
