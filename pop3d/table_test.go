package pop3d

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"posthouse/internal/testkit"
)

func TestTable(t *testing.T) {
	tags, commands := map[string]bool{}, map[string]bool{}
	for _, c := range capabilities() {
		if c.name != "" && tags[c.name] || !regexp.MustCompile(`^RFC [0-9]+$`).MatchString(c.rfc) {
			t.Errorf("capability %q of %q", c.name, c.rfc)
		}
		tags[c.name] = true
		for _, k := range c.commands {
			if commands[k.name] || k.name != strings.ToUpper(k.name) || !regexp.MustCompile(`^RFC [0-9]+ §[0-9.]+$`).MatchString(k.rfc) || k.in == 0 || k.run == nil {
				t.Errorf("command %q of %q", k.name, k.rfc)
			}
			commands[k.name] = true
		}
	}
	if len(commands) != 15 {
		t.Errorf("%d commands", len(commands))
	}
}

// Every sentinel of the rooms that we call has a reply of its own.
func TestEverySentinelHasAReply(t *testing.T) {
	values := map[string]error{}
	for _, r := range replies {
		if values[r.err.Error()] != nil {
			t.Errorf("%v is there twice", r.err)
		}
		values[r.err.Error()] = r.err
	}
	for _, dir := range []string{"../mailbox", "../directory", "../directory/sasl", "../internal/link"} {
		for name, text := range testkit.Sentinels(t, dir) {
			err, known := values[text]
			if !known {
				t.Errorf("%s of %s has no reply", name, dir)
				continue
			}
			checkReply(t, replyTo(fmt.Errorf("doing something: %w", err)))
		}
	}
	if r, grave := look(errors.New("something else")); r != errServerBug || !grave {
		t.Errorf("an unknown error is answered %v", r)
	}
}

var codeForm = regexp.MustCompile(`^[A-Z0-9]+([-/][A-Z0-9]+)*$`)

// checkReply: RFC 2449 §8.
func checkReply(t *testing.T, r reply) {
	t.Helper()
	if r.status == statusOK || r.text == "" || strings.ContainsAny(r.text, "\r\n[]") || r.code != "" && !codeForm.MatchString(r.code) || len(r.append(nil)) > 512 {
		t.Errorf("an error is answered %q", r.append(nil))
	}
}

// A command that nothing knows of is a row; a panic in it ends its own session, and no other, and what was marked stays.
func TestSlots(t *testing.T) {
	h := newHouse(t)
	h.Log = nil
	account := h.account("bob")
	file(t, account, "Subject: one\r\n\r\n", "")
	s, l := NewServer(h.Options), testkit.Listen(t)
	s.table = newTable(append(capabilities(), capability{name: "X-TEST", rfc: "RFC 2449", commands: []command{
		{name: "XPANIC", rfc: "RFC 2449 §7", in: anyState, run: alone(func(context.Context, *session) (answer, error) { panic("on purpose") })},
	}}))
	testkit.Serve(t, s, l)
	c := dial(t, l.Addr().String()).login("bob")
	c.do("DELE 1", "+OK")
	c.send("XPANIC")
	c.expectEnd()
	if n := inbox(t, account).Len(); n != 1 {
		t.Errorf("%d messages", n)
	}
	dial(t, l.Addr().String()).login("bob").do("CAPA", "+OK")
}
