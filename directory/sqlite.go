package directory

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"posthouse/crypto/password"
	"posthouse/internal/db"
	"posthouse/mail"
)

// Options of a SQLite directory; every zero value is usable.
type Options struct {
	// Domains and Accounts are those the configuration declares, beside what the database holds; commands can neither remove them nor
	// change their passwords, which would be back at the next start.
	Domains  []Domain
	Accounts []Declared
	// Postmaster gets the mail of postmaster@ and abuse@ every domain of ours that has no such address itself (RFC 5321 §4.5.1,
	// RFC 2142 §2). Zero: there is no such address.
	Postmaster mail.Address
	// Allowance is what every account may send that has none of its own. Zero: any number.
	Allowance Allowance
	// SCRAM are the hash functions for which keys are kept of every password. Empty: SHA-256. One that is added later has its keys of an
	// account's own password from its next login by PLAIN on, and of new app passwords.
	SCRAM []password.Hash
	Cost  password.Cost
	Now   func() time.Time
}

// Declared is an account that the configuration declares with its hash; it is made or brought up to date at Open.
type Declared struct {
	Login mail.Address
	Hash  string
}

// SQLite is the Directory of one machine.
type SQLite struct {
	db      *db.DB
	opts    Options
	hasher  *password.Hasher
	proven  *verdictCache                     // passwords that were right
	refuted *verdictCache                     // passwords that were wrong
	own     ownCache                          // accounts by their addresses
	house   house                             // never changes
	ledger  *ledger                           // what is written later
	domains atomic.Pointer[map[string]Domain] // what the table and Options.Domains hold, replaced as a whole
	loading sync.Mutex                        // held from reading the table to replacing domains: the last to read is the last to replace
}

// Open opens or makes the directory database at path.
func Open(path string, o Options) (*SQLite, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if len(o.SCRAM) == 0 {
		o.SCRAM = []password.Hash{password.SHA256}
	}
	d, err := db.Open(db.Options{Path: path, ApplicationID: applicationID, Schema: schema()})
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	s := &SQLite{db: d, opts: o, hasher: password.NewHasher(o.Cost), proven: newVerdictCache(o.Now), refuted: newVerdictCache(o.Now), own: newOwnCache()}
	if err := errors.Join(s.loadHouse(ctx), s.loadDomains(ctx), s.declare(ctx)); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	s.ledger = newLedger(s)
	return s, nil
}

// Close is Directory.
func (s *SQLite) Close() error { return errors.Join(s.ledger.close(), s.db.Close()) }

// declare makes the accounts of the configuration, or brings their password up to date: the keys of another one go.
func (s *SQLite) declare(ctx context.Context) error {
	for _, a := range s.opts.Accounts {
		if err := password.Check(a.Hash); err != nil {
			return fmt.Errorf("account %s: %w", a.Login, err)
		}
		_, err := s.insertAccount(ctx, Account{Login: a.Login}, secrets{hash: a.Hash})
		if errors.Is(err, ErrExists) {
			err = s.redeclare(ctx, a)
		}
		if err != nil {
			return fmt.Errorf("account %s: %w", a.Login, err)
		}
	}
	return nil
}

// declares tells whether the configuration declares an account.
func (s *SQLite) declares(login mail.Address) bool {
	return slices.ContainsFunc(s.opts.Accounts, func(d Declared) bool { return d.Login.FoldLocal() == login.FoldLocal() })
}

func (s *SQLite) redeclare(ctx context.Context, a Declared) error {
	found, err := s.credentials(ctx, a.Login)
	if err != nil || found.hash == a.Hash {
		return err
	}
	return s.setSecrets(ctx, a.Login, secrets{hash: a.Hash})
}

// loadDomains brings s.domains up to date; writers call it after their change.
func (s *SQLite) loadDomains(ctx context.Context) error {
	s.loading.Lock()
	defer s.loading.Unlock()
	all := map[string]Domain{}
	err := s.each(ctx, "SELECT name, catch_all FROM domain", nil, func(r *sqlite.Stmt) error {
		d := Domain{Name: r.ColumnText(0)}
		all[d.Name] = d
		err := d.CatchAll.UnmarshalText([]byte(r.ColumnText(1)))
		all[d.Name] = d
		return err
	})
	if err != nil {
		return err
	}
	for _, d := range s.opts.Domains {
		all[d.Name] = d
	}
	s.domains.Store(&all)
	return nil
}

