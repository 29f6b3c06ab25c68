package imapd

import (
	"crypto/rand"
	"encoding/base64"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"posthouse/crypto/password"
	"posthouse/directory"
	"posthouse/directory/sasl"
	"posthouse/mail"
)

// RFC 9051 §6.2.2: the server's last word is a challenge, which the client answers with nothing.
func TestSCRAM(t *testing.T) {
	t.Parallel()
	_, addr := start(t, testOptions(t))
	for secret, want := range map[string]string{"posthouse": "a OK ", "wrong": "a NO [AUTHENTICATIONFAILED] "} {
		user, err := scram.SHA256.NewClient("bob@south.test", secret, "")
		if err != nil {
			t.Fatal(err)
		}
		x := user.NewConversation()
		c := dial(t, addr)
		c.until("* OK")
		c.send("a AUTHENTICATE SCRAM-SHA-256\r\n")
		line := c.line()
		for strings.HasPrefix(line, "+ ") {
			challenge, err := base64.StdEncoding.DecodeString(line[2:])
			if err != nil {
				t.Fatal(err)
			}
			response, err := x.Step(string(challenge))
			if err != nil {
				t.Fatal(err)
			}
			c.send(base64.StdEncoding.EncodeToString([]byte(response)) + "\r\n")
			line = c.line()
		}
		if !strings.HasPrefix(line, want) || x.Valid() != (secret == "posthouse") {
			t.Errorf("with %q: %s; the client trusts us: %v", secret, line, x.Valid())
		}
	}
}

// RFC 5530 §3: who guessed too often is not told that the password is wrong, for it is not looked at.
func TestGuessesAreThrottled(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.Auth = sasl.New(sasl.Options{Directory: mustHouse(t)})
	o.Limits.LoginDelay = 1
	_, addr := start(t, o)
	for n := 0; n < 11; {
		c := dial(t, addr)
		c.until("* OK")
		for range maxFailedLogins - 1 {
			c.send("a LOGIN dave@south.test " + rand.Text() + "\r\n")
			c.until("a NO [AUTHENTICATIONFAILED]")
			if n++; n == 11 {
				break
			}
		}
	}
	c := dial(t, addr)
	c.until("* OK")
	c.send("b LOGIN dave@south.test posthouse\r\n")
	c.until("b NO [LIMIT]")
	c.send("c LOGIN bob@south.test posthouse\r\n")
	c.until("c OK")
}

// A client of SCRAM has the last word, and may keep it back until its account is disabled and all sessions that were the account's have
// ended: it is let in no more.
func TestLastWordAfterTheEnd(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	d, bob := houseOfBob(t)
	o.Auth = sasl.New(sasl.Options{Directory: d})
	s, addr := start(t, o)
	user, err := scram.SHA256.NewClient("bob@south.test", "posthouse", "")
	if err != nil {
		t.Fatal(err)
	}
	x := user.NewConversation()
	c := dial(t, addr)
	c.until("* OK")
	c.send("a AUTHENTICATE SCRAM-SHA-256\r\n")
	response := ""
	for !x.Valid() {
		challenge, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(c.line(), "+ "))
		if err != nil {
			t.Fatal(err)
		}
		if response, err = x.Step(string(challenge)); err != nil {
			t.Fatal(err)
		}
		if !x.Valid() {
			c.send(base64.StdEncoding.EncodeToString([]byte(response)) + "\r\n")
		}
	}
	if err := d.SetDisabled(t.Context(), bob.Login, time.Now()); err != nil {
		t.Fatal(err)
	}
	s.Disconnect(bob.ID)
	c.send(response + "\r\n")
	c.until("a NO [CONTACTADMIN]")
	c.send("b SELECT INBOX\r\n")
	c.until("b BAD")
}

// houseOfBob is a directory of the test's own, and bob in it.
func houseOfBob(t *testing.T) (*directory.SQLite, directory.Account) {
	t.Helper()
	d, err := directory.Open(filepath.Join(t.TempDir(), "directory.db"), directory.Options{
		Domains: []directory.Domain{{Name: "south.test"}}, Cost: password.Cost{Memory: 8, Time: 1, Iterations: 4096},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	login, err := mail.ParseAddress("bob@south.test")
	if err != nil {
		t.Fatal(err)
	}
	bob, err := d.AddAccount(t.Context(), login, "posthouse")
	if err != nil {
		t.Fatal(err)
	}
	return d, bob
}

// A session ends with the app password that opened it, also in IDLE.
func TestSessionEndsWithItsPassword(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	d, bob := houseOfBob(t)
	o.Auth = sasl.New(sasl.Options{Directory: d})
	_, addr := start(t, o)
	p, err := d.AddAppPassword(t.Context(), bob.Login, directory.AppPassword{Scope: directory.ScopeIMAP, Expires: time.Now().Add(2 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, addr)
	c.send("a LOGIN bob@south.test " + p.Password + "\r\nb SELECT INBOX\r\n")
	c.until("b OK")
	c.send("c IDLE\r\n")
	c.until("+ Idling")
	c.until("* BYE What you logged in by has ended")
	c.expectEnd()
}
