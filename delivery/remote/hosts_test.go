package remote

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"posthouse/delivery/hop"
	"posthouse/internal/dns"
	"posthouse/mail"
)

const refusedByAll = " (mail.south.test, 192.0.2.1:25)"

// TestExchangers: RFC 5321 §5.1, RFC 7505.
func TestExchangers(t *testing.T) {
	for name, c := range map[string]struct {
		zone   string
		domain string
		want   string
		dialed string
	}{
		"in order of preference": {"south.test. MX 20 b.test.\nsouth.test. MX 10 a.test.\na.test. A 192.0.2.1\nb.test. A 192.0.2.2", "south.test",
			"temporary 451 4.4.1 the connection was refused while connecting (b.test, 192.0.2.2:25)", "192.0.2.1:25 192.0.2.2:25"},
		"IPv6 first": {"south.test. MX 10 a.test.\na.test. A 192.0.2.1\na.test. AAAA 2001:db8::1", "south.test",
			"temporary 451 4.4.1 the connection was refused while connecting (a.test, 192.0.2.1:25)", "[2001:db8::1]:25 192.0.2.1:25"},
		"implicit": {"south.test. A 192.0.2.1", "south.test",
			"temporary 451 4.4.1 the connection was refused while connecting (south.test, 192.0.2.1:25)", "192.0.2.1:25"},
		"null MX":          {"south.test. MX 0 .\nsouth.test. A 192.0.2.1", "south.test", "permanent 556 5.1.10 the domain south.test takes no mail", ""},
		"no domain":        {"north.test. A 192.0.2.1", "south.test", "permanent 550 5.1.2 the domain south.test does not exist", ""},
		"neither MX nor A": {"south.test. TXT x", "south.test", "permanent 550 5.1.2 the domain south.test has neither mail exchangers nor an address", ""},
		"no address":       {"south.test. MX 10 a.test.", "south.test", "permanent 550 5.4.4 the host a.test has no address", ""},
		"a host without an address does not speak for one that is down": {"south.test. MX 10 a.test.\nsouth.test. MX 20 b.test.\na.test. A 192.0.2.1", "south.test",
			"temporary 451 4.4.1 the connection was refused while connecting (a.test, 192.0.2.1:25)", "192.0.2.1:25"},
		"only ourselves": {"south.test. MX 10 Mail.North.test.\nmail.north.test. A 192.0.2.9", "south.test", "permanent 550 5.4.6 mail for south.test loops back to this host", ""},
		"we are a backup": {"south.test. MX 10 a.test.\nsouth.test. MX 20 mail.north.test.\nsouth.test. MX 20 p.test.\nsouth.test. MX 20 q.test.\nsouth.test. MX 20 r.test.\nsouth.test. MX 20 s.test.\nsouth.test. MX 30 c.test.\na.test. A 192.0.2.1", "south.test",
			"temporary 451 4.4.1 the connection was refused while connecting (a.test, 192.0.2.1:25)", "192.0.2.1:25"},
		"literal":            {"", "[192.0.2.1]", "temporary 451 4.4.1 the connection was refused while connecting ([192.0.2.1], 192.0.2.1:25)", "192.0.2.1:25"},
		"IPv6 literal":       {"", "[IPv6:2001:db8::1]", "temporary 451 4.4.1 the connection was refused while connecting ([IPv6:2001:db8::1], [2001:db8::1]:25)", "[2001:db8::1]:25"},
		"DNS fails":          {"FAIL south.test", "south.test", "temporary 451 4.4.3 no answer from the domain name system about the mail exchangers of south.test", ""},
		"DNS fails for host": {"south.test. MX 10 a.test.\nFAIL a.test", "south.test", "temporary 451 4.4.3 no answer from the domain name system about the host a.test", ""},
	} {
		t.Run(name, func(t *testing.T) {
			zone, failing, _ := strings.Cut(c.zone, "FAIL ")
			inWorld(t, zone, func(w *world) {
				w.zone.Fail(failing)
				w.want(w.deliver(hop.Hop{Kind: hop.MX, Host: c.domain}, nil, "bob@south.test"), c.want)
				if got := strings.Join(w.dialed, " "); got != c.dialed {
					w.Errorf("dialed %s, want %s", got, c.dialed)
				}
			})
		})
	}
}

