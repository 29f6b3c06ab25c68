package directory_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"posthouse/crypto/password"
	"posthouse/directory"
	"posthouse/directory/directorytest"
	"posthouse/mail"
	"posthouse/mail/mailtest"
)

var cheap = password.Cost{Memory: 64, Time: 1, Iterations: 4096}

func open(t testing.TB, path string, o directory.Options) *directory.SQLite {
	t.Helper()
	o.Cost = cheap
	d, err := directory.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestConformance(t *testing.T) {
	directorytest.Run(t, func(t testing.TB, postmaster mail.Address) directory.Directory {
		return open(t, filepath.Join(t.TempDir(), "directory.db"), directory.Options{
			Domains: []directory.Domain{{Name: "configured.test"}}, Postmaster: postmaster,
		})
	})
}

func TestDeclaredAccountsFollowTheConfiguration(t *testing.T) {
	path, ctx := filepath.Join(t.TempDir(), "directory.db"), context.Background()
	login := mailtest.Address("alice@configured.test")
	var id mail.AccountID
	for _, secret := range []string{"first", "second"} {
		hash, err := password.NewHasher(cheap).Hash(ctx, secret)
		if err != nil {
			t.Fatal(err)
		}
		d := open(t, path, directory.Options{
			Domains: []directory.Domain{{Name: "configured.test"}}, Accounts: []directory.Declared{{Login: login, Hash: hash}},
		})
		a, err := d.Authenticate(ctx, directory.Login{Name: login.String(), Password: secret})
		if err != nil || id != "" && a.ID != id {
			t.Errorf("%+v, %v", a, err)
		}
		id = a.ID
		if err := d.SetPassword(ctx, login, "third"); !errors.Is(err, directory.ErrDeclared) {
			t.Errorf("another password: %v", err)
		}
		if err := d.RemoveDomain(ctx, "configured.test"); !errors.Is(err, directory.ErrDeclared) {
			t.Errorf("the removal of its domain: %v", err)
		}
		if _, err := d.RemoveAccount(ctx, login); !errors.Is(err, directory.ErrDeclared) {
			t.Errorf("its removal: %v", err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	bad := directory.Options{Domains: []directory.Domain{{Name: "configured.test"}}, Accounts: []directory.Declared{{Login: login, Hash: "plain"}}}
	if _, err := directory.Open(path, bad); !errors.Is(err, password.ErrFormat) {
		t.Error(err)
	}
}

func TestClosedIsUnavailable(t *testing.T) {
	d := open(t, filepath.Join(t.TempDir(), "directory.db"), directory.Options{Domains: []directory.Domain{{Name: "configured.test"}}})
	d.Close()
	for _, login := range []string{"alice@configured.test", "bob@configured.test"} {
		if _, err := d.Authenticate(context.Background(), directory.Login{Name: login, Password: "x"}); !errors.Is(err, directory.ErrUnavailable) {
			t.Error(err)
		}
		if _, err := d.Resolve(context.Background(), mailtest.Address(login)); !errors.Is(err, directory.ErrUnavailable) {
			t.Error(err)
		}
	}
}

// Whoever has no account learns so no sooner than who has a wrong password for one. Without the hash it would take a thousandth; a test
// may be held up, so that the fastest of several is compared, and generously.
func TestUnknownNamesTakeAsLong(t *testing.T) {
	d, err := directory.Open(filepath.Join(t.TempDir(), "directory.db"), directory.Options{
		Domains: []directory.Domain{{Name: "configured.test"}}, Cost: password.Cost{Memory: 8 << 10, Time: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.AddAccount(t.Context(), mailtest.Address("alice@configured.test"), "secret"); err != nil {
		t.Fatal(err)
	}
	fastest := func(name string) time.Duration {
		least := time.Hour
		for i := range 5 {
			wrong := directory.Login{Name: name, Password: fmt.Sprint("wrong ", i), Scope: directory.ScopeSMTP} // none is known to be wrong yet
			began := time.Now()
			if _, err := d.Authenticate(t.Context(), wrong); !errors.Is(err, directory.ErrCredentials) {
				t.Fatal(err)
			}
			least = min(least, time.Since(began))
		}
		return least
	}
	known := fastest("alice@configured.test")
	for _, name := range []string{"nobody@configured.test", "nobody@elsewhere.test", "no address", ""} {
		if took := fastest(name); took < known/10 || took > 10*known {
			t.Errorf("%q takes %s, an account %s", name, took, known)
		}
	}
}

func BenchmarkResolve(b *testing.B) {
	d := open(b, filepath.Join(b.TempDir(), "directory.db"), directory.Options{Domains: []directory.Domain{{Name: "configured.test"}}})
	a, err := d.AddAccount(context.Background(), mailtest.Address("alice@configured.test"), "x")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := d.Resolve(context.Background(), a.Login); err != nil {
			b.Fatal(err)
		}
	}
}

// A wrong password costs a slow hash once, whether there is such an account or not, however the name is written; and it is right as soon
// as the account's is changed to it.
func TestWrongPasswordCostsOnce(t *testing.T) {
	ctx := context.Background()
	d, err := directory.Open(filepath.Join(t.TempDir(), "directory.db"), directory.Options{
		Domains: []directory.Domain{{Name: "configured.test"}}, Cost: password.Cost{Memory: 64 << 10, Time: 2, Iterations: 4096},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	alice := mailtest.Address("alice@configured.test")
	if _, err := d.AddAccount(ctx, alice, "posthouse"); err != nil {
		t.Fatal(err)
	}
	try := func(name string) time.Duration {
		began := time.Now()
		if _, err := d.Authenticate(ctx, directory.Login{Name: name, Password: "wrong"}); !errors.Is(err, directory.ErrCredentials) {
			t.Errorf("%s: %v", name, err)
		}
		return time.Since(began)
	}
	for _, names := range [][2]string{{"alice@configured.test", "Alice@CONFIGURED.test"}, {"nobody@configured.test", "Nobody@CONFIGURED.test"}, {"nobody", "nobody"}} {
		first, again := try(names[0]), time.Hour
		for range 5 {
			again = min(again, try(names[1]))
		}
		if again > first/4 {
			t.Errorf("%s: %s, and then %s", names[0], first, again)
		}
	}
	if err := d.SetPassword(ctx, alice, "wrong"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Authenticate(ctx, directory.Login{Name: alice.String(), Password: "wrong"}); err != nil {
		t.Error("the new password:", err)
	}
}
