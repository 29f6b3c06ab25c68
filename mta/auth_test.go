package mta

import (
	"crypto/rand"
	"crypto/tls"
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

// line reads one line.
func (c *client) line() string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSuffix(line, "\r\n")
}

// authenticate plays a client's side of SCRAM, up to its last response if that is to be kept back, and returns the last reply and that
// response.
func (c *client) authenticate(mechanism string, x *scram.ClientConversation, keepBack bool) (reply, last string) {
	c.t.Helper()
	c.ask("AUTH "+mechanism, "334 ")
	for challenge := ""; ; {
		response, err := x.Step(challenge)
		if err != nil {
			c.t.Fatal(err)
		}
		last = base64.StdEncoding.EncodeToString([]byte(response))
		if keepBack && x.Valid() {
			return reply, last
		}
		c.say(last)
		reply = c.line()
		text, ok := strings.CutPrefix(reply, "334 ")
		if !ok {
			return reply, last
		}
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			c.t.Fatalf("%s: %v", reply, err)
		}
		challenge = string(b)
	}
}

// RFC 4954 §4: the server's last word comes with 334, and the client answers it with nothing.
func TestSCRAM(t *testing.T) {
	o := testOptions(t)
	o.Kind = Submissions
	_, addr := start(t, o, plain)
	for secret, want := range map[string]string{"posthouse": "235 2.7.0 ", "wrong": "535 5.7.8 "} {
		for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"} {
			conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			c := newClient(t, conn)
			c.expect("220 ")
			c.ask("EHLO client.test", "250 ")
			user, err := scram.SHA256.NewClient("bob@south.test", secret, "")
			if err != nil {
				t.Fatal(err)
			}
			x := user.NewConversation()
			if strings.HasSuffix(mechanism, "-PLUS") {
				state := conn.ConnectionState()
				binding, err := scram.NewTLSExporterBinding(&state)
				if err != nil {
					t.Fatal(err)
				}
				x = user.NewConversationWithChannelBinding(binding)
			}
			if got, _ := c.authenticate(mechanism, x, false); !strings.HasPrefix(got, want) || x.Valid() != (secret == "posthouse") {
				t.Errorf("%s with %q: %s; the client trusts us: %v", mechanism, secret, got, x.Valid())
			}
		}
	}
}

// RFC 4954 §6: who guessed too often hears that it is not possible now, whatever the password, at every server that shares the
// authenticator.
func TestGuessesAreThrottled(t *testing.T) {
	o := testOptions(t)
	o.Kind, o.AllowPlaintextAuth, o.Auth = Submission, true, sasl.New(sasl.Options{Directory: o.Directory})
	o.Limits.AuthFailures = 100
	s, addr := start(t, o, plain)
	c := dial(t, addr)
	c.expect("220 ")
	c.ask("EHLO client.test", "250 ")
	for range 11 {
		c.ask("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00bob@south.test\x00"+rand.Text())), "535 5.7.8 ")
	}
	_, addr = start(t, o, plain)
	c = dial(t, addr)
	c.expect("220 ")
	c.ask("EHLO client.test", "250 ")
	c.ask("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00bob@south.test\x00posthouse")), "454 4.7.0 ")
	c.ask("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00dave@south.test\x00posthouse")), "235 2.7.0 ")
	if n := s.Metrics().Authenticated()[Attempt{"PLAIN", "wrong"}]; n != 11 {
		t.Errorf("%d wrong attempts are counted", n)
	}
}

// A session ends with its account's right to it, and nobody else's does.
func TestDisconnect(t *testing.T) {
	o := testOptions(t)
	o.Kind, o.AllowPlaintextAuth = Submission, true
	s, addr := start(t, o, plain)
	bob, dave, nobody := dial(t, addr), dial(t, addr), dial(t, addr)
	for name, c := range map[string]*client{"bob": bob, "dave": dave, "": nobody} {
		c.expect("220 ")
		c.ask("EHLO client.test", "250 ")
		if name != "" {
			c.ask("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+name+"@south.test\x00posthouse")), "235 ")
		}
	}
	who, err := o.Directory.Account(t.Context(), mailtest.Address("bob@south.test"))
	if err != nil {
		t.Fatal(err)
	}
	s.Disconnect(who.ID)
	s.Disconnect("")
	bob.expect("421 4.3.2 ")
	bob.expectEnd()
	dave.ask("NOOP", "250 ")
	nobody.ask("NOOP", "250 ")
}

// A client of SCRAM has the last word, and may keep it back until its account is disabled and all sessions that were the account's have
// ended: it is let in no more.
func TestLastWordAfterTheEnd(t *testing.T) {
	o := testOptions(t)
	o.Kind, o.AllowPlaintextAuth = Submission, true
	d, bob := houseOfBob(t)
	o.Directory = d
	s, addr := start(t, o, plain)
	for _, e := range []struct{ change, reply string }{{"password", "535 5.7.8 "}, {"disabled", "525 5.7.13 "}} { // who is disabled stays it
		c := dial(t, addr)
		c.expect("220 ")
		c.ask("EHLO client.test", "250 ")
		user, err := scram.SHA256.NewClient("bob@south.test", "posthouse", "")
		if err != nil {
			t.Fatal(err)
		}
		x := user.NewConversation()
		_, last := c.authenticate("SCRAM-SHA-256", x, true)
		if e.change == "password" {
			err = d.SetPassword(t.Context(), bob.Login, "another")
		} else {
			err = d.SetDisabled(t.Context(), bob.Login, time.Now())
		}
		if err != nil {
			t.Fatal(err)
		}
		s.Disconnect(bob.ID)
		c.ask(last, e.reply)
		c.ask("MAIL FROM:<bob@south.test>", "530 ")
		if err := d.SetPassword(t.Context(), bob.Login, "posthouse"); err != nil {
			t.Fatal(err)
		}
	}
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

// A session ends with the app password that opened it.
func TestSessionEndsWithItsPassword(t *testing.T) {
	o := testOptions(t)
	o.Kind, o.AllowPlaintextAuth = Submission, true
	d, bob := houseOfBob(t)
	o.Directory = d
	_, addr := start(t, o, plain)
	p, err := d.AddAppPassword(t.Context(), bob.Login, directory.AppPassword{Scope: directory.ScopeSMTP, Expires: time.Now().Add(2 * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, addr)
	c.expect("220 ")
	c.ask("EHLO client.test", "250 ")
	c.ask("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00bob@south.test\x00"+p.Password)), "235 ")
	c.expect("421 ")
	c.expectEnd()
}

// A program with an old password tries each mechanism and leaves. That is no fault for which its network would be banned; one that stays
// is.
func TestOldPasswordIsNoFault(t *testing.T) {
	o := testOptions(t)
	o.Kind, o.AllowPlaintextAuth, o.Clients = Submission, true, NewClients(ClientsOptions{Faults: 1, Ban: time.Hour})
	o.Auth = sasl.New(sasl.Options{Directory: o.Directory})
	_, addr := start(t, o, plain)
	for _, last := range []struct{ command, reply string }{{"QUIT", "221 "}, {"QUIT", "221 "}, {"NOOP", "421 "}, {"NOOP", "421 "}} {
		c := dial(t, addr)
		c.expect("220 ")
		c.ask("EHLO client.test", "250 ")
		for range 3 {
			c.ask("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00dave@south.test\x00old")), "535 5.7.8 ")
		}
		c.ask(last.command, last.reply)
		c.expectEnd()
	}
	dial(t, addr).expect("421 4.7.0 not from your network")
}
