package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"posthouse/crypto/password"
	"posthouse/directory"
	"posthouse/mail"
	"posthouse/mailbox"
	"posthouse/spool"
)

type fixture struct {
	t            *testing.T
	handler      http.Handler
	spool        *spool.SQLite
	store        *mailbox.SQLite
	directory    *directory.SQLite
	disconnected []mail.AccountID
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t}
	dir := t.TempDir()
	d, err := directory.Open(filepath.Join(dir, "directory.db"), directory.Options{Cost: password.Cost{Memory: 64, Time: 1, Iterations: 4096}})
	if err != nil {
		t.Fatal(err)
	}
	if f.spool, err = spool.OpenSQLite(spool.Options{Dir: filepath.Join(dir, "spool")}); err != nil {
		t.Fatal(err)
	}
	if f.store, err = mailbox.OpenSQLite(mailbox.Options{Dir: filepath.Join(dir, "accounts")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(f.spool.Close(), f.store.Close(), d.Close()); err != nil {
			t.Error(err)
		}
	})
	f.directory = d
	f.handler = New(Options{Spool: f.spool, Directory: d, Store: f.store, Version: "test", Bans: f.bans(), Disconnect: func(id mail.AccountID) {
		f.disconnected = append(f.disconnected, id)
	}})
	return f
}

