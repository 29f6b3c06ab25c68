package main

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"posthouse/internal/testkit"
)

// Behind a proxy the real client is seen; whoever is not the proxy cannot pretend to be somebody.
func TestProxyProtocol(t *testing.T) {
	believed, doubted := testkit.FreePort(t), testkit.FreePort(t)
	s := newServer(t, fmt.Sprintf(`[[listener]]
protocol = "smtp"
address = %q
proxy_protocol_from = ["127.0.0.1"]
[[listener]]
protocol = "smtp"
address = %q
proxy_protocol_from = ["192.0.2.1"]
`, believed, doubted))
	s.start()
	s.addAccount("alice@house.test")
	send := func(addr string) error {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "PROXY TCP4 198.51.100.7 127.0.0.1 40000 25\r\n")
		c := smtp.NewClient(conn)
		return c.SendMail("bob@sender.test", []string{"alice@house.test"}, strings.NewReader(letter("bob@sender.test", "alice@house.test", "proxied", "\r\n")))
	}
	for range 4 { // connections that say nothing keep nobody waiting
		silent, err := net.Dial("tcp", believed)
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
	}
	began := time.Now()
	if err := send(believed); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > proxyHeaderTime {
		t.Errorf("it took %v", took)
	}
	var got [][]byte
	testkit.Until(t, "the letter", func() bool {
		got = fetchAll(t, s, "alice@house.test")
		return len(got) == 1
	})
	if !strings.Contains(string(got[0]), "[198.51.100.7]") {
		t.Errorf("the client is not in\n%s", got[0])
	}
	if err := send(doubted); err == nil {
		t.Error("a header of nobody's proxy was believed")
	}
}

// A route's credentials go to a host whose certificate is good, and to nobody else.
func TestCredentialsStayHere(t *testing.T) {
	host := newServer(t, "")
	host.start()
	host.addAccount("alice@house.test")
	secret := t.TempDir() + "/secret"
	write(t, secret, "alice@house.test:secret\n")
	mx := testkit.FreePort(t)
	client := newServer(t, fmt.Sprintf("[[listener]]\nprotocol = \"smtp\"\naddress = %q\nrelay_from = [\"127.0.0.1\"]\n[[route]]\nmatch = \"far.test\"\nvia = \"smtp://%s\"\ncredentials_file = %q\n", mx, host.submission, secret))
	client.start()
	c, err := smtp.Dial(mx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SendMail("alice@house.test", []string{"bob@far.test"}, strings.NewReader(letter("alice@house.test", "bob@far.test", "smart", "\r\n"))); err != nil {
		t.Fatal(err)
	}
	testkit.Until(t, "an attempt that ends in the handshake", func() bool {
		return strings.Contains(client.run("queue", "list"), "4.7.5")
	})
	if out := host.process.Output(); strings.Contains(out, "far.test") {
		t.Errorf("the smarthost was told of the letter:\n%s", out)
	}
}
