package remote

import (
	"strings"
	"testing"

	"posthouse/delivery/hop"
	"posthouse/mail"
)

const startTLS = `S: 220 mail.south.test ready
	C: EHLO mail.north.test
	S: 250-mail.south.test
	S: 250 STARTTLS
	C: STARTTLS
	`

// encrypted is a host that greets again after the handshake.
const encrypted = startTLS + `S: 220 go ahead
	S! tls
	C: EHLO mail.north.test
	S: 250-mail.south.test
	S: 250 PIPELINING
	`

func TestOpportunisticTLS(t *testing.T) {
	for name, scripts := range map[string][]string{
		"taken":   {encrypted + oneMessage},
		"refused": {startTLS + "S: 454 4.7.0 not now\n" + oneByOne},
		// A failed handshake ends the connection: the next one does without.
		"failed": {startTLS + "S: 220 go ahead\nS! garbage", hello + oneMessage},
		"closed": {startTLS + "S: 220 go ahead\nS! close", hello + oneMessage},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, southZone, func(w *world) {
				for _, s := range scripts {
					w.host("192.0.2.1:25", s)
				}
				w.want(w.deliver(south, nil, "bob@south.test"), "delivered 250 2.0.0 taken")
			})
		})
	}
}

const oneByOne = `C: MAIL FROM:<alice@north.test>
	S: 250 ok
	C: RCPT TO:<bob@south.test>
	S: 250 ok
	C: DATA
	S: 354 go
	C: A: b
	C:
	C: ..body
	C: .
	S: 250 2.0.0 taken
	`

// TestAnyCertificateWillDo: without a promise of the host, encryption to anybody is better than none.
func TestAnyCertificateWillDo(t *testing.T) {
	inWorld(t, "south.test. MX 10 other.test.\nother.test. A 192.0.2.1", func(w *world) {
		w.host("192.0.2.1:25", encrypted+oneMessage)
		w.want(w.deliver(south, nil, "bob@south.test"), "delivered 250 2.0.0 taken")
	})
}

// TestInjection: what came in the clear before the handshake is forgotten, replies and offers both (RFC 3207 §4.2).
func TestInjection(t *testing.T) {
	inWorld(t, southZone, func(w *world) {
		injected := `S+ 220 go ahead\r\n250-evil\r\n250 SIZE 1\r\n250 2.1.0 taken by eve\r\n`
		script := strings.Replace(encrypted, "S: 220 go ahead", injected, 1)
		w.host("192.0.2.1:25", strings.Replace(script, "S: 250 STARTTLS", "S: 250-SIZE 1\nS: 250 STARTTLS", 1)+oneMessage)
		w.want(w.deliver(south, nil, "bob@south.test"), "delivered 250 2.0.0 taken")
	})
}

// TestTLSRequired: RFC 8689. It goes over verified TLS to a host that promises the same, or not at all.
func TestTLSRequired(t *testing.T) {
	required := func(t *hop.Task) { t.Envelope.TLS = mail.TLSRequired }
	const promise = "S: 250-REQUIRETLS\n\tS: 250 PIPELINING"
	for name, c := range map[string]struct {
		zone, script, want string
	}{
		"good": {southZone, strings.Replace(encrypted, "S: 250 PIPELINING", promise, 1) +
			strings.Replace(oneMessage, "C: MAIL FROM:<alice@north.test>", "C: MAIL FROM:<alice@north.test> REQUIRETLS", 1), "delivered 250 2.0.0 taken"},
		"no promise": {southZone, encrypted, "permanent 550 5.7.30 the host does not offer REQUIRETLS" + refusedByAll},
		"no TLS":     {southZone, hello, "permanent 550 5.7.10 the host offers no TLS, which is needed" + refusedByAll},
		"handshake":  {southZone, startTLS + "S: 220 go ahead\nS! garbage", "permanent 550 5.7.10 the TLS handshake failed" + refusedByAll},
		"another's certificate": {"south.test. MX 10 other.test.\nother.test. A 192.0.2.1", startTLS + "S: 220 go ahead\nS! reject",
			"permanent 550 5.7.10 the TLS handshake failed (other.test, 192.0.2.1:25)"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, c.zone, func(w *world) {
				w.client.opts.Resolver = validated{w.zone}
				w.host("192.0.2.1:25", c.script)
				w.want(w.deliver(south, required, "bob@south.test"), c.want)
			})
		})
	}
}

// TestConnectionsAreKeptApart: what went in the clear is not used for what needs TLS.
func TestConnectionsAreKeptApart(t *testing.T) {
	inWorld(t, southZone, func(w *world) {
		w.host("192.0.2.1:25", hello+oneMessage)
		w.want(w.deliver(south, nil, "bob@south.test"), "delivered 250 2.0.0 taken")
		w.host("192.0.2.1:25", hello)
		w.client.opts.Resolver = validated{w.zone}
		w.want(w.deliver(south, func(t *hop.Task) { t.Envelope.TLS = mail.TLSRequired }, "bob@south.test"),
			"permanent 550 5.7.10 the host offers no TLS, which is needed"+refusedByAll)
	})
}

