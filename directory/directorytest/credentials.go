package directorytest

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"posthouse/crypto/password"
	"posthouse/directory"
	"posthouse/mail"
	"posthouse/mail/mailtest"
)

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// prove does what a client of SCRAM-SHA-256 does: RFC 5802 §3.
func prove(t testing.TB, d directory.Directory, name, secret string, scope directory.Scope) (directory.Account, error) {
	t.Helper()
	c, err := d.Challenge(ctx, name)
	must(t, err)
	salted, err := pbkdf2.Key(sha256.New, secret, c.Salt, c.Iterations, sha256.Size)
	must(t, err)
	message := "the dialogue with " + name
	client := mac(salted, "Client Key")
	stored := sha256.Sum256(client)
	proof := make([]byte, len(client))
	subtle.XORBytes(proof, client, mac(stored[:], message))
	a, signature, err := d.Prove(ctx, directory.Proof{Name: name, Scope: scope, Hash: password.SHA256, Message: []byte(message), Proof: proof})
	if err == nil && !hmac.Equal(signature, mac(mac(salted, "Server Key"), message)) {
		t.Errorf("%s: the server's signature is wrong", name)
	}
	return a, err
}

func scram(t *testing.T, d directory.Directory) {
	alice, bob := add(t, d, "alice@configured.test"), add(t, d, "bob@configured.test")
	if a, err := prove(t, d, "Alice@configured.test", "secret of alice@configured.test", directory.ScopeSMTP); err != nil || a.ID != alice.ID {
		t.Errorf("%+v, %v", a, err)
	}
	for name, secret := range map[string]string{
		"alice@configured.test": "secret of bob@configured.test", "nobody@configured.test": "", "not an address": "x", "": "",
	} {
		_, err := prove(t, d, name, secret, directory.ScopeSMTP)
		wants(t, err, directory.ErrCredentials)
	}
	for _, proof := range [][]byte{nil, make([]byte, 32), make([]byte, 31), make([]byte, 1000)} {
		_, _, err := d.Prove(ctx, directory.Proof{Name: bob.Login.String(), Hash: password.SHA256, Message: []byte("x"), Proof: proof})
		wants(t, err, directory.ErrCredentials)
	}
	must(t, d.SetPassword(ctx, alice.Login, "new"))
	_, err := prove(t, d, "alice@configured.test", "secret of alice@configured.test", directory.ScopeSMTP)
	wants(t, err, directory.ErrCredentials)
	_, err = prove(t, d, "alice@configured.test", "new", directory.ScopeSMTP)
	must(t, err)
	must(t, d.SetDisabled(ctx, alice.Login, time.Unix(1, 0)))
	_, err = prove(t, d, "alice@configured.test", "new", directory.ScopeSMTP)
	wants(t, err, directory.ErrDisabled)
	saltsTellNothing(t, d)
}

// An unknown name has a salt that stays, as a known one has; no two have the same.
func saltsTellNothing(t *testing.T, d directory.Directory) {
	seen := map[string]string{}
	for _, name := range []string{"alice@configured.test", "bob@configured.test", "nobody@configured.test", "nobody", "", "ж@configured.test"} {
		first, err := d.Challenge(ctx, name)
		must(t, err)
		again, err := d.Challenge(ctx, strings.ToUpper(name))
		must(t, err)
		known, err := d.Challenge(ctx, "bob@configured.test")
		must(t, err)
		if string(first.Salt) != string(again.Salt) || first.Iterations != known.Iterations || len(first.Salt) != len(known.Salt) || seen[string(first.Salt)] != "" {
			t.Errorf("%q: %+v, then %+v", name, first, again)
		}
		seen[string(first.Salt)] = "seen"
	}
}