// IsLocal is Directory.
func (s *SQLite) IsLocal(_ context.Context, domain string) (bool, error) {
	_, ok := (*s.domains.Load())[domain]
	return ok, nil
}

// Domains is Directory.
func (s *SQLite) Domains(context.Context) ([]Domain, error) {
	all := *s.domains.Load()
	names := slices.Sorted(maps.Keys(all))
	list := make([]Domain, len(names))
	for i, name := range names {
		list[i] = all[name]
	}
	return list, nil
}

// AddDomain is Directory.
func (s *SQLite) AddDomain(ctx context.Context, d Domain) error {
	name, err := mail.ParseDomain(d.Name)
	if err != nil {
		return err
	}
	err = s.change(ctx, "INSERT INTO domain VALUES(?, ?)", name, d.CatchAll.FoldLocal().String())
	if sqlite.ErrCode(err) == sqlite.ResultConstraintPrimaryKey {
		return ErrExists
	}
	return errors.Join(err, s.loadDomains(ctx))
}

// RemoveDomain is Directory.
func (s *SQLite) RemoveDomain(ctx context.Context, name string) error {
	name, err := mail.ParseDomain(name)
	if err != nil {
		return err
	}
	err = s.change(ctx, "DELETE FROM domain WHERE name=?", name)
	if errors.Is(err, errNoRow) {
		if slices.ContainsFunc(s.opts.Domains, func(d Domain) bool { return d.Name == name }) {
			return ErrDeclared
		}
		return ErrNoDomain
	}
	return errors.Join(err, s.loadDomains(ctx))
}

// Accounts is Directory.
func (s *SQLite) Accounts(ctx context.Context) iter.Seq2[Account, error] {
	return rows(ctx, s, "SELECT "+accountColumns+" FROM account ORDER BY login", scanAccount)
}

// accountColumns are what scanAccount reads; a query may ask for more, from column accountWidth on.
const (
	accountColumns = "id, login, created, disabled, sent_copies, quota_octets, quota_messages, without, shared, role"
	accountWidth   = 10
)

func scanAccount(r *sqlite.Stmt) (Account, error) {
	a := Account{ID: mail.AccountID(r.ColumnText(0)), Created: time.Unix(r.ColumnInt64(2), 0), SentCopies: SentCopies(r.ColumnInt(4)),
		Quota: Quota{r.ColumnInt64(5), r.ColumnInt64(6)}, Without: r.ColumnText(7), Shared: r.ColumnBool(8), Role: Role(r.ColumnInt(9))}
	if at := r.ColumnInt64(3); at != 0 {
		a.Disabled = time.Unix(at, 0)
	}
	return a, a.Login.UnmarshalText([]byte(r.ColumnText(1)))
}

// Account is Directory.
func (s *SQLite) Account(ctx context.Context, login mail.Address) (a Account, err error) {
	err = s.each(ctx, "SELECT "+accountColumns+" FROM account WHERE login=?", []any{login.FoldLocal().String()},
		func(r *sqlite.Stmt) (err error) {
			a, err = scanAccount(r)
			return err
		})
	if err == nil && a.ID == "" {
		err = ErrNoAccount
	}
	return a, err
}

// AddAccount is Directory.
func (s *SQLite) AddAccount(ctx context.Context, login mail.Address, secret string) (Account, error) {
	made, err := s.makeSecrets(ctx, login, secret)
	if err != nil {
		return Account{}, err
	}
	return s.insertAccount(ctx, Account{Login: login}, made)
}