// thousand is a name server that lies.
type thousand struct{ dns.Resolver }

func (thousand) MX(context.Context, string) (a dns.Answer[dns.MX], err error) {
	for range 1000 {
		a.Records = append(a.Records, dns.MX{Preference: 1, Host: "mail.south.test"})
	}
	return a, nil
}

func (thousand) Addrs(context.Context, string) (a dns.Answer[netip.Addr], err error) {
	for i := range 1000 {
		a.Records = append(a.Records, netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)}))
	}
	return a, nil
}

func TestThousandHosts(t *testing.T) {
	inWorld(t, "", func(w *world) {
		w.client.opts.Resolver = thousand{}
		w.deliver(south, nil, "bob@south.test")
		if len(w.dialed) != maxConnects {
			w.Errorf("%d connections attempted", len(w.dialed))
		}
	})
}

const twoHosts = `
south.test. MX 10 a.test.
south.test. MX 20 b.test.
a.test. A 192.0.2.1
b.test. A 192.0.2.2
`

// TestNextHost: what one host cannot do now, the next one may; what it refuses is final.
func TestNextHost(t *testing.T) {
	taken := "delivered 250 2.0.0 taken"
	for name, c := range map[string]struct {
		first string
		want  string
		asked bool // the second host was
	}{
		"refused":              {"", taken, true},
		"unreachable":          {"S! unreachable", taken, true},
		"greeting 4yz":         {"S: 421 4.3.2 busy", taken, true},
		"greeting 554":         {"S: 554 no service", taken, true},
		"greeting is not SMTP": {"S: HTTP/1.1 400 Bad Request", taken, true},
		"EHLO 4yz":             {"S: 220 hi\nC~ EHLO\nS: 451 later", taken, true},
		"closed in EHLO":       {"S: 220 hi\nC~ EHLO\nS! close", taken, true},
		"MAIL 4yz":             {hello + "C~ MAIL\nC~ RCPT\nC~ DATA\nS: 450 4.7.1 later\nS: 503 no\nS: 503 no", taken, true},
		"RCPT 4yz":             {hello + "C~ MAIL\nC~ RCPT\nC~ DATA\nS: 250 ok\nS: 450 4.2.0 greylisted\nS: 503 no", taken, true},
		"421 to RCPT":          {hello + "C~ MAIL\nC~ RCPT\nC~ DATA\nS: 250 ok\nS: 421 4.3.2 bye\nS! silence", taken, true},
		"closed in DATA":       {hello + "C~ MAIL\nC~ RCPT\nC~ DATA\nS: 250 ok\nS: 250 ok\nS! close", taken, true},
		"MAIL 5yz":             {hello + "C~ MAIL\nC~ RCPT\nC~ DATA\nS: 550 5.7.1 no\nS: 503 no\nS: 503 no", "permanent 550 5.7.1 no", false},
		"RCPT 5yz":             {hello + "C~ MAIL\nC~ RCPT\nC~ DATA\nS: 250 ok\nS: 550 5.1.1 no\nS: 503 no", "permanent 550 5.1.1 no", false},
		"message 4yz": {hello + "C~ MAIL\nC~ RCPT\nC~ DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: A: b\nC:\nC: ..body\nC: .\nS: 451 4.3.0 later",
			"temporary 451 4.3.0 later", false},
		"lost after the message": {hello + "C~ MAIL\nC~ RCPT\nC~ DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nC: A: b\nC:\nC: ..body\nC: .\nS! close",
			"temporary 451 4.4.2 the connection was closed while waiting for the reply to the message (a.test, 192.0.2.1:25)", false},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, twoHosts, func(w *world) {
				if c.first != "" {
					w.host("192.0.2.1:25", c.first)
				}
				if c.asked {
					w.host("192.0.2.2:25", hello+oneMessage)
				}
				start := time.Now()
				w.want(w.deliver(south, nil, "bob@south.test"), c.want)
				if asked := len(w.dialed) == 2; asked != c.asked {
					w.Errorf("dialed %v", w.dialed)
				}
				if took := time.Since(start); took > dialTime {
					w.Errorf("it took %v", took)
				}
			})
		})
	}
}