// TestSmarthost: RFC 4954; the secret goes over verified TLS only.
func TestSmarthost(t *testing.T) {
	smarthost := hop.Hop{Kind: hop.SMTP, Host: "mail.south.test", Port: 587, Username: "north", Password: "secret"}
	const auth = "AUTH LOGIN PLAIN"
	const login = "C: AUTH PLAIN AG5vcnRoAHNlY3JldA==\n"
	at := " (mail.south.test, 192.0.2.1:587)"
	for name, c := range map[string]struct{ script, want string }{
		"good": {strings.Replace(encrypted, "S: 250 PIPELINING", "S: 250-PIPELINING\nS: 250 "+auth, 1) + login + "S: 235 2.7.0 welcome\n" +
			strings.Replace(oneMessage, "C: MAIL FROM:<alice@north.test>", "C: MAIL FROM:<alice@north.test> AUTH=<>", 1),
			"delivered 250 2.0.0 taken"},
		"wrong":        {strings.Replace(encrypted, "PIPELINING", auth, 1) + login + "S: 535 5.7.8 who are you?", "temporary 535 5.7.8 who are you?"},
		"not offered":  {encrypted, "temporary 451 4.7.0 the host does not offer AUTH PLAIN" + at},
		"in the clear": {"S: 220 hi\nC~ EHLO\nS: 250-hi\nS: 250 " + auth, "temporary 451 4.7.4 the host offers no TLS, which is needed" + at},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, southZone, func(w *world) {
				w.host("192.0.2.1:587", c.script)
				w.want(w.deliver(smarthost, nil, "bob@south.test"), c.want)
			})
		})
	}
}

// TestTLSOptional: RFC 8689 §4.2.2. A sender that does without TLS gets the message to a host whose certificate is another's, and not our
// credentials.
func TestTLSOptional(t *testing.T) {
	ignored := func(t *hop.Task) { t.Envelope.TLS = mail.TLSIgnored }
	inWorld(t, "other.test. A 192.0.2.1", func(w *world) {
		other := hop.Hop{Kind: hop.SMTPS, Host: "other.test", Port: 465}
		w.host("192.0.2.1:465", "S! tls\n"+hello+oneMessage)
		w.want(w.deliver(other, ignored, "bob@south.test"), "delivered 250 2.0.0 taken")
		other.Username = "north"
		w.host("192.0.2.1:465", "S! reject")
		w.want(w.deliver(other, ignored, "bob@south.test"), "temporary 451 4.7.5 the TLS handshake failed (other.test, 192.0.2.1:465)")
	})
}

func TestSMTPS(t *testing.T) {
	for host, want := range map[string]string{
		"mail.south.test": "delivered 250 2.0.0 taken",
		"192.0.2.1":       "delivered 250 2.0.0 taken",
		"other.test":      "temporary 451 4.7.5 the TLS handshake failed (other.test, 192.0.2.1:465)",
	} {
		inWorld(t, southZone+"other.test. A 192.0.2.1", func(w *world) {
			script := "S! tls\n" + hello + oneMessage
			if host == "other.test" {
				script = "S! reject"
			}
			w.host("192.0.2.1:465", script)
			w.want(w.deliver(hop.Hop{Kind: hop.SMTPS, Host: host, Port: 465}, nil, "bob@south.test"), want)
		})
	}
}

// TestLMTP: a reply for each recipient (RFC 2033 §4.2), over TCP and over a unix socket.
func TestLMTP(t *testing.T) {
	for _, h := range []hop.Hop{{Kind: hop.LMTP, Host: "192.0.2.1", Port: 24}, {Kind: hop.LMTPUnix, Host: "/run/lmtp"}} {
		for name, c := range map[string]struct{ end, want string }{
			"all": {"S: 250 2.0.0 a has it\nS: 452 4.2.2 c is full", "delivered 250 2.0.0 a has it\npermanent 550 5.1.1 who?\ntemporary 452 4.2.2 c is full"},
			"cut off": {"S: 250 2.0.0 a has it\nS! close", "delivered 250 2.0.0 a has it\npermanent 550 5.1.1 who?\n" +
				"temporary 451 4.4.2 the connection was closed while waiting for the reply to the message"},
		} {
			t.Run(h.String()+" "+name, func(t *testing.T) {
				inWorld(t, "", func(w *world) {
					at := "/run/lmtp"
					if h.Kind == hop.LMTP {
						at = "192.0.2.1:24"
					}
					w.host(at, `S: 220 hi
						C: LHLO mail.north.test
						S: 250-hi
						S: 250 PIPELINING
						C: MAIL FROM:<alice@north.test>
						C: RCPT TO:<a@south.test>
						C: RCPT TO:<b@south.test>
						C: RCPT TO:<c@south.test>
						C: DATA
						S: 250 ok
						S: 250 ok
						S: 550 5.1.1 who?
						S: 250 ok
						S: 354 go
						C: A: b
						C:
						C: ..body
						C: .
						`+c.end)
					got := w.deliver(h, nil, "a@south.test", "b@south.test", "c@south.test")
					if !strings.HasPrefix(got, c.want) {
						w.Errorf("got\n%s\nwant\n%s", got, c.want)
					}
				})
			})
		}
	}
}