// insertAccount makes an account with what it says, and an ID.
func (s *SQLite) insertAccount(ctx context.Context, a Account, made secrets) (Account, error) {
	if ok, err := s.IsLocal(ctx, a.Login.Domain()); err != nil || !ok {
		return Account{}, errors.Join(ErrNoDomain, err)
	}
	a.ID, a.Login, a.Created = newAccountID(), a.Login.FoldLocal(), s.opts.Now().Truncate(time.Second)
	err := s.write(ctx, func(tx *db.Tx) error {
		err := exec(tx, "INSERT INTO account(id, login, hash, created, disabled, shared) VALUES(?, ?, ?, ?, 0, ?)",
			string(a.ID), a.Login.String(), made.hash, a.Created.Unix(), a.Shared)
		if err != nil {
			return err
		}
		return insertKeys(tx, a.ID, "", made.keys)
	})
	if sqlite.ErrCode(err) == sqlite.ResultConstraintUnique {
		return Account{}, ErrExists
	}
	return a, err
}

func newAccountID() mail.AccountID {
	var b [10]byte
	rand.Read(b[:])
	return mail.AccountID(strings.ToLower(base32.StdEncoding.EncodeToString(b[:])))
}

// SetPassword is Directory.
func (s *SQLite) SetPassword(ctx context.Context, login mail.Address, secret string) error {
	if s.declares(login) {
		return ErrDeclared
	}
	made, err := s.makeSecrets(ctx, login, secret)
	if err != nil {
		return err
	}
	return s.setSecrets(ctx, login, made)
}

// SetDisabled is Directory.
func (s *SQLite) SetDisabled(ctx context.Context, login mail.Address, at time.Time) error {
	seconds := int64(0)
	if !at.IsZero() {
		seconds = at.Unix()
	}
	return s.updateAccount(ctx, login, "UPDATE account SET disabled=? WHERE login=?", seconds)
}

// SetSentCopies is Directory.
func (s *SQLite) SetSentCopies(ctx context.Context, login mail.Address, by SentCopies) error {
	return s.updateAccount(ctx, login, "UPDATE account SET sent_copies=? WHERE login=?", int64(by))
}

// SetRole is Directory.
func (s *SQLite) SetRole(ctx context.Context, login mail.Address, r Role) error {
	return s.updateAccount(ctx, login, "UPDATE account SET role=? WHERE login=?", int64(r))
}

// SetQuota is Directory.
func (s *SQLite) SetQuota(ctx context.Context, login mail.Address, q Quota) error {
	return s.updateAccount(ctx, login, "UPDATE account SET quota_octets=?, quota_messages=? WHERE login=?", q.Octets, q.Messages)
}

// SetWithout is Directory.
func (s *SQLite) SetWithout(ctx context.Context, login mail.Address, extensions ...string) error {
	return s.updateAccount(ctx, login, "UPDATE account SET without=? WHERE login=?", strings.Join(extensions, " "))
}

func (s *SQLite) updateAccount(ctx context.Context, login mail.Address, query string, values ...any) error {
	err := s.change(ctx, query, append(values, login.FoldLocal().String())...)
	if errors.Is(err, errNoRow) {
		return ErrNoAccount
	}
	return err
}

// RemoveAccount is Directory.
func (s *SQLite) RemoveAccount(ctx context.Context, login mail.Address) (Account, error) {
	if s.declares(login) {
		return Account{}, ErrDeclared
	}
	a, err := s.Account(ctx, login)
	if err != nil {
		return Account{}, err
	}
	s.ledger.forget(a.ID)
	return a, s.write(ctx, func(tx *db.Tx) error {
		for _, table := range []string{"app_password", "scram", "allowance", "spent", "correspondent"} {
			if err := exec(tx, "DELETE FROM "+table+" WHERE account=?", string(a.ID)); err != nil {
				return err
			}
		}
		if err := exec(tx, "DELETE FROM share WHERE owner=?1 OR with_id=?1", string(a.ID)); err != nil {
			return err
		}
		return errors.Join(exec(tx, "DELETE FROM account WHERE id=?", string(a.ID)), exec(tx, "DELETE FROM alias WHERE target=?", a.Login.String()))
	})
}

