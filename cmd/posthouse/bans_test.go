package main

import (
	"strings"
	"testing"

	"posthouse/internal/testkit"
)

// Who guesses at recipients is banned, listed, and let in again by command.
func TestBansCommand(t *testing.T) {
	s := newServer(t, `[admission]
trusted = []
stages = ["spf", "dkim", "dmarc"]
[admission.connections]
unknown_recipients = 1
`)
	s.start()
	s.addAccount("alice@house.test")
	for range 2 {
		if err := s.deliver("bob@sender.test", "x\r\n", "nobody@house.test"); err == nil {
			t.Fatal("mail for nobody was taken")
		}
	}
	good := letter("bob@sender.test", "alice@house.test", "s", "\r\n")
	if err := s.deliver("bob@sender.test", good, "alice@house.test"); err == nil || !strings.Contains(err.Error(), "not from your network now") {
		t.Errorf("a banned client: %v", err)
	}
	s.holds("127.0.0.1/32", "bans", "list")
	s.holds(`"why":"unknown recipients"`, "bans", "list", "--json")
	s.run("bans", "remove", "127.0.0.1")
	if err := s.deliver("bob@sender.test", good, "alice@house.test"); err != nil {
		t.Errorf("a client whose ban was lifted: %v", err)
	}
	if out := s.run("bans", "list"); out != "" {
		t.Errorf("still listed:\n%s", out)
	}
}

// A proxy in front of any listener is never banned: everybody comes from its address.
func TestProxiesAreNotBanned(t *testing.T) {
	s := newServer(t, `[[listener]]
protocol = "smtp"
address = "`+testkit.FreePort(t)+`"
proxy_protocol_from = ["127.0.0.0/8"]
[admission]
trusted = []
[admission.connections]
unknown_recipients = 1
`)
	s.start()
	s.addAccount("alice@house.test")
	for range 4 {
		if err := s.deliver("bob@sender.test", "x\r\n", "nobody@house.test"); err == nil || !strings.Contains(err.Error(), "no such user") {
			t.Fatalf("mail for nobody: %v", err)
		}
	}
	if out := s.run("bans", "list"); out != "" {
		t.Errorf("banned:\n%s", out)
	}
}
