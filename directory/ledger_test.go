package directory

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"zombiezen.com/go/sqlite"

	"posthouse/crypto/password"
	"posthouse/internal/db"
	"posthouse/mail"
	"posthouse/mail/mailtest"
)

func openAt(t testing.TB, path string, o Options) *SQLite {
	t.Helper()
	o.Domains, o.Cost = []Domain{{Name: "house.test"}}, password.Cost{Memory: 64, Time: 1, Iterations: 4096}
	s, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closed(t testing.TB, s *SQLite) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// number is what a query yields.
func number(t testing.TB, s *SQLite, text string) (n int64) {
	t.Helper()
	err := s.each(context.Background(), text, nil, func(r *sqlite.Stmt) error {
		n = r.ColumnInt64(0)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func add(t testing.TB, s *SQLite) Account {
	t.Helper()
	a, err := s.AddAccount(context.Background(), mailtest.Address("alice@house.test"), "secret")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// What is sent is counted over a restart, and is on the disk after the time that is promised.
func TestSpentIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, ctx := filepath.Join(t.TempDir(), "directory.db"), context.Background()
		s := openAt(t, path, Options{Allowance: Allowance{Messages: 3}})
		a, to := add(t, s), []mail.Address{mailtest.Address("bob@far.test")}
		for range 2 {
			if err := s.Spend(ctx, a.ID, to); err != nil {
				t.Fatal(err)
			}
		}
		if n := number(t, s, "SELECT count(*) FROM spent"); n != 0 {
			t.Error("a submission waited for the disk")
		}
		time.Sleep(flushEvery) // of the bubble's clock
		synctest.Wait()
		if n := number(t, s, "SELECT messages FROM spent"); n != 2 {
			t.Errorf("%d messages are on the disk", n)
		}
		if n := number(t, s, "SELECT count(*) FROM correspondent"); n != 1 {
			t.Errorf("%d correspondents are on the disk", n)
		}
		if err := s.Spend(ctx, a.ID, to); err != nil {
			t.Fatal(err)
		}
		closed(t, s) // writes the rest
		s = openAt(t, path, Options{Allowance: Allowance{Messages: 3}})
		defer closed(t, s)
		if err := s.Spend(ctx, a.ID, to); !errors.Is(err, ErrRate) {
			t.Errorf("the fourth message after a restart: %v", err)
		}
		time.Sleep(24 * time.Hour)
		if err := s.Spend(ctx, a.ID, to); err != nil {
			t.Errorf("on the next day: %v", err)
		}
		spent, err := s.Spent(ctx, a.Login)
		if err != nil || spent.Today != (Allowance{Messages: 1, Recipients: 1}) {
			t.Errorf("%+v, %v", spent, err)
		}
	})
}

// What is over goes, once a day: who was not written to in a year is new again.
func TestPruned(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := openAt(t, filepath.Join(t.TempDir(), "directory.db"), Options{Now: func() time.Time { return now }})
	defer closed(t, s)
	ctx, a, to := context.Background(), add(t, s), []mail.Address{mailtest.Address("bob@far.test")}
	if err := s.Suppress(ctx, Suppression{Address: to[0], Expires: now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		days int
		want int // new recipients of that day
	}{{0, 1}, {300, 0}, {300, 0}, {acquaintance, 1}} {
		now = now.AddDate(0, 0, step.days)
		if err := s.Spend(ctx, a.ID, to); err != nil {
			t.Fatal(err)
		}
		if spent, err := s.Spent(ctx, a.Login); err != nil || spent.Today.NewRecipients != step.want {
			t.Errorf("after %d days more: %+v, %v", step.days, spent.Today, err)
		}
		if err := s.ledger.flush(); err != nil {
			t.Fatal(err)
		}
	}
	if n := number(t, s, "SELECT count(*) FROM suppression"); n != 0 {
		t.Error("a suppression that is over is still there")
	}
}

// The last use is told, with at most one write a minute.
func TestLastUse(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := openAt(t, filepath.Join(t.TempDir(), "directory.db"), Options{Now: func() time.Time { return now }})
	defer closed(t, s)
	ctx, a := context.Background(), add(t, s)
	p, err := s.AddAppPassword(ctx, a.Login, AppPassword{Scope: ScopeSMTP})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ after, want time.Duration }{{0, 0}, {59 * time.Second, 0}, {time.Second, time.Minute}} {
		now = now.Add(step.after)
		if _, err := s.Authenticate(ctx, Login{Name: "alice@house.test", Password: p.Password, Scope: ScopeSMTP}); err != nil {
			t.Fatal(err)
		}
		if err := s.ledger.flush(); err != nil {
			t.Fatal(err)
		}
		for got, err := range s.AppPasswords(ctx, a.Login) {
			if want := time.Unix(1_800_000_000, 0).Add(step.want); err != nil || !got.Used.Equal(want) {
				t.Errorf("%s, %v; want %s", got.Used, err, want)
			}
		}
	}
}

// A database of format 1 is taken on: its accounts get the keys of SCRAM at their next login by password, and only then.
func TestUpgrade(t *testing.T) {
	path, ctx := filepath.Join(t.TempDir(), "directory.db"), context.Background()
	old, err := db.Open(db.Options{Path: path, ApplicationID: applicationID, Schema: schema()[:1]})
	if err != nil {
		t.Fatal(err)
	}
	hash, err := password.NewHasher(password.Cost{Memory: 64, Time: 1}).Hash(ctx, "secret")
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(old.Write(ctx, func(tx *db.Tx) error {
		return exec(tx, "INSERT INTO account(id, login, hash, created, disabled) VALUES('a', 'alice@house.test', ?, 1, 0)", hash)
	}), old.Close())
	if err != nil {
		t.Fatal(err)
	}
	s := openAt(t, path, Options{SCRAM: []password.Hash{password.SHA256, password.SHA1}})
	defer closed(t, s)
	for _, step := range []struct {
		secret string
		err    error
		keys   int64
	}{{"wrong", ErrCredentials, 0}, {"secret", nil, 2}, {"secret", nil, 2}} {
		if _, err := s.Authenticate(ctx, Login{Name: "alice@house.test", Password: step.secret}); !errors.Is(err, step.err) {
			t.Errorf("%+v: %v", step, err)
		}
		if n := number(t, s, "SELECT count(*) FROM scram WHERE account='a'"); n != step.keys {
			t.Errorf("%+v: %d keys", step, n)
		}
	}
}

// The keys of a declared account's old password go with it, and those of the same one stay.
func TestDeclaredKeys(t *testing.T) {
	path, ctx := filepath.Join(t.TempDir(), "directory.db"), context.Background()
	hasher := password.NewHasher(password.Cost{Memory: 64, Time: 1})
	first, err := hasher.Hash(ctx, "first")
	if err != nil {
		t.Fatal(err)
	}
	second, err := hasher.Hash(ctx, "second")
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		hash, login string
		before      int64
	}{{first, "first", 0}, {first, "first", 1}, {second, "second", 0}} {
		s := openAt(t, path, Options{Accounts: []Declared{{mailtest.Address("alice@house.test"), step.hash}}})
		if n := number(t, s, "SELECT count(*) FROM scram"); n != step.before {
			t.Errorf("%s: %d keys before the first login", step.login, n)
		}
		if _, err := s.Authenticate(ctx, Login{Name: "alice@house.test", Password: step.login}); err != nil {
			t.Error(err)
		}
		closed(t, s)
	}
}

// Nothing of an account is left when it is removed, not even what was to be written.
func TestNothingIsLeft(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "directory.db"), Options{})
	defer closed(t, s)
	ctx, a := context.Background(), add(t, s)
	p, err := s.AddAppPassword(ctx, a.Login, AppPassword{Scope: ScopeSMTP})
	if err != nil {
		t.Fatal(err)
	}
	_, loggedIn := s.Authenticate(ctx, Login{Name: "alice@house.test", Password: p.Password, Scope: ScopeSMTP})
	spent := s.Spend(ctx, a.ID, []mail.Address{mailtest.Address("bob@far.test")})
	flushed := s.ledger.flush()
	limited := s.SetAllowance(ctx, a.Login, Allowance{Messages: 7})
	again := s.Spend(ctx, a.ID, []mail.Address{mailtest.Address("carol@far.test")})
	_, removed := s.RemoveAccount(ctx, a.Login)
	if err := errors.Join(loggedIn, spent, flushed, limited, again, removed, s.ledger.flush()); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"account", "app_password", "scram", "allowance", "spent", "correspondent"} {
		if n := number(t, s, "SELECT count(*) FROM "+table); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
}

func BenchmarkSpend(b *testing.B) {
	s := openAt(b, filepath.Join(b.TempDir(), "directory.db"), Options{Allowance: Allowance{Messages: 1 << 30}})
	defer closed(b, s)
	a, to := add(b, s), []mail.Address{mailtest.Address("bob@far.test")}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Spend(context.Background(), a.ID, to); err != nil {
			b.Fatal(err)
		}
	}
}