// TestGreetingRefusals: only 521 is final when there is no other host (RFC 7504).
func TestGreetingRefusals(t *testing.T) {
	for greeting, want := range map[string]string{
		"554 5.7.1 blocked": "temporary 554 5.7.1 blocked",
		"521 takes no mail": "permanent 521 takes no mail",
		"421 4.3.2 busy":    "temporary 421 4.3.2 busy",
		"220 hi\nC~ EHLO\nS: 550 no\nC~ HELO\nS: 550 5.7.1 never": "permanent 550 5.7.1 never",
	} {
		inWorld(t, southZone, func(w *world) {
			w.host("192.0.2.1:25", "S: "+greeting)
			w.want(w.deliver(south, nil, "bob@south.test"), want)
		})
	}
}

// TestSilence: a host that says nothing keeps us as long as RFC 5321 §4.5.3.2 says, in every phase, and no longer.
func TestSilence(t *testing.T) {
	envelope := hello + "C~ MAIL\nC~ RCPT\nC~ DATA\n"
	for name, c := range map[string]struct {
		script, want string
		after        time.Duration
	}{
		"connect":  {"S! unreachable", "4.4.1 no answer in time while connecting", dialTime},
		"greeting": {"S! silence", "4.4.2 no answer in time while waiting for the greeting", 5 * time.Minute},
		"EHLO":     {"S: 220 hi\nS! silence", "4.4.2 no answer in time while saying EHLO", 5 * time.Minute},
		"STARTTLS": {"S: 220 hi\nC~ EHLO\nS: 250-hi\nS: 250 STARTTLS\nS! silence", "4.4.2 no answer in time while saying STARTTLS", 5 * time.Minute},
		"MAIL":     {envelope + "S! silence", "4.4.2 no answer in time while giving the envelope", 5 * time.Minute},
		"RCPT":     {envelope + "S: 250 ok\nS! silence", "4.4.2 no answer in time while giving the envelope", 5 * time.Minute},
		"DATA":     {envelope + "S: 250 ok\nS: 250 ok\nS! silence", "4.4.2 no answer in time while giving the envelope", 2 * time.Minute},
		"end": {envelope + "S: 250 ok\nS: 250 ok\nS: 354 go\nS! silence", "4.4.2 no answer in time while waiting for the reply to the message",
			10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, southZone, func(w *world) {
				w.host("192.0.2.1:25", c.script)
				start := time.Now()
				w.want(w.deliver(south, nil, "bob@south.test"), "temporary 451 "+c.want+refusedByAll)
				if took := time.Since(start); took != c.after {
					w.Errorf("it took %v, want %v", took, c.after)
				}
			})
		})
	}
}

// TestPeerThatReadsNothing: each piece of the message has its deadline.
func TestPeerThatReadsNothing(t *testing.T) {
	inWorld(t, southZone, func(w *world) {
		w.host("192.0.2.1:25", hello+"C~ MAIL\nC~ RCPT\nC~ DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\nS! stall")
		start := time.Now()
		got := w.deliver(south, func(t *hop.Task) {
			t.Content = content{strings.NewReader(strings.Repeat("more\r\n", 100_000))}
		}, "bob@south.test")
		w.want(got, "temporary 451 4.4.2 no answer in time while sending the message"+refusedByAll)
		if took := time.Since(start); took != chunkTime+lastWordTime {
			w.Errorf("it took %v", took)
		}
	})
}

func TestEndlessReplies(t *testing.T) {
	for _, what := range []string{"endless line", "endless lines"} {
		inWorld(t, southZone, func(w *world) {
			w.host("192.0.2.1:25", "S: 220 hi\nC~ EHLO\nS! "+what)
			w.want(w.deliver(south, nil, "bob@south.test"), "temporary 451 4.4.2 its reply is not SMTP while saying EHLO"+refusedByAll)
		})
	}
}

