// Package password hashes and verifies passwords with Argon2id (RFC 9106), kept as PHC strings
// ("$argon2id$v=19$m=19456,t=2,p=1$salt$hash"), and makes and checks the keys that SCRAM keeps of one (RFC 5802).
//
// It must not know accounts, storage or sessions. A hash costs memory and time on purpose, so a Hasher runs a bounded number of them
// at once; callers wait their turn, for a while, or give up with their context.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/sync/semaphore"
)

// Errors of a Hasher.
var (
	ErrMismatch = errors.New("password: wrong password")
	ErrFormat   = errors.New("password: not an Argon2id hash we take")
)

// MaxPassword is the longest password in octets; RFC 4616 sets no limit for PLAIN.
const MaxPassword = 1024

// maxWait is how long a caller waits for its turn.
const maxWait = 30 * time.Second

// The most that a stored hash may ask for: it may come from a configuration file.
const (
	maxMemory  = 256 << 10 // KiB
	maxTime    = 10
	maxThreads = 16
	maxOutput  = 64 // octets of salt or hash
	minOutput  = 8
)

// Cost is what one hash costs. The zero value is 19 MiB, 2 passes, 1 thread: the OWASP minimum, small enough for small machines.
type Cost struct {
	Memory uint32 // KiB
	Time   uint32
	// Iterations are those of SCRAM's keys. 0: 50,000. RFC 7677 §4 asks for 4,096 at least, OWASP for 600,000; but here the client
	// pays, at every connection, and the most widespread library, Cyrus SASL, refuses more than 65,536.
	Iterations int
}

// DefaultIterations are those of SCRAM's keys where a Cost names none.
const DefaultIterations = 50_000

// Hasher hashes and verifies, a bounded number at once.
type Hasher struct {
	cost  Cost
	turns *semaphore.Weighted
	dummy string // verified for names that do not exist, so that they take as long
}

// NewHasher makes a Hasher that runs one hash per CPU at once.
func NewHasher(c Cost) *Hasher {
	if c.Memory == 0 {
		c.Memory = 19 << 10
	}
	if c.Time == 0 {
		c.Time = 2
	}
	h := &Hasher{cost: c, turns: semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0)))}
	h.dummy = encode(phc{memory: c.Memory, time: c.Time, threads: 1, salt: salt(), hash: make([]byte, 32)})
	return h
}

// Hash makes the stored form of a password.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	if len(password) > MaxPassword {
		return "", fmt.Errorf("password: longer than %d octets", MaxPassword)
	}
	p := phc{memory: h.cost.Memory, time: h.cost.Time, threads: 1, salt: salt()}
	var err error
	p.hash, err = h.run(ctx, p, password, 32)
	if err != nil {
		return "", err
	}
	return encode(p), nil
}

// Verify is nil for the right password, ErrMismatch for another. An empty stored form never matches and takes as long as any.
func (h *Hasher) Verify(ctx context.Context, stored, password string) error {
	exists := stored != ""
	if !exists {
		stored = h.dummy
	}
	p, err := decode(stored)
	if err != nil {
		return err
	}
	if len(password) > MaxPassword {
		return ErrMismatch
	}
	got, err := h.run(ctx, p, password, uint32(len(p.hash)))
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(got, p.hash) != 1 || !exists {
		return ErrMismatch
	}
	return nil
}

// Check tells whether a stored form, from a configuration file say, is one that Verify takes.
func Check(stored string) error {
	_, err := decode(stored)
	return err
}

func (h *Hasher) run(ctx context.Context, p phc, password string, size uint32) ([]byte, error) {
	if err := h.turn(ctx); err != nil {
		return nil, err
	}
	defer h.turns.Release(1)
	return argon2.IDKey([]byte(password), p.salt, p.time, p.memory, p.threads, size), nil
}

// turn waits for a turn, but no longer than somebody waits for our answer: under a flood of attempts the late ones are given up, and cost
// nothing.
func (h *Hasher) turn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	return h.turns.Acquire(ctx, 1)
}

func salt() []byte {
	s := make([]byte, 16)
	rand.Read(s) // never fails: it ends the program instead
	return s
}

// phc is a parsed PHC string of Argon2id.
type phc struct {
	memory, time uint32
	threads      uint8
	salt, hash   []byte
}

func encode(p phc) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memory, p.time, p.threads,
		b64.EncodeToString(p.salt), b64.EncodeToString(p.hash))
}

func decode(s string) (p phc, err error) {
	f := strings.Split(s, "$")
	if len(f) != 6 || f[0] != "" || f[1] != "argon2id" || f[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return phc{}, ErrFormat
	}
	if n, err := fmt.Sscanf(f[3], "m=%d,t=%d,p=%d", &p.memory, &p.time, &p.threads); n != 3 || err != nil {
		return phc{}, ErrFormat
	}
	if p.memory < 8 || p.memory > maxMemory || p.time < 1 || p.time > maxTime || p.threads < 1 || p.threads > maxThreads {
		return phc{}, ErrFormat
	}
	if p.salt, err = base64.RawStdEncoding.Strict().DecodeString(f[4]); err != nil {
		return phc{}, ErrFormat
	}
	if p.hash, err = base64.RawStdEncoding.Strict().DecodeString(f[5]); err != nil {
		return phc{}, ErrFormat
	}
	if min(len(p.salt), len(p.hash)) < minOutput || max(len(p.salt), len(p.hash)) > maxOutput {
		return phc{}, ErrFormat
	}
	return p, nil
}
