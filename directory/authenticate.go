package directory

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"time"

	"zombiezen.com/go/sqlite"

	"posthouse/crypto/password"
	"posthouse/internal/lru"
	"posthouse/mail"
)

// MaxPassword is the longest password of an account, in octets.
const MaxPassword = password.MaxPassword

// Login is an attempt to prove to be an account by a password.
type Login struct {
	Name, Password string
	Scope          Scope // what it is wanted for
}

// Authenticate is Directory. A password proven before is found in the cache by a keyed hash of it and of the stored hash, so that a
// changed password is never the old one's, and one account's never another's; whether the account is disabled is always looked up.
// App passwords are looked up every time, which costs little: they need no slow hash. A password that was wrong before is remembered in
// the same way, or a program that has an old one, and whoever plays it, would cost a slow hash each time it comes.
func (s *SQLite) Authenticate(ctx context.Context, l Login) (Account, error) {
	found, err := s.byName(ctx, l.Name)
	if err != nil {
		return Account{}, err
	}
	if proven, err := s.byAppPassword(ctx, &found, l); err != nil {
		return Account{}, err
	} else if !proven {
		if err := s.byPassword(ctx, found, l.Password); err != nil {
			return Account{}, err
		}
	}
	return found.enabled()
}

func (a Account) enabled() (Account, error) {
	if !a.Disabled.IsZero() {
		return Account{}, ErrDisabled
	}
	return a, nil
}

// byPassword checks an account's own password, and makes the keys of SCRAM if it has none yet: it was declared with its hash alone, or
// made before there were keys.
func (s *SQLite) byPassword(ctx context.Context, found credentials, secret string) error {
	switch {
	case s.proven.has(found.whose, secret):
		return nil
	case s.refuted.has(found.whose, secret):
		return ErrCredentials
	}
	switch err := s.hasher.Verify(ctx, found.hash, secret); {
	case errors.Is(err, password.ErrMismatch):
		s.refuted.add(found.whose, secret)
		return ErrCredentials
	case err != nil:
		return errors.Join(ErrUnavailable, err)
	}
	if found.keys < len(s.opts.SCRAM) {
		s.addKeys(ctx, found, secret) //nolint:errcheck // this login needs none, and the next one tries again
	}
	s.proven.add(found.whose, secret)
	return nil
}

// byAppPassword tells whether one of the account's app passwords is the right one.
func (s *SQLite) byAppPassword(ctx context.Context, found *credentials, l Login) (proven bool, err error) {
	now := s.opts.Now()
	err = s.each(ctx, "SELECT id, used, expires FROM app_password WHERE account=? AND digest=? AND scope & ? <> 0 AND (expires=0 OR expires>?)",
		[]any{string(found.ID), s.digest(found.ID, l.Password), int64(l.Scope), now.Unix()}, func(r *sqlite.Stmt) error {
			proven, found.Until = true, fromUnix(r.ColumnInt64(2))
			s.ledger.use(r.ColumnText(0), fromUnix(r.ColumnInt64(1)))
			return nil
		})
	return proven, err
}

// credentials are an account with what is kept of its own password.
type credentials struct {
	Account
	hash  string // empty: there is no such account
	whose string // what the verdict on a password is kept for: the hash, or a name that is nobody's
	keys  int    // how many hash functions of SCRAM there are keys for
}

// byName finds the account; for an unknown name the hash is empty, which costs as much to refuse. A shared account is nobody's to log in
// to.
func (s *SQLite) byName(ctx context.Context, name string) (credentials, error) {
	login, err := mail.ParseAddress(name)
	if err != nil {
		return credentials{whose: name}, nil
	}
	found, err := s.credentials(ctx, login)
	if errors.Is(err, ErrNoAccount) || found.Shared {
		return credentials{whose: login.FoldLocal().String()}, nil
	}
	found.whose = found.hash
	return found, err
}

func (s *SQLite) credentials(ctx context.Context, login mail.Address) (c credentials, err error) {
	err = s.each(ctx, "SELECT "+accountColumns+", hash, (SELECT count(*) FROM scram WHERE account=id AND app='') FROM account WHERE login=?",
		[]any{login.FoldLocal().String()}, func(r *sqlite.Stmt) (err error) {
			c.hash, c.keys = r.ColumnText(accountWidth), r.ColumnInt(accountWidth+1)
			c.Account, err = scanAccount(r)
			return err
		})
	if err == nil && c.ID == "" {
		err = ErrNoAccount
	}
	return c, err
}

// Limits of a cache of verdicts.
const (
	maxVerdicts     = 10_000
	verdictLifetime = time.Hour
)

// verdictCache remembers which passwords had one verdict. It holds neither passwords nor anything one could be tested against without its
// key, which never leaves the process.
type verdictCache struct {
	now   func() time.Time
	key   [32]byte
	until *lru.Cache[proof, time.Time]
}

type proof [sha256.Size]byte

func newVerdictCache(now func() time.Time) *verdictCache {
	c := &verdictCache{now: now, until: lru.New[proof, time.Time](maxVerdicts)}
	rand.Read(c.key[:])
	return c
}

func (c *verdictCache) proof(whose, secret string) (p proof) {
	m := hmac.New(sha256.New, c.key[:])
	m.Write([]byte(whose))
	m.Write([]byte{0}) // no PHC string has one
	m.Write([]byte(secret))
	m.Sum(p[:0])
	return p
}

func (c *verdictCache) has(whose, secret string) bool {
	_, ok := c.until.Get(c.proof(whose, secret), func(until time.Time) bool { return c.now().Before(until) })
	return ok
}

func (c *verdictCache) add(whose, secret string) {
	c.until.Put(c.proof(whose, secret), c.now().Add(verdictLifetime))
}
