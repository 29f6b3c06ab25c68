package directorytest

import (
	"strings"
	"testing"

	"posthouse/directory"
	"posthouse/mail"
	"posthouse/mail/mailtest"
)

func sharing(t *testing.T, d directory.Directory) {
	alice, bob, carol := add(t, d, "alice@configured.test"), add(t, d, "bob@configured.test"), add(t, d, "carol@configured.test")
	team, err := d.AddSharedAccount(ctx, mailtest.Address("Team@configured.test"))
	must(t, err)
	_, err = d.AddSharedAccount(ctx, mailtest.Address("alice@configured.test"))
	wants(t, err, directory.ErrExists)
	_, err = d.AddSharedAccount(ctx, mailtest.Address("team@elsewhere.test"))
	wants(t, err, directory.ErrNoDomain)
	for _, a := range []directory.Account{alice, team} {
		got, err := d.AccountByID(ctx, a.ID)
		must(t, err)
		if got.Login != a.Login || got.Shared != (a.ID == team.ID) {
			t.Errorf("%+v; want %+v", got, a)
		}
	}
	_, err = d.AccountByID(ctx, "nobody")
	wants(t, err, directory.ErrNoAccount)
	if r, err := d.Resolve(ctx, team.Login); err != nil || r.Account != team.ID {
		t.Errorf("%+v, %v", r, err)
	}

	with := func(id mail.AccountID, want string) {
		t.Helper()
		list, err := d.SharedWith(ctx, id)
		must(t, err)
		var names []string
		for _, a := range list {
			names = append(names, a.Login.Local())
			if may, err := d.MayShare(ctx, a.ID, id); err != nil || !may {
				t.Errorf("%s may not share with %s: %v", a.Login, id, err)
			}
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q share with %s; want %q", got, id, want)
		}
	}
	with(bob.ID, "")
	for range 2 {
		must(t, d.Share(ctx, alice.ID, bob.ID))
		must(t, d.Share(ctx, team.ID, directory.Anyone))
	}
	wants(t, d.Share(ctx, "nobody", bob.ID), directory.ErrNoAccount)
	with(bob.ID, "alice team")
	with(carol.ID, "team")
	with(team.ID, "")
	if may, err := d.MayShare(ctx, alice.ID, carol.ID); err != nil || may {
		t.Errorf("alice shares with carol: %v", err)
	}
	must(t, d.Share(ctx, bob.ID, carol.ID))
	must(t, d.Unshare(ctx, bob.ID, carol.ID))
	must(t, d.Unshare(ctx, bob.ID, carol.ID))
	with(carol.ID, "team")
	must(t, d.Share(ctx, bob.ID, alice.ID))
	_, err = d.RemoveAccount(ctx, alice.Login)
	must(t, err)
	with(bob.ID, "team")
	with(alice.ID, "team") // by everybody; what bob had shared is forgotten
}

// Nobody logs in to a shared account, whatever he tries.
func sharedIsNobodys(t *testing.T, d directory.Directory) {
	login := mailtest.Address("team@configured.test")
	_, err := d.AddSharedAccount(ctx, login)
	must(t, err)
	for range 2 {
		for _, secret := range []string{"", "secret", "secret of team@configured.test"} {
			_, err := authenticated(d, "team@configured.test", secret)
			wants(t, err, directory.ErrCredentials)
		}
	}
	wants(t, d.SetPassword(ctx, login, "secret"), directory.ErrShared)
	_, err = d.AddAppPassword(ctx, login, directory.AppPassword{Scope: directory.ScopeIMAP})
	wants(t, err, directory.ErrShared)
	_, _, err = d.Prove(ctx, directory.Proof{Name: "team@configured.test", Hash: "SHA-256", Message: []byte("x"), Proof: make([]byte, 32), Scope: directory.ScopeIMAP})
	wants(t, err, directory.ErrCredentials)
}
