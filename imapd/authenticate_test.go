package imapd

import (
	"crypto/rand"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"posthouse/directory/sasl"
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