// TestUnfit: what a host does not offer and the message needs.
func TestUnfit(t *testing.T) {
	utf8Header := func(t *hop.Task) {
		t.Envelope.UTF8, t.Content = true, content{strings.NewReader("To: caf\u00e9@south.test\r\n\r\nbody\r\n")}
	}
	sealed := func(t *hop.Task) {
		t.Envelope.Body = mail.BodyBinaryMIME
		t.Content = content{strings.NewReader("Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\x00\r\n--b--\r\n")}
	}
	for name, c := range map[string]struct {
		offers string
		change func(*hop.Task)
		to     string
		want   string
	}{
		"size": {"SIZE 10", nil, "bob@south.test", "permanent 552 5.3.4 the message has 15 octets, and the host takes 10"},
		"UTF-8 recipient": {"SIZE", func(t *hop.Task) { t.Envelope.UTF8 = true }, "ジョー@south.test",
			"permanent 550 5.6.7 the message needs SMTPUTF8, which the host does not offer"},
		"UTF-8 header": {"SIZE", utf8Header, "bob@south.test", "permanent 550 5.6.7 the message needs SMTPUTF8, which the host does not offer"},
		"signed":       {"8BITMIME", sealed, "bob@south.test", "permanent 550 5.6.2 the message would have to be converted, and is signed or encrypted"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, southZone, func(w *world) {
				w.host("192.0.2.1:25", "S: 220 hi\nC~ EHLO\nS: 250-hi\nS: 250 "+c.offers)
				w.want(w.deliver(south, c.change, c.to), c.want+refusedByAll)
			})
		})
	}
}

// TestParameters: what the envelope says is said on, to hosts that take it and to no others.
func TestParameters(t *testing.T) {
	change := func(t *hop.Task) {
		t.Envelope.Body, t.Envelope.UTF8, t.Envelope.EnvID, t.Envelope.Return = mail.Body8BitMIME, true, "a=b", mail.ReturnHeaders
		t.Recipients[0].Notify, t.Recipients[0].Original = mail.NotifySuccess|mail.NotifyFailure, "rfc822;b+ob@south.test"
	}
	for offers, commands := range map[string]string{
		"-SIZE\nS: 250-DSN\nS: 250-8BITMIME\nS: 250 SMTPUTF8": "C: MAIL FROM:<alice@north.test> SIZE=15 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+3Db\n" +
			"S: 250 ok\nC: RCPT TO:<bob@south.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;b+2Bob@south.test",
		" HELP": "C: MAIL FROM:<alice@north.test>\nS: 250 ok\nC: RCPT TO:<bob@south.test>",
	} {
		inWorld(t, southZone, func(w *world) {
			w.host("192.0.2.1:25", "S: 220 hi\nC~ EHLO\nS: 250-hi\nS: 250"+offers+"\n"+commands+"\nS: 550 5.1.1 no")
			w.want(w.deliver(south, change, "bob@south.test"), "permanent 550 5.1.1 no")
		})
	}
}

// TestManyRecipients: no transaction has more recipients than every server must take.
func TestManyRecipients(t *testing.T) {
	inWorld(t, southZone, func(w *world) {
		transaction := func(n int) string {
			return "C~ MAIL\n" + strings.Repeat("C~ RCPT\n", n) + "C~ DATA\n" + strings.Repeat("S: 250 ok\n", n+1) +
				"S: 354 go\nC: A: b\nC:\nC: ..body\nC: .\nS: 250 taken\n"
		}
		w.host("192.0.2.1:25", hello+transaction(maxRecipients)+transaction(50))
		got := w.deliver(south, nil, slices.Repeat([]string{"bob@south.test"}, maxRecipients+50)...)
		if n := strings.Count(got, "delivered 250 taken"); n != maxRecipients+50 {
			w.Errorf("%d delivered", n)
		}
	})
}