// call makes a request and returns status and body.
func (f *fixture) call(method, path, body string) (int, string) {
	f.t.Helper()
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

// want makes a request and checks its status, and that the answer has the words.
func (f *fixture) want(status int, words, method, path, body string) string {
	f.t.Helper()
	got, text := f.call(method, path, body)
	if got != status || !strings.Contains(text, words) {
		f.t.Errorf("%s %s: %d %s; want %d with %s", method, path, got, text, status, words)
	}
	return text
}

func (f *fixture) add(from, to string) mail.ID {
	f.t.Helper()
	var env mail.Envelope
	for s, a := range map[string]*mail.Address{from: &env.From, to: new(mail.Address)} {
		if err := a.UnmarshalText([]byte(s)); err != nil {
			f.t.Fatal(err)
		}
		if a != &env.From {
			env.To = []mail.Recipient{{Address: *a}}
		}
	}
	env.MessageID = "id-of-" + from
	d, err := f.spool.Create(context.Background(), env)
	if err != nil {
		f.t.Fatal(err)
	}
	fmt.Fprintf(d, "Subject: to %s\r\n\r\nhello\r\n", to)
	id, err := d.Commit(context.Background())
	if err != nil {
		f.t.Fatal(err)
	}
	return id
}

func TestDirectory(t *testing.T) {
	f := newFixture(t)
	f.want(200, "", "POST", "/v1/domains", `{"name":"house.test"}`)
	f.want(409, "exists", "POST", "/v1/domains", `{"name":"house.test"}`)
	f.want(400, "unknown field", "POST", "/v1/domains", `{"nam":"house.test"}`)
	f.want(200, "alice@house.test", "POST", "/v1/accounts", `{"login":"Alice@house.test","password":"x"}`)
	f.want(400, "empty", "POST", "/v1/accounts", `{"login":"bob@house.test","password":""}`)
	f.want(400, "longer", "POST", "/v1/accounts", `{"login":"bob@house.test","password":"`+strings.Repeat("x", directory.MaxPassword+1)+`"}`)
	f.want(400, "address", "POST", "/v1/accounts", `{"login":"bob","password":"x"}`)
	f.want(404, "domain", "POST", "/v1/accounts", `{"login":"bob@other.test","password":"x"}`)
	f.want(200, "", "POST", "/v1/aliases", `{"address":"info@house.test","target":"alice@house.test"}`)
	f.want(200, "info@house.test", "GET", "/v1/aliases", "")
	var a directory.Account
	if err := json.Unmarshal([]byte(f.want(200, "", "GET", "/v1/accounts/alice@house.test", "")), &a); err != nil {
		t.Fatal(err)
	}
	f.want(200, "", "POST", "/v1/accounts/alice@house.test/disable", "")
	f.want(200, `"disabled"`, "GET", "/v1/accounts", "")
	f.want(200, "", "POST", "/v1/accounts/alice@house.test/enable", "")
	f.want(400, "", "POST", "/v1/accounts/alice@house.test/paint", "")
	f.want(200, "", "PUT", "/v1/accounts/alice@house.test/password", `{"password":"new"}`)
	f.want(200, "", "DELETE", "/v1/aliases/info@house.test/alice@house.test", "")
	if _, err := f.store.Account(context.Background(), a.ID); err != nil {
		t.Fatal(err)
	}
	f.want(200, "", "DELETE", "/v1/accounts/alice@house.test", "")
	f.want(404, "account", "DELETE", "/v1/accounts/alice@house.test", "")
	if len(f.disconnected) != 3 || f.disconnected[2] != a.ID { // disabled, password changed, removed
		t.Errorf("%v", f.disconnected)
	}
	f.want(200, "", "DELETE", "/v1/domains/house.test", "")
	f.want(404, "", "DELETE", "/v1/domains/house.test", "")
}

func TestCredentials(t *testing.T) {
	f := newFixture(t)
	f.want(200, "", "POST", "/v1/domains", `{"name":"house.test"}`)
	f.want(200, "", "POST", "/v1/accounts", `{"login":"alice@house.test","password":"x"}`)
	var p directory.AppPassword
	added := f.want(200, `"scope":"smtp,imap"`, "POST", "/v1/accounts/alice@house.test/app-passwords", `{"label":"phone","scope":"both"}`)
	if err := json.Unmarshal([]byte(added), &p); err != nil || p.Password == "" {
		t.Fatal(err, added)
	}
	if list := f.want(200, `"label":"phone"`, "GET", "/v1/accounts/alice@house.test/app-passwords", ""); strings.Contains(list, "password") {
		t.Errorf("a password is listed: %s", list)
	}
	f.want(400, "scope", "POST", "/v1/accounts/alice@house.test/app-passwords", `{"label":"phone"}`)
	f.want(400, "scope", "POST", "/v1/accounts/alice@house.test/app-passwords", `{"scope":"everything"}`)
	f.want(400, "over already", "POST", "/v1/accounts/alice@house.test/app-passwords", `{"scope":"imap","expires":"1970-01-01T00:00:00Z"}`)
	f.want(404, "account", "POST", "/v1/accounts/bob@house.test/app-passwords", `{"scope":"imap"}`)
	f.want(404, "account", "GET", "/v1/accounts/bob@house.test/app-passwords", "")
	f.want(200, "", "DELETE", "/v1/accounts/alice@house.test/app-passwords/"+p.ID, "")
	f.want(404, "entry", "DELETE", "/v1/accounts/alice@house.test/app-passwords/"+p.ID, "")
	if len(f.disconnected) != 1 {
		t.Errorf("%v", f.disconnected)
	}
	f.want(200, "", "PUT", "/v1/accounts/alice@house.test/limits", `{"messages":7,"recipients":-1}`)
	f.want(200, `"own":{"messages":7,"recipients":-1,"new_recipients":0}`, "GET", "/v1/accounts/alice@house.test/limits", "")
	f.want(404, "account", "PUT", "/v1/accounts/bob@house.test/limits", `{}`)
}

func TestSuppressions(t *testing.T) {
	f := newFixture(t)
	f.want(200, "", "POST", "/v1/suppressions", `{"address":"bob@far.test","reason":"550 nobody"}`)
	f.want(400, "over already", "POST", "/v1/suppressions", `{"address":"bob@far.test","expires":"2001-01-01T00:00:00Z"}`)
	f.want(400, "address", "POST", "/v1/suppressions", `{"reason":"550 nobody"}`)
	f.want(200, `"reason":"550 nobody"`, "GET", "/v1/suppressions", "")
	f.want(200, "", "DELETE", "/v1/suppressions/bob@far.test", "")
	f.want(404, "entry", "DELETE", "/v1/suppressions/bob@far.test", "")
}

func TestQueue(t *testing.T) {
	f := newFixture(t)
	one, two := f.add("a@here.test", "x@north.test"), f.add("b@here.test", "y@south.test")
	f.want(200, one.String(), "GET", "/v1/queue", "")
	if text := f.want(200, two.String(), "GET", "/v1/queue?to=*@south.test", ""); strings.Contains(text, one.String()) {
		t.Errorf("the filter let another through: %s", text)
	}
	f.want(200, `"x@north.test"`, "GET", "/v1/queue/"+one.String(), "")
	f.want(200, "Subject: to x@north.test\r\n\r\nhello\r\n", "GET", "/v1/queue/"+one.String()+"/content", "")
	f.want(404, "", "GET", "/v1/queue/0000000000001", "")
	f.want(400, "", "GET", "/v1/queue/nonsense", "")
	f.want(200, `{"recipients":1}`, "POST", "/v1/queue/change/hold", `{"to":"*@south.test"}`)
	f.want(200, `"held":1`, "GET", "/v1/queue/stats", "")
	f.want(200, `{"recipients":1}`, "POST", "/v1/queue/change/release", `{"id":"`+two.String()+`"}`)
	f.want(200, `{"recipients":2}`, "POST", "/v1/queue/change/drop", `{}`)
	f.want(400, "no verb", "POST", "/v1/queue/change/burn", `{}`)
	f.want(400, "", "POST", "/v1/queue/change/drop", `{"older":"long"}`)
	f.want(400, "", "POST", "/v1/queue/change/drop", `{"states":["lost"]}`)
	if text := f.want(200, "", "GET", "/v1/queue", ""); text != "" {
		t.Errorf("the queue is not empty: %s", text)
	}
	for _, query := range []string{"id=" + one.String(), "address=x@north.test", "message_id=id-of-a@here.test"} {
		f.want(200, `"dropped"`, "GET", "/v1/trace?"+query, "")
	}
	f.want(400, "", "GET", "/v1/trace", "")
}

// Every sentinel of the owners has a status of its own choice, so that none becomes an "internal error" by neglect.
func TestEverySentinelHasAStatus(t *testing.T) {
	for _, err := range []error{
		mail.ErrAddress, mail.ErrID, spool.ErrNotFound, spool.ErrLeaseLost, spool.ErrFull, spool.ErrFailed, spool.ErrClosed,
		directory.ErrNotLocal, directory.ErrNoAddress, directory.ErrNoAccount, directory.ErrNoDomain, directory.ErrExists, directory.ErrAliasLoop,
		directory.ErrUnavailable, directory.ErrNoEntry, directory.ErrScope, directory.ErrTooMany, directory.ErrDeclared, directory.ErrShared,
		mailbox.ErrNoBox, mailbox.ErrBoxName, mailbox.ErrGrantee, mailbox.ErrLimit, mailbox.ErrFull, mailbox.ErrFailed, mailbox.ErrClosed,
	} {
		if status, _ := reply(fmt.Errorf("wrapped: %w", err)); status == http.StatusInternalServerError {
			t.Errorf("%v has no status", err)
		}
	}
}

func TestClosedSpoolIsUnavailable(t *testing.T) {
	f := newFixture(t)
	if err := f.spool.Close(); err != nil {
		t.Fatal(err)
	}
	f.want(503, "", "GET", "/v1/queue/stats", "")
}
