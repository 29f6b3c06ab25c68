package main

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"posthouse/directory"
	"posthouse/internal/config"
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

func TestAppPasswordCommands(t *testing.T) {
	s := newServer(t, "")
	s.start()
	s.addAccount("alice@house.test")
	login := func(secret string) error {
		c, err := s.loginWith("alice@house.test", secret)
		if err == nil {
			c.Close()
		}
		return err
	}
	var phone directory.AppPassword
	if err := json.Unmarshal([]byte(s.run("account", "app-password", "add", "alice@house.test", "--label", "telephone", "--json")), &phone); err != nil {
		t.Fatal(err)
	}
	printer := strings.TrimSpace(s.run("account", "app-password", "add", "alice@house.test", "--label", "printer", "--scope", "smtp", "--expires", "2099-12-31"))
	s.holds(phone.ID+"  telephone  smtp,imap", "account", "app-password", "list", "alice@house.test")
	s.holds("2099-12-31  never", "account", "app-password", "list", "alice@house.test")
	if err := login(phone.Password); err != nil {
		t.Errorf("the telephone's: %v", err)
	}
	if err := login(printer); err == nil {
		t.Error("the printer reads mail")
	}
	s.run("account", "app-password", "revoke", "alice@house.test", phone.ID)
	if out := s.run("account", "app-password", "list", "alice@house.test", "--json"); strings.Contains(out, "telephone") || strings.Contains(out, printer) {
		t.Errorf("a revoked one is listed, or a password is:\n%s", out)
	}
	if login(phone.Password) == nil {
		t.Error("a revoked one was taken")
	}
	if err := login("secret"); err != nil {
		t.Errorf("the account's own: %v", err)
	}
	if out, err := s.command("account", "app-password", "add", "alice@house.test", "--scope", "all").CombinedOutput(); err == nil || !strings.Contains(string(out), "smtp, imap, http") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestLimitsCommand(t *testing.T) {
	s := newServer(t, "[limits]\nmessages_per_day = 50\n")
	s.start()
	s.addAccount("alice@house.test")
	s.holds("messages        50       0", "account", "limits", "alice@house.test")
	s.holds("recipients      any      0", "account", "limits", "alice@house.test", "--recipients", "-1")
	s.holds("recipients      any      0", "account", "limits", "alice@house.test", "--messages", "7")
	s.holds("messages        7        0", "account", "limits", "alice@house.test")
	s.holds(`"own":{"messages":7,"recipients":-1,"new_recipients":0}`, "account", "limits", "alice@house.test", "--json")
}

func TestSuppressionCommands(t *testing.T) {
	s := newServer(t, "")
	s.start()
	s.run("suppression", "add", "bob@far.test", "--reason", "asked for it", "--expires", "2099-12-31")
	s.holds("2099-12-31  asked for it", "suppression", "list")
	s.holds(`"address":"bob@far.test"`, "suppression", "list", "--json")
	s.run("suppression", "remove", "bob@far.test")
	if out := s.run("suppression", "list"); out != "" {
		t.Errorf("a removed one is listed:\n%s", out)
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

// Clients are told of what they can reach, and of each protocol once.
func TestServices(t *testing.T) {
	var listeners []config.Listener
	for _, l := range []struct{ protocol, address string }{
		{"imap", "[::1]:1143"}, {"imap", "[::]:143"}, {"imap", "192.0.2.1:144"}, {"smtp", "[::]:25"}, {"pop3s", "127.0.0.1:995"}, {"submissions", "0.0.0.0:465"},
	} {
		listeners = append(listeners, config.Listener{Protocol: l.protocol, Address: netip.MustParseAddrPort(l.address)})
	}
	const want = "_submissions._tcp.house.test. SRV 0 1 465 mail.house.test.\n_imap._tcp.house.test. SRV 3 1 143 mail.house.test.\n"
	got := services("house.test", "mail.house.test", listeners)
	if got != want {
		t.Errorf("%s", got)
	}
	if _, err := dns.ParseZone(got); err != nil {
		t.Error(err)
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
