package directory

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"time"

	"posthouse/crypto/password"
	"posthouse/internal/lru"
	"posthouse/mail"
)

// Authenticate is Directory. A password proven before is found in the cache by a keyed hash of it and of the stored hash, so that a
// changed password is never the old one's, and one account's never another's; whether the account is disabled is always looked up.
func (s *SQLite) Authenticate(ctx context.Context, login, secret string) (Account, error) {
	account, hash, err := s.byLogin(ctx, login)
	if err != nil {
		return Account{}, err
	}
	if !s.proven.has(hash, secret) {
		switch err := s.hasher.Verify(ctx, hash, secret); {
		case errors.Is(err, password.ErrMismatch):
			return Account{}, ErrCredentials
		case err != nil:
			return Account{}, errors.Join(ErrUnavailable, err)
		}
		s.proven.add(hash, secret)
	}
	if !account.Disabled.IsZero() {
		return Account{}, ErrDisabled
	}
	return account, nil
}

// byLogin finds the account; for an unknown name the hash is empty, which costs as much to refuse.
func (s *SQLite) byLogin(ctx context.Context, login string) (Account, string, error) {
	name, err := mail.ParseAddress(login)
	if err != nil {
		return Account{}, "", nil
	}
	account, hash, err := s.account(ctx, name)
	if errors.Is(err, ErrNoAccount) {
		return Account{}, "", nil
	}
	return account, hash, err
}

// Limits of the cache of proven passwords.
const (
	maxProven      = 10_000
	provenLifetime = time.Hour
)

// provenCache remembers which passwords were right. It holds neither passwords nor anything one could be tested against without its
// key, which never leaves the process.
type provenCache struct {
	now   func() time.Time
	key   [32]byte
	until *lru.Cache[proof, time.Time]
}

type proof [sha256.Size]byte

func newProvenCache(now func() time.Time) *provenCache {
	c := &provenCache{now: now, until: lru.New[proof, time.Time](maxProven)}
	rand.Read(c.key[:])
	return c
}

func (c *provenCache) proof(hash, secret string) (p proof) {
	m := hmac.New(sha256.New, c.key[:])
	m.Write([]byte(hash))
	m.Write([]byte{0}) // no PHC string has one
	m.Write([]byte(secret))
	m.Sum(p[:0])
	return p
}

func (c *provenCache) has(hash, secret string) bool {
	if hash == "" {
		return false
	}
	_, ok := c.until.Get(c.proof(hash, secret), func(until time.Time) bool { return c.now().Before(until) })
	return ok
}

func (c *provenCache) add(hash, secret string) {
	c.until.Put(c.proof(hash, secret), c.now().Add(provenLifetime))
}
