// Package directorytest is the conformance suite of directory.Directory: what every implementation must answer.
package directorytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"posthouse/directory"
	"posthouse/mail"
	"posthouse/mail/mailtest"
)

// Open makes an empty directory that has the domain configured.test from its configuration and postmaster as its postmaster.
// Its passwords should be cheap to hash.
type Open func(t testing.TB, postmaster mail.Address) directory.Directory

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for name, test := range map[string]func(*testing.T, directory.Directory){
		"domains": domains, "accounts": accounts, "resolve": resolve, "alias loops": aliasLoops, "authenticate": authenticate,
		"alias targets": aliasTargets, "may send": maySend, "remove": remove, "many at once": manyAtOnce, "domains at once": domainsAtOnce,
		"app passwords": appPasswords, "scram": scram, "spending": spending, "suppressions": suppressions,
		"sharing": sharing, "shared accounts": sharedIsNobodys,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t, mailtest.Address("root@configured.test"))) })
	}
}

var ctx = context.Background()

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wants(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || (want == nil) != (err == nil) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func authenticated(d directory.Directory, name, secret string) (directory.Account, error) {
	return d.Authenticate(ctx, directory.Login{Name: name, Password: secret, Scope: directory.ScopeIMAP})
}

func add(t testing.TB, d directory.Directory, login string) directory.Account {
	t.Helper()
	a, err := d.AddAccount(ctx, mailtest.Address(login), "secret of "+login)
	must(t, err)
	return a
}

func alias(t testing.TB, d directory.Directory, from string, to ...string) {
	t.Helper()
	for _, target := range to {
		must(t, d.AddAlias(ctx, directory.Alias{Address: mailtest.Address(from), Target: mailtest.Address(target)}))
	}
}

func domains(t *testing.T, d directory.Directory) {
	must(t, d.AddDomain(ctx, directory.Domain{Name: "South.TEST"}))
	wants(t, d.AddDomain(ctx, directory.Domain{Name: "south.test"}), directory.ErrExists)
	wants(t, d.AddDomain(ctx, directory.Domain{Name: "so uth"}), mail.ErrAddress)
	list, err := d.Domains(ctx)
	must(t, err)
	if len(list) != 2 || list[0].Name != "configured.test" || list[1].Name != "south.test" {
		t.Errorf("%v", list)
	}
	for name, want := range map[string]bool{"south.test": true, "configured.test": true, "sub.south.test": false, "": false} {
		if ok, err := d.IsLocal(ctx, name); ok != want || err != nil {
			t.Errorf("%q: %v, %v", name, ok, err)
		}
	}
	must(t, d.RemoveDomain(ctx, "south.test"))
	wants(t, d.RemoveDomain(ctx, "south.test"), directory.ErrNoDomain)
	must(t, d.AddDomain(ctx, directory.Domain{Name: "east.test"}))
	must(t, d.RemoveDomain(ctx, "East.TEST"))
	if ok, _ := d.IsLocal(ctx, "south.test"); ok {
		t.Error("a removed domain is local")
	}
}

func accounts(t *testing.T, d directory.Directory) {
	a := add(t, d, "Alice@configured.test")
	if a.ID == "" || a.Login.String() != "alice@configured.test" {
		t.Errorf("%+v", a)
	}
	_, err := d.AddAccount(ctx, mailtest.Address("ALICE@configured.test"), "x")
	wants(t, err, directory.ErrExists)
	_, err = d.AddAccount(ctx, mailtest.Address("alice@elsewhere.test"), "x")
	wants(t, err, directory.ErrNoDomain)
	add(t, d, "bob@configured.test")
	var logins []string
	for a, err := range d.Accounts(ctx) {
		must(t, err)
		logins = append(logins, a.Login.String())
	}
	if !slices.Equal(logins, []string{"alice@configured.test", "bob@configured.test"}) {
		t.Errorf("%v", logins)
	}
	got, err := d.Account(ctx, mailtest.Address("aLiCe@configured.test"))
	must(t, err)
	if got.ID != a.ID {
		t.Errorf("%+v, want %+v", got, a)
	}
	_, err = d.Account(ctx, mailtest.Address("carol@configured.test"))
	wants(t, err, directory.ErrNoAccount)

	quota := directory.Quota{Octets: 1 << 40, Messages: 7}
	must(t, d.SetQuota(ctx, mailtest.Address("ALICE@configured.test"), quota))
	must(t, d.SetWithout(ctx, mailtest.Address("ALICE@configured.test"), "QRESYNC", "NOTIFY"))
	must(t, d.SetRole(ctx, mailtest.Address("ALICE@configured.test"), directory.Administrator))
	wants(t, d.SetRole(ctx, mailtest.Address("carol@configured.test"), directory.User), directory.ErrNoAccount)
	wants(t, d.SetWithout(ctx, mailtest.Address("carol@configured.test")), directory.ErrNoAccount)
	wants(t, d.SetQuota(ctx, mailtest.Address("carol@configured.test"), quota), directory.ErrNoAccount)
	if got, err := d.Account(ctx, mailtest.Address("alice@configured.test")); err != nil || got.Quota != quota || got.Without != "QRESYNC NOTIFY" || got.Role != directory.Administrator {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := d.Resolve(ctx, mailtest.Address("alice+x@configured.test")); err != nil || got.Quota != quota {
		t.Errorf("%+v, %v", got, err)
	}

	must(t, d.SetSentCopies(ctx, mailtest.Address("ALICE@configured.test"), directory.SentByServer))
	wants(t, d.SetSentCopies(ctx, mailtest.Address("carol@configured.test"), directory.SentByServer), directory.ErrNoAccount)
	for login, want := range map[string]directory.SentCopies{"alice@configured.test": directory.SentByServer, "bob@configured.test": directory.SentByClient} {
		if got, err := authenticated(d, login, "secret of "+strings.Replace(login, "alice", "Alice", 1)); err != nil || got.SentCopies != want {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

func resolve(t *testing.T, d directory.Directory) {
	alice, root := add(t, d, "alice@configured.test"), add(t, d, "root@configured.test")
	must(t, d.AddDomain(ctx, directory.Domain{Name: "catch.test", CatchAll: mailtest.Address("alice@configured.test")}))
	must(t, d.AddDomain(ctx, directory.Domain{Name: "away.test", CatchAll: mailtest.Address("all@elsewhere.test")}))
	alias(t, d, "info@configured.test", "alice@configured.test")
	alias(t, d, "team@configured.test", "info@configured.test", "Bob@elsewhere.test", "root@configured.test")
	for in, want := range map[string]struct {
		id              mail.AccountID
		targets, detail string
		err             error
	}{
		"Alice@configured.test":           {id: alice.ID},
		"alice+lists.go@configured.test":  {id: alice.ID, detail: "lists.go"},
		"alice+a+b@configured.test":       {id: alice.ID, detail: "a+b"},
		"info@configured.test":            {targets: "alice@configured.test"},
		"info+x@configured.test":          {targets: "alice@configured.test", detail: "x"},
		"team@configured.test":            {targets: "Bob@elsewhere.test root@configured.test alice@configured.test"},
		"postmaster@configured.test":      {id: root.ID},
		"PostMaster@catch.test":           {id: root.ID},
		"abuse@catch.test":                {id: root.ID},
		"whoever@catch.test":              {id: alice.ID},
		"whoever@away.test":               {targets: "all@elsewhere.test"},
		"nobody@configured.test":          {err: directory.ErrNoAddress},
		"+alice@configured.test":          {err: directory.ErrNoAddress},
		"alice@elsewhere.test":            {err: directory.ErrNotLocal},
		`"alice' OR 1=1"@configured.test`: {err: directory.ErrNoAddress},
	} {
		r, err := d.Resolve(ctx, mailtest.Address(in))
		var targets []string
		for _, a := range r.Targets {
			targets = append(targets, a.String())
		}
		if !errors.Is(err, want.err) || r.Account != want.id || strings.Join(targets, " ") != want.targets || r.Detail != want.detail {
			t.Errorf("%s: %+v, %v; want %+v", in, r, err, want)
		}
	}
	must(t, d.SetDisabled(ctx, alice.Login, time.Unix(1, 0)))
	_, err := d.Resolve(ctx, alice.Login)
	wants(t, err, directory.ErrDisabled)
}

func aliasLoops(t *testing.T, d directory.Directory) {
	add(t, d, "alice@configured.test")
	alias(t, d, "a@configured.test", "b@configured.test")
	alias(t, d, "b@configured.test", "a@configured.test")
	alias(t, d, "c@configured.test", "c@configured.test", "alice@configured.test")
	alias(t, d, "gone@configured.test", "nobody@configured.test")
	for in, want := range map[string]error{
		"a@configured.test": directory.ErrAliasLoop, "gone@configured.test": directory.ErrAliasLoop, "c@configured.test": nil,
	} {
		_, err := d.Resolve(ctx, mailtest.Address(in))
		wants(t, err, want)
	}
	for i := range directory.MaxAliasDepth + 1 {
		alias(t, d, "deep"+string(rune('a'+i))+"@configured.test", "deep"+string(rune('b'+i))+"@configured.test")
	}
	_, err := d.Resolve(ctx, mailtest.Address("deepa@configured.test"))
	wants(t, err, directory.ErrAliasLoop)
	wants(t, d.AddAlias(ctx, directory.Alias{Address: mailtest.Address("c@configured.test"), Target: mailtest.Address("C@configured.test")}), directory.ErrExists)
	wants(t, d.RemoveAlias(ctx, directory.Alias{Address: mailtest.Address("c@configured.test"), Target: mailtest.Address("x@y.test")}), directory.ErrNoAddress)
}

// A target means what the same address would as a recipient: none of them is lost because a rule other than the first finds it.
func aliasTargets(t *testing.T, d directory.Directory) {
	alice := add(t, d, "alice@configured.test")
	add(t, d, "bob@configured.test")
	add(t, d, "root@configured.test")
	must(t, d.AddDomain(ctx, directory.Domain{Name: "catch.test", CatchAll: mailtest.Address("Bob@configured.test")}))
	alias(t, d, "info@configured.test", "bob@configured.test")
	alias(t, d, "lists@configured.test", "alice+lists@configured.test")
	alias(t, d, "both@configured.test", "root@configured.test", "info+x@configured.test")
	alias(t, d, "duty@configured.test", "postmaster@configured.test")
	alias(t, d, "any@configured.test", "whoever@catch.test")
	alias(t, d, "round@configured.test", "round+x@configured.test", "bob@configured.test")
	for in, want := range map[string]string{
		"lists": "[alice@configured.test]", "both": "[root@configured.test bob@configured.test]", "duty": "[root@configured.test]",
		"any": "[bob@configured.test]", "round": "[bob@configured.test]",
	} {
		r, err := d.Resolve(ctx, mailtest.Address(in+"@configured.test"))
		if got := fmt.Sprint(r.Targets); got != want || err != nil {
			t.Errorf("%s: %s, %v; want %s", in, got, err, want)
		}
	}
	must(t, d.SetDisabled(ctx, alice.Login, time.Unix(1, 0)))
	alias(t, d, "off@catch.test", "alice@configured.test")
	_, err := d.Resolve(ctx, mailtest.Address("off@catch.test"))
	wants(t, err, directory.ErrAliasLoop)
	wants(t, d.AddAlias(ctx, directory.Alias{Address: mailtest.Address("info@configured.test")}), mail.ErrAddress)
	wants(t, d.AddAlias(ctx, directory.Alias{Address: mailtest.Address("Bob@configured.test"), Target: alice.Login}), directory.ErrExists)
}

func authenticate(t *testing.T, d directory.Directory) {
	alice, bob := add(t, d, "alice@configured.test"), add(t, d, "bob@configured.test")
	for range 2 { // the second time from the cache
		got, err := authenticated(d, "Alice@Configured.test", "secret of alice@configured.test")
		must(t, err)
		if got.ID != alice.ID {
			t.Errorf("%+v", got)
		}
		for login, secret := range map[string]string{
			"alice@configured.test":  "secret of bob@configured.test",
			"bob@configured.test":    "secret of alice@configured.test",
			"nobody@configured.test": "secret of alice@configured.test",
			"":                       "",
			"not an address":         "x",
			"alice":                  "secret of alice@configured.test",
		} {
			_, err := authenticated(d, login, secret)
			wants(t, err, directory.ErrCredentials)
		}
	}
	must(t, d.SetPassword(ctx, alice.Login, "new"))
	_, err := authenticated(d, "alice@configured.test", "secret of alice@configured.test")
	wants(t, err, directory.ErrCredentials)
	_, err = authenticated(d, "alice@configured.test", "new")
	must(t, err)
	must(t, d.SetDisabled(ctx, alice.Login, time.Unix(1, 0)))
	_, err = authenticated(d, "alice@configured.test", "wrong")
	wants(t, err, directory.ErrCredentials) // who does not know the password learns nothing
	_, err = authenticated(d, "alice@configured.test", "new")
	wants(t, err, directory.ErrDisabled)
	must(t, d.SetDisabled(ctx, alice.Login, time.Time{}))
	_, err = authenticated(d, "alice@configured.test", "new")
	must(t, err)
	wants(t, d.SetPassword(ctx, mailtest.Address("nobody@configured.test"), "x"), directory.ErrNoAccount)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := d.Authenticate(gone, directory.Login{Name: bob.Login.String(), Password: "unproven"}); err == nil || errors.Is(err, directory.ErrCredentials) {
		t.Errorf("an unfinished check said %v", err)
	}
}

func maySend(t *testing.T, d directory.Directory) {
	alice, bob := add(t, d, "alice@configured.test"), add(t, d, "bob@configured.test")
	must(t, d.AddDomain(ctx, directory.Domain{Name: "catch.test", CatchAll: alice.Login}))
	alias(t, d, "info@configured.test", "alice@configured.test")
	alias(t, d, "team@configured.test", "alice@configured.test", "bob@configured.test")
	for address, id := range map[string]mail.AccountID{
		"Alice@configured.test": alice.ID, "alice+x@configured.test": alice.ID, "info@configured.test": alice.ID, "any@catch.test": alice.ID,
		"bob@configured.test": bob.ID, "team@configured.test": "", "nobody@configured.test": "", "alice@elsewhere.test": "",
	} {
		for _, who := range []mail.AccountID{alice.ID, bob.ID, ""} {
			var want error
			if who != id || who == "" {
				want = directory.ErrNotOwner
			}
			if err := d.MaySend(ctx, who, mailtest.Address(address)); !errors.Is(err, want) {
				t.Errorf("%q as %s: %v, want %v", who, address, err, want)
			}
		}
	}
}

func remove(t *testing.T, d directory.Directory) {
	alice := add(t, d, "alice@configured.test")
	alias(t, d, "info@configured.test", "alice@configured.test")
	got, err := d.RemoveAccount(ctx, alice.Login)
	must(t, err)
	if got.ID != alice.ID {
		t.Errorf("%+v", got)
	}
	for _, a := range []string{"alice@configured.test", "info@configured.test"} {
		_, err := d.Resolve(ctx, mailtest.Address(a))
		wants(t, err, directory.ErrNoAddress)
	}
	_, err = authenticated(d, "alice@configured.test", "secret of alice@configured.test")
	wants(t, err, directory.ErrCredentials)
	_, err = d.RemoveAccount(ctx, alice.Login)
	wants(t, err, directory.ErrNoAccount)
	if again := add(t, d, "alice@configured.test"); again.ID == alice.ID {
		t.Error("an account's ID came again")
	}
}

func manyAtOnce(t *testing.T, d directory.Directory) {
	var wg sync.WaitGroup
	for i := range 8 {
		login := "user" + string(rune('a'+i)) + "@configured.test"
		wg.Go(func() {
			a, err := d.AddAccount(ctx, mailtest.Address(login), login)
			if err != nil {
				t.Error(err)
				return
			}
			for range 20 {
				if got, err := authenticated(d, login, login); err != nil || got.ID != a.ID {
					t.Errorf("%s: %+v, %v", login, got, err)
				}
				if r, err := d.Resolve(ctx, a.Login); err != nil || r.Account != a.ID {
					t.Errorf("%s: %+v, %v", login, r, err)
				}
			}
		})
	}
	wg.Wait()
}

// A domain that was added is there, whoever else adds one at the same time.
func domainsAtOnce(t *testing.T, d directory.Directory) {
	for round := range 30 {
		var wg sync.WaitGroup
		var names []string
		for i := range 8 {
			name := fmt.Sprintf("d%d-%d.test", round, i)
			names = append(names, name)
			wg.Go(func() {
				if err := d.AddDomain(ctx, directory.Domain{Name: name}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, name := range names {
			if ok, err := d.IsLocal(ctx, name); !ok || err != nil {
				t.Errorf("%s was added and is not local: %v", name, err)
			}
		}
	}
}
