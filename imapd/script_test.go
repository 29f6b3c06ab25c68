package imapd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"posthouse/crypto/password"
	"posthouse/directory"
	"posthouse/directory/oidc"
	"posthouse/directory/sasl"
	"posthouse/internal/testkit"
	"posthouse/internal/transcript"
	"posthouse/mail"
	"posthouse/mail/mailtest"
	"posthouse/mailbox"
)

const scripts = "../testdata/script/imap"

// The house of the tests is mail.south.test for south.test: bob, dave, carol, "full" who may hold 4 KiB in 3 messages, "gone" who is
// disabled, and team, which is a shared account. Passwords are "posthouse".
var house = sync.OnceValues(func() (directory.Directory, error) {
	d, err := openHouse(houseFile())
	if err == nil {
		err = errors.Join(furnish(d), d.Close()) // so that all is in the file
	}
	if err != nil {
		return nil, err
	}
	return openHouse(houseFile())
})

func houseFile() string { return filepath.Join(houseDir, "directory.db") }

func openHouse(file string) (*directory.SQLite, error) {
	return directory.Open(file, directory.Options{Cost: password.Cost{Memory: 8, Time: 1, Iterations: 4096}})
}

// ownHouse is a copy of the house, in which a test may share what it likes.
func ownHouse(t testing.TB) directory.Directory {
	t.Helper()
	mustHouse(t)
	octets, err := os.ReadFile(houseFile())
	file := filepath.Join(t.TempDir(), "directory.db")
	if err == nil {
		err = os.WriteFile(file, octets, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	d, err := openHouse(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// houseDir is the house's as long as the tests run.
var houseDir string

func TestMain(m *testing.M) {
	var err error
	if houseDir, err = os.MkdirTemp("", "imapd"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(houseDir) //nolint:errcheck // the tests are over
	os.Exit(code)
}

func furnish(d directory.Directory) error {
	ctx := context.Background()
	if err := d.AddDomain(ctx, directory.Domain{Name: "south.test"}); err != nil {
		return err
	}
	for _, name := range []string{"bob", "dave", "carol", "gone", "full", "plain", "chief"} {
		login := mailtest.Address(name + "@south.test")
		if _, err := d.AddAccount(ctx, login, "posthouse"); err != nil {
			return err
		}
		if name == "full" {
			if err := d.SetQuota(ctx, login, directory.Quota{Octets: 4096, Messages: 3}); err != nil {
				return err
			}
		}
		if name == "plain" { // whose client has bugs
			if err := d.SetWithout(ctx, login, "CONDSTORE", "SORT", "IMAP4rev2"); err != nil {
				return err
			}
		}
		if name == "chief" {
			if err := d.SetRole(ctx, login, directory.Administrator); err != nil {
				return err
			}
		}
		if name == "gone" {
			if err := d.SetDisabled(ctx, login, time.Now()); err != nil {
				return err
			}
		}
	}
	_, err := d.AddSharedAccount(ctx, mailtest.Address("team@south.test"))
	return err
}

// certificate is made once: a key costs time.
var certificate = sync.OnceValue(func() tls.Certificate {
	return testkit.Certificate(x509.Certificate{DNSNames: []string{"mail.south.test"}})
})

func testTLS() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{certificate()}, MinVersion: tls.VersionTLS12}
}

// testOptions are a server over real mailboxes, empty ones, that takes passwords without TLS.
func testOptions(t testing.TB) Options {
	t.Helper()
	return testOptionsOf(t, mailbox.Options{})
}

// testOptionsOf has its mailboxes kept so.
func testOptionsOf(t testing.TB, boxes mailbox.Options) Options {
	t.Helper()
	boxes.Dir, boxes.Log = t.TempDir(), slog.New(slog.DiscardHandler)
	d := ownHouse(t)
	store, err := mailbox.OpenSQLite(boxes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return Options{
		Hostname: "mail.south.test", Store: store, Auth: sasl.New(sasl.Options{Directory: d}), Sharing: d, TLS: testTLS(), AllowPlaintextAuth: true,
		Limits: Limits{LoginDelay: time.Millisecond}, Log: testkit.Log(t),
	}
}

// start serves on a loopback port until the test ends; every session must have ended by then.
func start(t testing.TB, o Options) (*Server, string) {
	t.Helper()
	s, l := NewServer(o), testkit.Listen(t)
	testkit.Serve(t, s, l)
	return s, l.Addr().String()
}

// settings are what a script may say about the server it is for.
var settings = map[string]func(t testing.TB, o *Options, value string){
	"tls":            func(_ testing.TB, o *Options, _ string) { o.TLS = nil },                  // no
	"plaintext-auth": func(_ testing.TB, o *Options, _ string) { o.AllowPlaintextAuth = false }, // no
	"issuer": func(t testing.TB, o *Options, v string) { // one that does not answer
		o.Auth = sasl.New(sasl.Options{Directory: mustHouse(t), Tokens: oidc.New(oidc.Options{Issuer: v, Audience: "mail"})})
	},
	"message-size":     func(t testing.TB, o *Options, v string) { o.Limits.MessageSize = int64(number(t, v)) },
	"sessions":         func(t testing.TB, o *Options, v string) { o.Limits.Sessions = number(t, v) },
	"network":          func(t testing.TB, o *Options, v string) { o.Limits.SessionsPerNetwork = number(t, v) },
	"account":          func(t testing.TB, o *Options, v string) { o.Limits.SessionsPerAccount = number(t, v) },
	"command-messages": func(t testing.TB, o *Options, v string) { o.Limits.CommandMessages = number(t, v) },
	"saved-messages":   func(t testing.TB, o *Options, v string) { o.Limits.SavedMessages = number(t, v) },
	"grants":           grant,
	"extra":            extra,
	"reference":        func(testing.TB, *Options, string) {}, // see TestScriptsAtDovecot
}

// extra has everybody see one of carol's mailboxes as his extra one.
func extra(t testing.TB, o *Options, name string) {
	t.Helper()
	carol, err := o.Sharing.Account(t.Context(), mailtest.Address("carol@south.test"))
	if err != nil {
		t.Fatal(err)
	}
	store := o.Store
	o.Extra = &Extra{Name: name, Rights: mailbox.MayLookUp | mailbox.MayRead, Open: func(mail.AccountID) mailbox.Account {
		a, _ := store.Account(context.Background(), carol.ID) // nil: the test fails
		return onlyBox{a, name}
	}}
}

// onlyBox is an account with one mailbox.
type onlyBox struct {
	mailbox.Account
	name string
}

func (a onlyBox) Boxes(ctx context.Context) ([]mailbox.Box, error) {
	b, err := a.Box(ctx, a.name)
	return []mailbox.Box{b}, err
}

// grant does what an operator may: "team@south.test INBOX anyone lrs; …". Boxes are made if need be.
func grant(t testing.TB, o *Options, value string) {
	t.Helper()
	ctx, d := t.Context(), o.Sharing
	id := func(name string) mail.AccountID {
		if name == mailbox.Anyone {
			return mailbox.Anyone
		}
		a, err := d.Account(ctx, mailtest.Address(name))
		if err != nil {
			t.Fatal(err)
		}
		return a.ID
	}
	for line := range strings.SplitSeq(value, ";") {
		f := strings.Fields(line)
		account, err := o.Store.Account(ctx, id(f[0]))
		if err != nil {
			t.Fatal(err)
		}
		box, err := account.Box(ctx, f[1])
		if err != nil {
			made, err := account.Apply(ctx, mailbox.CreateBox{Name: f[1]})
			if err != nil {
				t.Fatal(err)
			}
			box = made.Results[0].Box
		}
		rights, ok := mailbox.ParseRights(f[3])
		sharer := mailbox.Sharer{Account: account, Owner: id(f[0]), Hints: d}
		if err := sharer.Set(ctx, mailbox.SetRights{Box: box.ID, Who: string(id(f[2])), Op: mailbox.ReplaceFlags, Rights: rights}); err != nil || !ok {
			t.Fatalf("%s: %v", line, err)
		}
		if err := account.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func number(t testing.TB, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func scriptOptions(t testing.TB, s *transcript.Script) Options {
	t.Helper()
	o := testOptions(t)
	for name, value := range s.Settings {
		set, known := settings[name]
		if !known {
			t.Fatalf("no setting %q", name)
		}
		set(t, &o, value)
	}
	return o
}

func TestScripts(t *testing.T) {
	t.Parallel()
	transcript.RunDir(t, scripts, func(t *testing.T, s *transcript.Script) transcript.Options {
		t.Parallel()
		_, addr := start(t, scriptOptions(t, s))
		return transcript.Options{Dial: transcript.DialTCP(addr), Vars: names("bob@south.test", "dave@south.test")}
	})
}

// names are the login names as scripts write them, and what follows from bob's.
func names(bob, dave string) map[string]string {
	return map[string]string{
		"bob": bob, "dave": dave, "gone": "gone@south.test", "carol": "carol@south.test", "team": "team@south.test", "boblen": strconv.Itoa(len(bob)),
		"plain": base64.StdEncoding.EncodeToString([]byte("\x00" + bob + "\x00posthouse")),
	}
}
