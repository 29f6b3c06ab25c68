package main

import (
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// A client with bugs is not offered what it stumbles over.
func TestWithoutExtension(t *testing.T) {
	s := newServer(t, "")
	s.start()
	s.addAccount("alice@house.test")
	caps := func() imap.CapSet {
		t.Helper()
		c, err := s.login("alice@house.test")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.Caps()
	}
	s.holds("none", "account", "without", "alice@house.test")
	s.holds("CONDSTORE SORT", "account", "without", "alice@house.test", "condstore", "sort")
	if c := caps(); c.Has(imap.CapCondStore) || c.Has(imap.CapQResync) || !c.Has(imap.CapIdle) {
		t.Errorf("%v", c)
	}
	s.holds("none", "account", "without", "alice@house.test", "none")
	if c := caps(); !c.Has(imap.CapCondStore) || !c.Has(imap.CapQResync) {
		t.Errorf("%v", c)
	}
	if out, err := s.command("account", "without", "alice@house.test", "TELEPATHY").CombinedOutput(); err == nil || !strings.Contains(string(out), "QRESYNC") {
		t.Errorf("%v: %s", err, out)
	}
}
