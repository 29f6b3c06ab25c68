package directory

import (
	"container/list"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"posthouse/crypto/password"
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

// provenCache remembers which passwords were right, least recently used out first. It holds neither passwords nor anything one
// could be tested against without its key, which never leaves the process.
type provenCache struct {
	now func() time.Time
	key [32]byte

	mu    sync.Mutex
	known map[proof]*list.Element
	order *list.List // of proven, most recently used first
}

type proof [sha256.Size]byte

type proven struct {
	proof proof
	until time.Time
}

func newProvenCache(now func() time.Time) *provenCache {
	c := &provenCache{now: now, known: map[proof]*list.Element{}, order: list.New()}
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
	p := c.proof(hash, secret)
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.known[p]
	if !ok {
		return false
	}
	if c.now().After(e.Value.(proven).until) {
		c.order.Remove(e)
		delete(c.known, p)
		return false
	}
	c.order.MoveToFront(e)
	return true
}

func (c *provenCache) add(hash, secret string) {
	p := proven{c.proof(hash, secret), c.now().Add(provenLifetime)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.known[p.proof]; ok {
		e.Value = p
		return
	}
	c.known[p.proof] = c.order.PushFront(p)
	if c.order.Len() > maxProven {
		oldest := c.order.Back()
		c.order.Remove(oldest)
		delete(c.known, oldest.Value.(proven).proof)
	}
}
