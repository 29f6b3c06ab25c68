package main

import (
	"strings"
	"testing"

	"posthouse/internal/testkit"
)

// What an account may not hold waits in the queue, until it may.
func TestQuota(t *testing.T) {
	s := newServer(t, "")
	s.start()
	s.addAccount("alice@house.test")
	if got := s.run("account", "quota", "alice@house.test", "1KB", "--messages", "5"); !strings.Contains(got, "1.0K") || !strings.Contains(got, "5") {
		t.Error(got)
	}
	if err := s.deliver("bob@sender.test", letter("bob@sender.test", "alice@house.test", "big", strings.Repeat("x", 900)+"\r\n"+strings.Repeat("y", 900)+"\r\n"), "alice@house.test"); err != nil {
		t.Fatal(err)
	}
	testkit.Until(t, "the letter waits", func() bool { return strings.Contains(s.run("queue", "list"), "452 4.2.2") })
	s.run("account", "quota", "alice@house.test", "any")
	s.run("queue", "retry", "--to", "alice@house.test")
	testkit.Until(t, "the letter is there", func() bool { return len(fetchAll(t, s, "alice@house.test")) == 1 })
}
