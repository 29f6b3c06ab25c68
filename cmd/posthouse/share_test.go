package main

import (
	"strings"
	"testing"
)

// What is shared on the command line is there in the other's session.
func TestShareCommands(t *testing.T) {
	s := newServer(t, "")
	s.start()
	s.addAccount("alice@house.test")
	s.addAccount("bob@house.test")
	s.run("account", "add", "team@house.test", "--shared")
	s.holds("shared", "account", "list")
	s.run("account", "share", "alice@house.test", "--with", "bob@house.test", "--box", "Archive", "--rights", "write")
	s.run("account", "share", "team@house.test", "--with", "anyone", "--rights", "read")
	s.holds("Archive  bob@house.test  lrswite", "account", "shares", "alice@house.test")
	s.holds(`{"box":"INBOX","with":"anyone","rights":"lrs"}`, "account", "shares", "team@house.test", "--json")
	names := func() string {
		c, err := s.login("bob@house.test")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		boxes, err := c.List("", "*", nil).Collect()
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, b := range boxes {
			if strings.Contains(b.Mailbox, "@") && strings.Count(b.Mailbox, "/") == 2 {
				all = append(all, b.Mailbox)
			}
		}
		return strings.Join(all, "\n")
	}
	const team = "\nShared Folders/team@house.test/"
	if got, want := names(), "Other Users/alice@house.test/Archive"+team+"INBOX"+team+"Archive"+team+"Drafts"+team+"Junk"+team+"Sent"+team+"Trash"; len(got) != len(want) {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	s.run("account", "unshare", "alice@house.test", "--with", "bob@house.test")
	s.run("account", "remove", "team@house.test")
	if got := names(); got != "" {
		t.Errorf("still there:\n%s", got)
	}
}