func appPasswords(t *testing.T, d directory.Directory) {
	alice, bob := add(t, d, "alice@configured.test"), add(t, d, "bob@configured.test")
	made := func(p directory.AppPassword) directory.AppPassword {
		p, err := d.AddAppPassword(ctx, alice.Login, p)
		must(t, err)
		return p
	}
	phone := made(directory.AppPassword{Label: "phone", Scope: directory.ScopeSMTP | directory.ScopeIMAP})
	printer := made(directory.AppPassword{Label: "printer", Scope: directory.ScopeSMTP, Expires: time.Now().Add(time.Hour)})
	over := made(directory.AppPassword{Label: "old", Scope: directory.ScopeSMTP, Expires: time.Now().Add(-time.Hour)})
	if phone.Password == printer.Password || len(phone.Password) < 20 {
		t.Errorf("%q, %q", phone.Password, printer.Password)
	}
	check := func(p directory.AppPassword, who directory.Account, scope directory.Scope, want error) {
		t.Helper()
		got, err := d.Authenticate(ctx, directory.Login{Name: who.Login.String(), Password: p.Password, Scope: scope})
		wants(t, err, want)
		proven, err := prove(t, d, who.Login.String(), p.Password, scope)
		wants(t, err, want)
		until := p.Expires.Truncate(time.Second)
		if want == nil && (got.ID != alice.ID || proven.ID != alice.ID || !got.Until.Equal(until) || !proven.Until.Equal(until)) {
			t.Errorf("%+v, %+v", got, proven)
		}
	}
	for range 2 { // nothing is remembered that should not be
		check(phone, alice, directory.ScopeSMTP, nil)
		check(phone, alice, directory.ScopeIMAP, nil)
		check(printer, alice, directory.ScopeSMTP, nil)
		check(printer, alice, directory.ScopeIMAP, directory.ErrCredentials)
		check(over, alice, directory.ScopeSMTP, directory.ErrCredentials)
		check(phone, bob, directory.ScopeSMTP, directory.ErrCredentials)
	}
	wants(t, d.RevokeAppPassword(ctx, bob.Login, phone.ID), directory.ErrNoEntry)
	must(t, d.RevokeAppPassword(ctx, alice.Login, phone.ID))
	wants(t, d.RevokeAppPassword(ctx, alice.Login, phone.ID), directory.ErrNoEntry)
	check(phone, alice, directory.ScopeSMTP, directory.ErrCredentials)
	_, err := authenticated(d, "alice@configured.test", "secret of alice@configured.test")
	must(t, err)
	must(t, d.SetPassword(ctx, alice.Login, "new"))
	check(printer, alice, directory.ScopeSMTP, nil) // it is a password of its own
	must(t, d.SetDisabled(ctx, alice.Login, time.Unix(1, 0)))
	check(printer, alice, directory.ScopeSMTP, directory.ErrDisabled)
	must(t, d.SetDisabled(ctx, alice.Login, time.Time{}))
	listed(t, d, alice)
	_, err = d.RemoveAccount(ctx, alice.Login)
	must(t, err)
	alice = add(t, d, "alice@configured.test")
	check(printer, alice, directory.ScopeSMTP, directory.ErrCredentials)
}

// The list says everything but the passwords, and there is an end to it.
func listed(t *testing.T, d directory.Directory, alice directory.Account) {
	var labels []string
	for p, err := range d.AppPasswords(ctx, alice.Login) {
		must(t, err)
		labels = append(labels, fmt.Sprintf("%s %s", p.Label, p.Scope))
		if p.Password != "" || p.ID == "" || p.Created.IsZero() || p.Label == "printer" && p.Expires.IsZero() {
			t.Errorf("%+v", p)
		}
	}
	if len(labels) < 1 || !strings.Contains(strings.Join(labels, ";"), "printer smtp") {
		t.Errorf("%q", labels)
	}
	_, err := d.AddAppPassword(ctx, mailtest.Address("nobody@configured.test"), directory.AppPassword{Scope: directory.ScopeSMTP})
	wants(t, err, directory.ErrNoAccount)
	_, err = d.AddAppPassword(ctx, alice.Login, directory.AppPassword{})
	wants(t, err, directory.ErrScope)
	for range directory.MaxAppPasswords + 1 {
		if _, err = d.AddAppPassword(ctx, alice.Login, directory.AppPassword{Scope: directory.ScopeIMAP}); err != nil {
			break
		}
	}
	wants(t, err, directory.ErrTooMany)
}