// Aliases is Directory.
func (s *SQLite) Aliases(ctx context.Context) iter.Seq2[Alias, error] {
	return rows(ctx, s, "SELECT address, target FROM alias ORDER BY address, target", func(r *sqlite.Stmt) (a Alias, err error) {
		return a, errors.Join(a.Address.UnmarshalText([]byte(r.ColumnText(0))), a.Target.UnmarshalText([]byte(r.ColumnText(1))))
	})
}

// AddAlias is Directory.
func (s *SQLite) AddAlias(ctx context.Context, a Alias) error {
	if a.Target.IsNull() {
		return fmt.Errorf("%w: an alias needs a target", mail.ErrAddress)
	}
	if ok, err := s.IsLocal(ctx, a.Address.Domain()); err != nil || !ok {
		return errors.Join(ErrNoDomain, err)
	}
	a = Alias{a.Address.FoldLocal(), s.fold(a.Target)}
	switch _, err := s.Account(ctx, a.Address); {
	case err == nil:
		return fmt.Errorf("%w: %s is an account's address, and its mail goes there", ErrExists, a.Address)
	case !errors.Is(err, ErrNoAccount):
		return err
	}
	err := s.change(ctx, "INSERT INTO alias VALUES(?, ?)", a.Address.String(), a.Target.String())
	if sqlite.ErrCode(err) == sqlite.ResultConstraintPrimaryKey {
		return ErrExists
	}
	return err
}

// RemoveAlias is Directory.
func (s *SQLite) RemoveAlias(ctx context.Context, a Alias) error {
	err := s.change(ctx, "DELETE FROM alias WHERE address=? AND target=?", a.Address.FoldLocal().String(), s.fold(a.Target).String())
	if errors.Is(err, errNoRow) {
		return ErrNoAddress
	}
	return err
}

// fold folds the local part of an address that is ours to fold.
func (s *SQLite) fold(a mail.Address) mail.Address {
	if _, ours := (*s.domains.Load())[a.Domain()]; ours {
		return a.FoldLocal()
	}
	return a
}

var errNoRow = errors.New("directory: nothing changed")

// change runs one statement durably; errNoRow if it changed nothing.
func (s *SQLite) change(ctx context.Context, query string, args ...any) error {
	return s.write(ctx, func(tx *db.Tx) error {
		if err := exec(tx, query, args...); err != nil {
			return err
		}
		if tx.Changes() == 0 {
			return errNoRow
		}
		return nil
	})
}

// write runs f durably.
func (s *SQLite) write(ctx context.Context, f func(*db.Tx) error) error {
	return unavailable(s.db.Write(ctx, func(tx *db.Tx) error {
		tx.OnCommit(s.own.outdate)
		return f(tx)
	}))
}

func exec(tx *db.Tx, query string, args ...any) error {
	return sqlitex.Execute(tx.Conn, query, &sqlitex.ExecOptions{Args: args})
}

// each calls f for every row.
func (s *SQLite) each(ctx context.Context, text string, args []any, f func(*sqlite.Stmt) error) error {
	return unavailable(s.db.Read(ctx, func(c *sqlite.Conn) error { return query(c, text, args, f) }))
}

func query(c *sqlite.Conn, text string, args []any, f func(*sqlite.Stmt) error) error {
	return sqlitex.Execute(c, text, &sqlitex.ExecOptions{Args: args, ResultFunc: f})
}

// rows yields what scan makes of every row; a slow consumer holds a reading connection, no lock.
func rows[T any](ctx context.Context, s *SQLite, text string, scan func(*sqlite.Stmt) (T, error), args ...any) iter.Seq2[T, error] {
	stop := errors.New("stop")
	return func(yield func(T, error) bool) {
		err := s.each(ctx, text, args, func(r *sqlite.Stmt) error {
			v, err := scan(r)
			if err == nil && !yield(v, nil) {
				err = stop
			}
			return err
		})
		if err != nil && !errors.Is(err, stop) {
			var zero T
			yield(zero, err)
		}
	}
}

// unavailable marks the errors of storage.
func unavailable(err error) error {
	for _, e := range []error{db.ErrFull, db.ErrFailed, db.ErrCorrupt, db.ErrClosed} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	return err
}
