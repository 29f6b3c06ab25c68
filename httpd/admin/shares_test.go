package admin

import (
	"strings"
	"testing"

	"posthouse/mail/mailtest"
	"posthouse/mailbox"
)

func TestShares(t *testing.T) {
	f := newFixture(t)
	f.want(200, "", "POST", "/v1/domains", `{"name":"south.test"}`)
	for _, name := range []string{"alice", "bob", "carol"} {
		f.want(200, name, "POST", "/v1/accounts", `{"login":"`+name+`@south.test","password":"secret"}`)
	}
	f.want(200, `"shared":true`, "POST", "/v1/accounts", `{"login":"team@south.test","shared":true}`)
	f.want(409, "nobody logs in", "PUT", "/v1/accounts/team@south.test/password", `{"password":"x"}`)
	const alice = "/v1/accounts/alice@south.test/shares"
	wants := func(path string, want ...string) {
		t.Helper()
		_, got := f.call("GET", path, "")
		if text := strings.Join(want, "\n"); strings.TrimSpace(got) != text {
			t.Errorf("%s; want %s", got, text)
		}
	}
	wants(alice)
	f.want(200, "", "POST", alice, `{"with":"BOB@south.test","box":"inbox","rights":"write"}`)
	f.want(200, "", "POST", alice, `{"with":"carol@south.test","box":"INBOX","rights":"cl"}`)
	wants(alice, `{"box":"INBOX","with":"bob@south.test","rights":"lrswite"}`, `{"box":"INBOX","with":"carol@south.test","rights":"lkx"}`)
	f.want(200, "", "POST", "/v1/accounts/team@south.test/shares", `{"with":"anyone","rights":"read"}`)
	if _, got := f.call("GET", "/v1/accounts/team@south.test/shares", ""); strings.Count(got, `"with":"anyone","rights":"lrs"`) != 6 {
		t.Errorf("not every mailbox is shared:\n%s", got)
	}
	for body, status := range map[string]int{
		`{"with":"bob@south.test","box":"none","rights":"read"}`:  404,
		`{"with":"bob@south.test","box":"a//b","rights":"read"}`:  400,
		`{"with":"nobody@south.test","rights":"read"}`:            404,
		`{"with":"not an address","rights":"read"}`:               400,
		`{"with":"alice@south.test","rights":"read"}`:             400,
		`{"with":"team@south.test","rights":"read"}`:              409,
		`{"with":"bob@south.test","rights":"readonly"}`:           400,
		`{"with":"bob@south.test","rights":""}`:                   400,
		`{"with":"bob@south.test","rights":"read","more":"else"}`: 400,
	} {
		f.want(status, "", "POST", alice, body)
	}
	f.want(404, "", "GET", "/v1/accounts/nobody@south.test/shares", "")

	bob, err := f.directory.Account(t.Context(), mailtest.Address("bob@south.test"))
	if err != nil {
		t.Fatal(err)
	}
	shared := func(want int) {
		t.Helper()
		owners, err := f.directory.SharedWith(t.Context(), bob.ID)
		if err != nil || len(owners) != want {
			t.Errorf("%v share with bob, %v; want %d", owners, err, want)
		}
	}
	shared(2)
	f.want(200, "", "DELETE", alice+"/bob@south.test?box=Sent", "")
	shared(2)
	f.want(200, "", "DELETE", alice+"/bob@south.test", "")
	shared(1)
	f.want(200, "", "DELETE", "/v1/accounts/team@south.test/shares/anyone", "")
	shared(0)

	// Who is removed is in no list any more.
	f.want(200, "", "DELETE", "/v1/accounts/carol@south.test", "")
	wants(alice)
	owner, err := f.directory.Account(t.Context(), mailtest.Address("alice@south.test"))
	if err != nil {
		t.Fatal(err)
	}
	account, err := f.store.Account(t.Context(), owner.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer account.Close()
	if b, err := account.Box(t.Context(), mailbox.Inbox); err != nil || len(b.ACL) != 0 {
		t.Errorf("%+v, %v", b, err)
	}
}