func spending(t *testing.T, d directory.Directory) {
	alice, bob := add(t, d, "alice@configured.test"), add(t, d, "bob@configured.test")
	to := func(names ...string) (list []mail.Address) {
		for _, name := range names {
			list = append(list, mailtest.Address(name+"@elsewhere.test"))
		}
		return list
	}
	for range 50 { // without an allowance
		must(t, d.Spend(ctx, bob.ID, to("a", "b")))
	}
	must(t, d.SetAllowance(ctx, alice.Login, directory.Allowance{Messages: 4, Recipients: 6, NewRecipients: 3}))
	wants(t, d.SetAllowance(ctx, mailtest.Address("nobody@configured.test"), directory.Allowance{}), directory.ErrNoAccount)
	for i, step := range []struct {
		to   []mail.Address
		want error
	}{
		{to("a", "b", "A"), nil},               // two, both new
		{to("c", "d"), directory.ErrRate},      // two new ones more
		{to("a", "c"), nil},                    // one new
		{to("d"), directory.ErrRate},           // one more
		{to("a", "b", "c"), directory.ErrRate}, // seven recipients
		{to("a"), nil},                         //
		{to("a"), nil},                         // six
		{to("a"), directory.ErrRate},           // five messages
	} {
		if err := d.Spend(ctx, alice.ID, step.to); !errors.Is(err, step.want) || (err == nil) != (step.want == nil) {
			t.Errorf("step %d: %v, want %v", i, err, step.want)
		}
	}
	spent, err := d.Spent(ctx, alice.Login)
	must(t, err)
	if spent.Today != (directory.Allowance{Messages: 4, Recipients: 6, NewRecipients: 3}) || spent.Allowed != spent.Own {
		t.Errorf("%+v", spent)
	}
	must(t, d.SetAllowance(ctx, alice.Login, directory.Allowance{Messages: directory.AnyNumber, Recipients: 100, NewRecipients: 3}))
	must(t, d.Spend(ctx, alice.ID, to("a")))
	wants(t, d.Spend(ctx, alice.ID, to("d")), directory.ErrRate)
	_, err = d.RemoveAccount(ctx, alice.Login)
	must(t, err)
	_, err = d.Spent(ctx, alice.Login)
	wants(t, err, directory.ErrNoAccount)
}

func suppressions(t *testing.T, d directory.Directory) {
	now := time.Now().Truncate(time.Second)
	gone := directory.Suppression{Address: mailtest.Address("gone@elsewhere.test"), Reason: "550 no such user", Since: now}
	must(t, d.Suppress(ctx, gone))
	gone.Reason = strings.Repeat("ж", directory.MaxReason)
	must(t, d.Suppress(ctx, gone))
	must(t, d.Suppress(ctx, directory.Suppression{Address: mailtest.Address("full@elsewhere.test"), Reason: "x", Expires: now.Add(-time.Hour)}))
	must(t, d.Suppress(ctx, directory.Suppression{Address: mailtest.Address("later@elsewhere.test"), Reason: "x", Expires: now.Add(time.Hour)}))
	wants(t, d.Suppress(ctx, directory.Suppression{}), mail.ErrAddress)
	must(t, d.Suppress(ctx, directory.Suppression{Address: gone.Address, Reason: "550", Expires: now.Add(time.Hour)}))
	if s, err := d.Suppressed(ctx, gone.Address); err != nil || !s.Expires.IsZero() || s.Reason == "550" {
		t.Errorf("for good: %+v, %v", s, err)
	}
	for name, want := range map[string]bool{"gone": true, "Gone": true, "later": true, "full": false, "bob": false} {
		s, err := d.Suppressed(ctx, mailtest.Address(name+"@elsewhere.test"))
		must(t, err)
		if (s.Address != mail.Address{}) != want {
			t.Errorf("%s: %+v", name, s)
		}
	}
	var list []string
	for s, err := range d.Suppressions(ctx) {
		must(t, err)
		list = append(list, s.Address.String())
		if len(s.Reason) > directory.MaxReason || s.Since.IsZero() {
			t.Errorf("%+v", s)
		}
	}
	if got := strings.Join(list, " "); got != "gone@elsewhere.test later@elsewhere.test" {
		t.Error(got)
	}
	must(t, d.Unsuppress(ctx, mailtest.Address("GONE@elsewhere.test")))
	wants(t, d.Unsuppress(ctx, gone.Address), directory.ErrNoEntry)
}
