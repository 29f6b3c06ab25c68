package directory

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
	"posthouse/mail"
)

// Limits of app passwords.
const (
	MaxAppPasswords = 100 // of an account
	MaxLabel        = 100 // octets
)

// Scope is what a credential opens, a set. An account's own password opens everything.
type Scope uint8

// The scopes there are.
const (
	ScopeSMTP Scope = 1 << iota
	ScopeIMAP
	ScopeHTTP
	ScopePOP3
)

var scopeNames = [...]string{"smtp", "imap", "http", "pop3"}

// ErrScope is what ParseScope answers to another word.
var ErrScope = errors.New("directory: not a scope")

// ParseScope reads names of scopes, divided by commas; "both" is what a mail program needs, smtp and imap.
func ParseScope(text string) (s Scope, err error) {
	for name := range strings.SplitSeq(strings.ReplaceAll(strings.ToLower(text), "both", "smtp,imap"), ",") {
		i := slices.Index(scopeNames[:], strings.TrimSpace(name))
		if i < 0 {
			return 0, fmt.Errorf("%w: %q is none of %s", ErrScope, name, strings.Join(scopeNames[:], ", "))
		}
		s |= 1 << i
	}
	return s, nil
}

func (s Scope) String() string {
	var names []string
	for i, name := range scopeNames {
		if s&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// MarshalText is encoding.TextMarshaler.
func (s Scope) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is encoding.TextUnmarshaler.
func (s *Scope) UnmarshalText(text []byte) (err error) {
	*s, err = ParseScope(string(text))
	return err
}

// AppPassword is a further password of an account, for one program. It is of our making, with too much chance in it to be guessed at.
type AppPassword struct {
	ID      string    `json:"id"`
	Label   string    `json:"label"` // the owner's words
	Scope   Scope     `json:"scope"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
	Used    time.Time `json:"used,omitzero"`    // the last time, to the minute; zero: never
	// Password is what AddAppPassword made. It is kept nowhere.
	Password string `json:"password,omitempty"`
}

// newAppPassword has 100 bits of chance, in groups that can be read aloud; its alphabet has neither 0 and 1 nor capitals.
func newAppPassword() string {
	var b [13]byte
	rand.Read(b[:])
	text := strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
	return text[:5] + "-" + text[5:10] + "-" + text[10:15] + "-" + text[15:20]
}

// digest is what is kept of an app password. A hash that costs little is enough for one that nobody can guess.
func (s *SQLite) digest(account mail.AccountID, secret string) []byte {
	m := hmac.New(sha256.New, s.house.secret)
	m.Write([]byte("app password\x00" + string(account) + "\x00" + secret))
	return m.Sum(nil)
}

// AddAppPassword is Directory. Those that are over go, to make room.
func (s *SQLite) AddAppPassword(ctx context.Context, login mail.Address, p AppPassword) (AppPassword, error) {
	account, err := s.person(ctx, login)
	if err != nil {
		return AppPassword{}, err
	}
	if p.Scope == 0 {
		return AppPassword{}, fmt.Errorf("%w: none is given", ErrScope)
	}
	now := s.opts.Now().Truncate(time.Second)
	p.ID, p.Password, p.Created, p.Used = strings.ToLower(rand.Text()[:10]), newAppPassword(), now, time.Time{}
	p.Label = cut(p.Label, MaxLabel)
	keys, err := s.makeKeys(ctx, login, p.Password)
	if err != nil {
		return AppPassword{}, err
	}
	return p, s.write(ctx, func(tx *db.Tx) error {
		if err := s.makeRoom(tx, account.ID); err != nil {
			return err
		}
		err := exec(tx, "INSERT INTO app_password(id, account, label, scope, digest, created, expires, used) VALUES(?, ?, ?, ?, ?, ?, ?, 0)",
			p.ID, string(account.ID), p.Label, int64(p.Scope), s.digest(account.ID, p.Password), now.Unix(), unix(p.Expires))
		if err != nil {
			return err
		}
		return insertKeys(tx, account.ID, p.ID, keys)
	})
}

// makeRoom forgets the app passwords that are over; ErrTooMany if too many are left.
func (s *SQLite) makeRoom(tx *db.Tx, account mail.AccountID) error {
	const over = "account=? AND expires<>0 AND expires<=?"
	now := s.opts.Now().Unix()
	err := errors.Join(
		exec(tx, "DELETE FROM scram WHERE account=? AND app IN (SELECT id FROM app_password WHERE "+over+")", string(account), string(account), now),
		exec(tx, "DELETE FROM app_password WHERE "+over, string(account), now))
	if err != nil {
		return err
	}
	left := 0
	err = query(tx.Conn, "SELECT count(*) FROM app_password WHERE account=?", []any{string(account)}, func(r *sqlite.Stmt) error {
		left = r.ColumnInt(0)
		return nil
	})
	if err == nil && left >= MaxAppPasswords {
		err = ErrTooMany
	}
	return err
}

// AppPasswords is Directory.
func (s *SQLite) AppPasswords(ctx context.Context, login mail.Address) iter.Seq2[AppPassword, error] {
	return rows(ctx, s, "SELECT p.id, p.label, p.scope, p.created, p.expires, p.used FROM app_password p JOIN account a ON a.id=p.account WHERE a.login=? ORDER BY p.created, p.id",
		func(r *sqlite.Stmt) (AppPassword, error) {
			return AppPassword{
				ID: r.ColumnText(0), Label: r.ColumnText(1), Scope: Scope(r.ColumnInt64(2)), Created: time.Unix(r.ColumnInt64(3), 0),
				Expires: fromUnix(r.ColumnInt64(4)), Used: fromUnix(r.ColumnInt64(5)),
			}, nil
		}, login.FoldLocal().String())
}

// RevokeAppPassword is Directory.
func (s *SQLite) RevokeAppPassword(ctx context.Context, login mail.Address, id string) error {
	account, err := s.Account(ctx, login)
	if err != nil {
		return err
	}
	return s.write(ctx, func(tx *db.Tx) error {
		if err := exec(tx, "DELETE FROM app_password WHERE account=? AND id=?", string(account.ID), id); err != nil {
			return err
		}
		if tx.Changes() == 0 {
			return ErrNoEntry
		}
		return exec(tx, "DELETE FROM scram WHERE account=? AND app=?", string(account.ID), id)
	})
}

// unix is a time in the database, where 0 is none.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func fromUnix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}
