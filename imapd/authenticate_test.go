package imapd

import (
	"crypto/rand"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"posthouse/directory"
	"posthouse/directory/directorytest"
	"posthouse/directory/sasl"
	"posthouse/mail/mailtest"
)

// scram plays a client's side of SCRAM-SHA-256, up to its last response if that is to be kept back, and returns the last line and that
// response.
func (c *client) scram(tag string, x *scram.ClientConversation, keepBack bool) (line, last string) {
	c.t.Helper()
	c.send(tag + " AUTHENTICATE SCRAM-SHA-256\r\n")
	for {
		line = c.line()
		text, ok := strings.CutPrefix(line, "+ ")
		if !ok {
			return line, last
		}
		challenge, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			c.t.Fatal(err)
		}
		response, err := x.Step(string(challenge))
		if err != nil {
			c.t.Fatal(err)
		}
		last = base64.StdEncoding.EncodeToString([]byte(response))
		if keepBack && x.Valid() {
			return line, last
		}
		c.send(last + "\r\n")
	}
}

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
		line, _ := c.scram("a", x, false)
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
	_, response := c.scram("a", x, true)
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
	d := directorytest.House(t, "bob")
	bob, err := d.Account(t.Context(), mailtest.Address("bob@south.test"))
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
	c.until("* BYE [EXPIRED] What you logged in by has ended")
	c.expectEnd()
}
