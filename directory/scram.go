package directory

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"posthouse/crypto/password"
	"posthouse/internal/db"
	"posthouse/mail"
)

// house is what this directory was made with, once and for all.
type house struct {
	// secret keys the salts of SCRAM and the digests of app passwords. The salt of a name is a keyed hash of it: the same whether there
	// is such an account or not, and the same tomorrow (RFC 5802 §7 lets a server not tell).
	secret []byte
	// iterations are those of every name's: a number of its own would tell an account from an unknown name.
	iterations int
}

func (s *SQLite) loadHouse(ctx context.Context) error {
	made := house{make([]byte, 32), cmp.Or(s.opts.Cost.Iterations, password.DefaultIterations)}
	rand.Read(made.secret)
	read := func() error {
		return s.each(ctx, "SELECT secret, iterations FROM house", nil, func(r *sqlite.Stmt) error {
			s.house = house{make([]byte, r.ColumnLen(0)), r.ColumnInt(1)}
			r.ColumnBytes(0, s.house.secret)
			return nil
		})
	}
	if err := read(); err != nil || s.house.secret != nil {
		return err
	}
	if err := s.change(ctx, "INSERT INTO house(secret, iterations) VALUES(?, ?)", made.secret, made.iterations); err != nil {
		return err
	}
	return read()
}

// Challenge is the salt and the number of iterations of a name: RFC 5802 §5.1.
type Challenge struct {
	Salt       []byte
	Iterations int
}

// Proof is what a client of SCRAM answers a Challenge with.
type Proof struct {
	Name           string
	Scope          Scope
	Hash           password.Hash
	Message, Proof []byte // AuthMessage and ClientProof of RFC 5802 §3
}

const saltLength = 16

// Challenge is Directory.
func (s *SQLite) Challenge(_ context.Context, name string) (Challenge, error) {
	if login, err := mail.ParseAddress(name); err == nil {
		name = login.FoldLocal().String()
	}
	m := hmac.New(sha256.New, s.house.secret)
	m.Write([]byte("salt\x00" + strings.ToLower(name)))
	return Challenge{m.Sum(nil)[:saltLength], s.house.iterations}, nil
}

// Prove is Directory. Since one salt is that of all of an account's passwords, the proof is checked against the keys of each: the
// exchange does not say which password it was made with.
func (s *SQLite) Prove(ctx context.Context, p Proof) (Account, []byte, error) {
	found, err := s.byName(ctx, p.Name)
	if err != nil {
		return Account{}, nil, err
	}
	keys, err := s.keys(ctx, found.ID, p)
	if err != nil {
		return Account{}, nil, err
	}
	var right *storedKeys
	for i := range keys {
		if keys[i].Check(p.Hash, p.Message, p.Proof) && keys[i].exists {
			right = &keys[i]
		}
	}
	if right == nil {
		return Account{}, nil, ErrCredentials
	}
	if right.app != "" {
		s.ledger.use(right.app, right.used)
	}
	found.Until = right.until
	account, err := found.enabled()
	return account, right.Sign(p.Hash, p.Message), err
}

// storedKeys are the keys of one password.
type storedKeys struct {
	password.Keys
	exists bool
	app    string // which app password; empty: the account's own
	used   time.Time
	until  time.Time // zero: it does not end
}

// keys are all that a proof may be made with, after one that exists not, so that an unknown name takes as long as another.
func (s *SQLite) keys(ctx context.Context, account mail.AccountID, p Proof) ([]storedKeys, error) {
	all := []storedKeys{{Keys: password.Keys{Stored: make([]byte, p.Hash.Size()), Server: make([]byte, p.Hash.Size())}}}
	const text = `SELECT k.stored, k.server, k.app, p.used, p.expires FROM scram k LEFT JOIN app_password p ON p.id=k.app
		WHERE k.account=? AND k.hash=? AND (k.app='' OR p.scope & ? <> 0 AND (p.expires=0 OR p.expires>?))`
	err := s.each(ctx, text, []any{string(account), string(p.Hash), int64(p.Scope), s.opts.Now().Unix()}, func(r *sqlite.Stmt) error {
		k := storedKeys{exists: true, app: r.ColumnText(2), used: fromUnix(r.ColumnInt64(3)), until: fromUnix(r.ColumnInt64(4))}
		k.Stored, k.Server = make([]byte, r.ColumnLen(0)), make([]byte, r.ColumnLen(1))
		r.ColumnBytes(0, k.Stored)
		r.ColumnBytes(1, k.Server)
		all = append(all, k)
		return nil
	})
	return all, err
}

// secrets are what is kept of an account's own password.
type secrets struct {
	hash string // PHC string
	keys map[password.Hash]password.Keys
}

func (s *SQLite) makeSecrets(ctx context.Context, login mail.Address, secret string) (made secrets, err error) {
	if made.hash, err = s.hasher.Hash(ctx, secret); err != nil {
		return made, err
	}
	made.keys, err = s.makeKeys(ctx, login, secret)
	return made, err
}

func (s *SQLite) makeKeys(ctx context.Context, login mail.Address, secret string) (map[password.Hash]password.Keys, error) {
	c, err := s.Challenge(ctx, login.String())
	if err != nil {
		return nil, err
	}
	all := map[password.Hash]password.Keys{}
	for _, h := range s.opts.SCRAM {
		if all[h], err = s.hasher.Keys(ctx, password.Salting{Hash: h, Salt: c.Salt, Iterations: c.Iterations}, secret); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// insertKeys stores the keys of one password.
func insertKeys(tx *db.Tx, account mail.AccountID, app string, keys map[password.Hash]password.Keys) error {
	var errs []error
	for h, k := range keys {
		errs = append(errs, exec(tx, "INSERT OR REPLACE INTO scram(account, app, hash, stored, server) VALUES(?, ?, ?, ?, ?)",
			string(account), app, string(h), k.Stored, k.Server))
	}
	return errors.Join(errs...)
}

// setSecrets replaces what is kept of an account's own password: its hash and its keys are never of two.
func (s *SQLite) setSecrets(ctx context.Context, login mail.Address, made secrets) error {
	account, err := s.person(ctx, login)
	if err != nil {
		return err
	}
	return s.write(ctx, func(tx *db.Tx) error {
		if err := exec(tx, "UPDATE account SET hash=? WHERE id=?", made.hash, string(account.ID)); err != nil {
			return err
		}
		if tx.Changes() == 0 {
			return ErrNoAccount
		}
		if err := exec(tx, "DELETE FROM scram WHERE account=? AND app=''", string(account.ID)); err != nil {
			return err
		}
		return insertKeys(tx, account.ID, "", made.keys)
	})
}

// person is an account that somebody logs in to. ErrNoAccount, ErrShared.
func (s *SQLite) person(ctx context.Context, login mail.Address) (Account, error) {
	a, err := s.Account(ctx, login)
	if err == nil && a.Shared {
		err = ErrShared
	}
	return a, err
}

// addKeys stores the keys of a password that was right, unless it has been changed meanwhile.
func (s *SQLite) addKeys(ctx context.Context, found credentials, secret string) error {
	keys, err := s.makeKeys(ctx, found.Login, secret)
	if err != nil {
		return err
	}
	return s.write(ctx, func(tx *db.Tx) error {
		same := false
		err := query(tx.Conn, "SELECT 1 FROM account WHERE id=? AND hash=?", []any{string(found.ID), found.hash}, func(*sqlite.Stmt) error {
			same = true
			return nil
		})
		if err != nil || !same {
			return err
		}
		return insertKeys(tx, found.ID, "", keys)
	})
}
