package main

import (
	"net/textproto"
	"strings"
	"testing"

	"posthouse/internal/testkit"
)

// TestExtensionsOfTheConfiguration: what the keys of a listener and of a route say of extensions is what a running server does.
func TestExtensionsOfTheConfiguration(t *testing.T) {
	port := testkit.FreePort(t)
	s := newServer(t, `[[listener]]
protocol = "smtp"
address = "`+port+`"
relay_from = ["192.0.2.0/24"]
xclient_from = ["127.0.0.0/8"]
etrn_domains = ["Пример.test"]
etrn_from = ["192.0.2.7"]
[[route]]
match = "*.пример.test"
via = "smtp://127.0.0.1:1"
without = ["SMTPUTF8"]
`)
	s.start()
	c, err := textproto.Dial("tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, step := range []struct {
		line, want string
		code       int
	}{
		{"", "ESMTP", 220},
		{"EHLO proxy.test", "XFORWARD", 250},
		{"ETRN xn--e1afmkfd.test", "", 502},
		{"XCLIENT ADDR=192.0.2.7 PORT=25", "ESMTP", 220},
		{"EHLO client.test", "ETRN", 250},
		{"ETRN xn--e1afmkfd.test", "no messages", 251},
		{"ETRN house.test", "", 459},
		{"MAIL FROM:<alice@sender.test> SMTPUTF8", "", 250},
		{"RCPT TO:<ж@mail.пример.test>", "5.6.7", 553},
		{"RCPT TO:<bob@mail.пример.test>", "", 250},
		{"RCPT TO:<ж@elsewhere.test>", "", 250},
		{"QUIT", "", 221},
	} {
		if step.line != "" {
			if err := c.PrintfLine("%s", step.line); err != nil {
				t.Fatal(err)
			}
		}
		if _, text, err := c.ReadResponse(step.code); err != nil || !strings.Contains(text, step.want) {
			t.Fatalf("%s: %v %s", step.line, err, text)
		}
	}
}
