package main

import (
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"posthouse/internal/testkit"
)

// What [admission] says holds for the server that runs: the stages, their actions, and what happens without a filter.
func TestAdmissionOfTheConfiguration(t *testing.T) {
	web := testkit.FreePort(t)
	s := newServer(t, `[[listener]]
protocol = "http"
address = "`+web+`"
[admission]
trusted = []
[admission.greet]
delay = "10ms"
[admission.helo]
action = "quarantine"
[[admission.milter]]
address = "tcp://`+testkit.FreePort(t)+`"
default_action = "accept"
[admission.recipient]
per_hour = 1
`)
	s.start()
	s.addAccount("alice@house.test")
	s.addAccount("carol@house.test")
	conn, err := net.Dial("tcp", s.smtp)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := textproto.NewConn(conn)
	for _, step := range []struct {
		line, want string
		code       int
	}{
		{"", "ESMTP", 220},
		{"HELO 192.0.2.1", "", 250},
		{"MAIL FROM:<bob@sender.test>", "", 250},
		{"RCPT TO:<carol@house.test>", "", 250},
		{"DATA", "", 354},
		{"From: bob@sender.test\r\n\r\nx\r\n.", "accepted", 250},
		{"MAIL FROM:<bob@sender.test>", "", 250},
		{"RCPT TO:<carol@house.test>", "too much mail", 450},
		{"RCPT TO:<alice@house.test>", "", 250},
		{"DATA", "", 354},
		{"From: bob@sender.test\r\n\r\nx\r\n.", "accepted", 250},
	} {
		if step.line != "" {
			c.PrintfLine("%s", step.line)
		}
		if _, text, err := c.ReadResponse(step.code); err != nil || !strings.Contains(text, step.want) {
			t.Fatalf("%s: %v %s", step.line, err, text)
		}
	}
	story := s.holds("judged      helo: bare-address (quarantine) 192.0.2.1", "trace", "alice@house.test")
	for _, words := range []string{"judged      milter: lost (tag)", "judged      spf: ", "judged      header: no-date (tag)", "judged      recipient: flooded (defer)"} {
		if !strings.Contains(story, words) {
			t.Errorf("no %q in\n%s", words, story)
		}
	}
	metrics := metricsOf(t, web)
	for _, words := range []string{`action="quarantine",listener="smtp ` + s.smtp + `",stage="helo"} 1`, `action="defer",listener="smtp ` + s.smtp + `",stage="recipient"} 1`} {
		if !strings.Contains(metrics, words) {
			t.Errorf("no %q in the metrics", words)
		}
	}
}

// metricsOf is what Prometheus would read.
func metricsOf(t *testing.T, web string) string {
	t.Helper()
	resp, err := http.Get("http://" + web + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
