package main

import (
	"encoding/json"
	"strings"
	"testing"

	"posthouse/internal/dns"
	"posthouse/internal/testkit"
	"posthouse/spool"
)

// holds checks that a command prints some words.
func (s *server) holds(words string, args ...string) string {
	s.t.Helper()
	out := s.run(args...)
	if !strings.Contains(out, words) {
		s.t.Errorf("posthouse %s: no %q in\n%s", strings.Join(args, " "), words, out)
	}
	return out
}

func TestDirectoryCommands(t *testing.T) {
	s := newServer(t, "")
	s.start()
	s.addAccount("alice@house.test")
	s.holds("alice@house.test", "account", "list")
	s.holds(`"login":"alice@house.test"`, "account", "list", "--json")
	s.run("domain", "add", "second.test", "--catch-all", "alice@house.test")
	s.holds("second.test  alice@house.test", "domain", "list")
	s.run("account", "alias", "add", "info@house.test", "alice@house.test")
	s.holds("info@house.test  alice@house.test", "account", "alias", "list")
	for _, to := range []string{"info@house.test", "whoever@second.test", "alice+tag@house.test", "postmaster@second.test"} {
		if err := s.deliver("bob@sender.test", letter("bob@sender.test", to, "to "+to, "\r\n"), to); err != nil {
			t.Errorf("%s: %v", to, err)
		}
	}
	testkit.Until(t, "four letters", func() bool { return len(fetchAll(t, s, "alice@house.test")) == 4 })
	s.run("account", "disable", "alice@house.test")
	if _, err := s.login("alice@house.test"); err == nil {
		t.Error("a disabled account was let in")
	}
	s.holds("disabled", "account", "list")
	s.run("account", "enable", "alice@house.test")
	if c, err := s.login("alice@house.test"); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	change := s.command("account", "password", "alice@house.test", "--password-stdin")
	change.Stdin = strings.NewReader("another\n")
	if out, err := change.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := s.login("alice@house.test"); err == nil {
		t.Error("the old password was taken")
	}
	s.run("account", "alias", "remove", "info@house.test", "alice@house.test")
	s.run("account", "remove", "alice@house.test")
	if out := s.run("account", "list"); out != "" {
		t.Errorf("a removed account is listed:\n%s", out)
	}
	s.run("domain", "remove", "second.test")
	if err := s.deliver("bob@sender.test", "x\r\n", "alice@house.test"); err == nil {
		t.Error("mail for a removed account was taken")
	}
}

// What dns prints is a zone: it can be read, and it says what others look for.
func TestDNSCommand(t *testing.T) {
	s := newServer(t, "")
	s.start()
	s.run("domain", "add", "second.test")
	zone, err := dns.ParseZone(s.run("dns"))
	if err != nil {
		t.Fatal(err)
	}
	for _, domain := range []string{"house.test", "second.test"} {
		if mx, err := zone.MX(t.Context(), domain); err != nil || mx.Records[0].Host != "mail.house.test" {
			t.Errorf("%+v, %v", mx, err)
		}
		for _, name := range []string{domain, "_dmarc." + domain, rsaSelector + "._domainkey." + domain, ed25519Selector + "._domainkey." + domain} {
			if _, err := zone.TXT(t.Context(), name); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestQueueCommands(t *testing.T) {
	s := newServer(t, "[[route]]\nmatch = \"*\"\nvia = \"smtp://127.0.0.1:1\"\n") // where nobody listens
	s.start()
	s.addAccount("alice@house.test")
	for _, to := range []string{"one@far.test", "two@away.test"} {
		if out := sendmail(t, s, "alice@house.test", letter("alice@house.test", to, "for "+to, "\r\n"), to); out != "" {
			t.Fatal(out)
		}
	}
	testkit.Until(t, "attempts", func() bool { return strings.Count(s.run("queue", "list"), "refused") == 2 })
	out := s.holds("in 4m", "queue", "list", "--to", "*@far.test")
	if strings.Contains(out, "away.test") {
		t.Errorf("the filter let another through:\n%s", out)
	}
	var e spool.Entry
	if err := json.Unmarshal([]byte(s.run("queue", "list", "--to", "*@far.test", "--json")), &e); err != nil {
		t.Fatal(err)
	}
	id := e.ID.String()
	s.holds("tried 1 times", "queue", "show", id)
	s.holds("Subject: for one@far.test", "queue", "cat", id)
	s.holds("1 recipients", "queue", "hold", id)
	s.holds("held", "queue", "list", "--to", "*@far.test")
	s.holds("0 recipients", "queue", "retry", "--to", "*@nowhere.test")
	s.holds("1 recipients", "queue", "release", id)
	s.holds("1 recipients", "queue", "retry", id)
	testkit.Until(t, "a second attempt", func() bool { return strings.Contains(s.run("queue", "show", id), "tried 2 times") })
	s.holds("ready   2", "status")
	s.holds("2 recipients", "queue", "drop", "--all")
	if out := s.run("queue", "list"); out != "" {
		t.Errorf("the queue is not empty:\n%s", out)
	}
	story := s.holds("received by ESMTPSA", "trace", id)
	for _, words := range []string{"retry one@far.test", "held", "released", "dropped", "sign=signed (house.test)"} {
		if !strings.Contains(story, words) {
			t.Errorf("no %q in\n%s", words, story)
		}
	}
	s.holds(id, "trace", "one@far.test")
	s.holds(id, "trace", "<for one@far.test@test>")
	s.holds(`"events":`, "trace", id, "--json")
}

func TestDeadLetterCommands(t *testing.T) {
	s := newServer(t, "[[route]]\nmatch = \"dead.test\"\nvia = \"dead\"\n")
	s.start()
	s.addAccount("alice@house.test")
	if out := sendmail(t, s, "alice@house.test", letter("alice@house.test", "x@dead.test", "parked", "\r\n"), "x@dead.test"); out != "" {
		t.Fatal(out)
	}
	testkit.Until(t, "a dead letter", func() bool { return strings.Contains(s.run("dead", "list"), "x@dead.test") })
	if out := s.run("queue", "list"); strings.Contains(out, "x@dead.test") {
		t.Errorf("a dead letter is in the queue's list:\n%s", out)
	}
	s.holds("1 recipients", "dead", "replay", "--to", "x@dead.test")
	testkit.Until(t, "it dies again", func() bool { return strings.Contains(s.run("dead", "list"), "x@dead.test") })
	s.holds("1 recipients", "dead", "drop", "--all")
	if out := s.run("dead", "list"); out != "" {
		t.Errorf("dead letters are left:\n%s", out)
	}
}
