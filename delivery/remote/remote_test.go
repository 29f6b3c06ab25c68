package remote

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"posthouse/delivery/hop"
	"posthouse/internal/dns"
	"posthouse/internal/testkit"
	"posthouse/mail"
	"posthouse/mail/mailtest"
)

// world is some hosts, what they say, and the names that lead to them. It is in memory and in a bubble of time of its own.
type world struct {
	*testing.T
	zone    *dns.Zone
	client  *Client
	cert    tls.Certificate
	mu      sync.Mutex
	scripts map[string][]string // by address, one for each connection that is made
	dialed  []string
	servers sync.WaitGroup
}

// inWorld runs f in a world with zone text, and looks afterwards that everything scripted was said.
func inWorld(t *testing.T, zone string, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		z, err := dns.ParseZone(zone)
		if err != nil {
			t.Fatal(err)
		}
		w := &world{T: t, zone: z, scripts: make(map[string][]string), cert: testkit.Certificate(x509.Certificate{DNSNames: []string{"mail.south.test"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}})}
		roots := x509.NewCertPool()
		roots.AddCert(w.cert.Leaf)
		w.client = New(Options{Hostname: "mail.north.test", Resolver: z, Dial: w.dial, TLS: &tls.Config{RootCAs: roots}})
		f(w)
		if err := w.client.Close(); err != nil {
			t.Error(err)
		}
		w.servers.Wait()
		for address, left := range w.scripts {
			if len(left) > 0 {
				t.Errorf("%s: %d connections that nobody made", address, len(left))
			}
		}
	})
}

// host says what the next connection to an address is like. Lines: "S: text" is said, and "S+ text" without the end of its line;
// "C: text" is awaited, and of "C~ text" only the beginning; "S! …" is something else a host does.
func (w *world) host(address, script string) {
	w.scripts[address] = append(w.scripts[address], script)
}

func (w *world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dialed = append(w.dialed, address)
	list := w.scripts[address]
	if len(list) == 0 {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	w.scripts[address] = list[1:]
	if list[0] == "S! unreachable" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ours, theirs := net.Pipe()
	w.servers.Go(func() { w.serve(address, theirs, list[0]) })
	return ours, nil
}

// serve follows a script.
func (w *world) serve(address string, nc net.Conn, script string) {
	defer func() { nc.Close() }()
	r := bufio.NewReader(nc)
	for line := range strings.SplitSeq(strings.TrimSpace(script), "\n") {
		line = strings.TrimLeft(line, "\t")
		how, text := line[:2], strings.TrimPrefix(line[2:], " ")
		switch how {
		case "S:", "S+":
			text = strings.ReplaceAll(text, `\r\n`, "\r\n")
			if how == "S:" {
				text += "\r\n"
			}
			if _, err := io.WriteString(nc, text); err != nil {
				w.Errorf("%s: saying %q: %v", address, text, err)
				return
			}
		case "S!":
			if !w.act(text, &nc, r) {
				return
			}
			r = bufio.NewReader(nc)
		default:
			got, err := r.ReadString('\n')
			got = strings.TrimSuffix(got, "\r\n")
			if err != nil || how == "C:" && got != text || how == "C~" && !strings.HasPrefix(got, text) {
				w.Errorf("%s: got %q, %v, want %q", address, got, err, text)
				return
			}
		}
	}
	// Goodbye, or the connection is just closed.
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if line != "QUIT\r\n" {
			w.Errorf("%s: more was said: %q", address, line)
			return
		}
		io.WriteString(nc, "221 bye\r\n")
	}
}

// serverTLS sends no tickets: a pipe holds nothing, and the client does not read while it says EHLO.
func (w *world) serverTLS() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{w.cert}, SessionTicketsDisabled: true}
}

func (w *world) act(what string, nc *net.Conn, r io.Reader) (more bool) {
	switch what {
	case "close":
		return false
	case "silence":
		io.Copy(io.Discard, r)
		return false
	case "tls":
		*nc = tls.Server(*nc, w.serverTLS())
	case "stall": // it reads nothing at all
		time.Sleep(time.Hour)
		return false
	case "reject": // a handshake that the client will end
		if err := tls.Server(*nc, w.serverTLS()).Handshake(); err == nil {
			// With TLS 1.3 the client's word comes after ours.
			io.Copy(io.Discard, *nc)
		}
		return false
	case "garbage": // instead of a handshake
		io.WriteString(*nc, "this is not TLS at all\r\n")
		io.Copy(io.Discard, *nc)
		return false
	case "endless line":
		for _, err := io.WriteString(*nc, "250-"); err == nil; {
			_, err = io.WriteString(*nc, strings.Repeat("x", 1000))
		}
		return false
	case "endless lines":
		for err := error(nil); err == nil; {
			_, err = io.WriteString(*nc, "250-more\r\n")
		}
		return false
	}
	return true
}

type content struct{ *strings.Reader }

func (content) Close() error { return nil }

// deliver delivers a message to recipients; change makes another message of it.
func (w *world) deliver(h hop.Hop, change func(*hop.Task), to ...string) string {
	w.Helper()
	return w.deliverIn(w.Context(), h, change, to...)
}

func (w *world) deliverIn(ctx context.Context, h hop.Hop, change func(*hop.Task), to ...string) string {
	w.Helper()
	task := hop.Task{Envelope: &mail.Envelope{From: mailtest.Address("alice@north.test")}, Content: content{strings.NewReader("A: b\r\n\r\n.body\r\n")}}
	for _, s := range to {
		task.Recipients = append(task.Recipients, mail.Recipient{Address: mailtest.Address(s)})
	}
	if change != nil {
		change(&task)
	}
	var b strings.Builder
	for _, r := range w.client.Deliver(ctx, h, task) {
		fmt.Fprintf(&b, "%s %s\n", [...]string{"untried", "delivered", "temporary", "permanent"}[r.Status], r.Reply)
	}
	return strings.TrimSpace(b.String())
}

func (w *world) want(got string, want ...string) {
	w.Helper()
	if got != strings.Join(want, "\n") {
		w.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

var south = hop.Hop{Kind: hop.MX, Host: "south.test"}

const southZone = `
south.test. MX 10 mail.south.test.
mail.south.test. A 192.0.2.1
`

const hello = `S: 220 mail.south.test ready
	C: EHLO mail.north.test
	S: 250-mail.south.test
	S: 250-PIPELINING
	S: 250 ENHANCEDSTATUSCODES
	`

const oneMessage = `C: MAIL FROM:<alice@north.test>
	C: RCPT TO:<bob@south.test>
	C: DATA
	S: 250 2.1.0 ok
	S: 250 2.1.5 ok
	S: 354 go ahead
	C: A: b
	C:
	C: ..body
	C: .
	S: 250 2.0.0 taken
	`

func TestOneMessage(t *testing.T) {
	inWorld(t, southZone, func(w *world) {
		w.host("192.0.2.1:25", hello+oneMessage)
		w.want(w.deliver(south, nil, "bob@south.test"), "delivered 250 2.0.0 taken")
	})
}

// TestOutOfStep: a host that says more than it was asked is not asked again over the same connection.
func TestOutOfStep(t *testing.T) {
	inWorld(t, southZone, func(w *world) {
		w.host("192.0.2.1:25", hello+strings.TrimSpace(oneMessage)+`\r\n250 2.0.0 and again`)
		w.host("192.0.2.1:25", hello+oneMessage)
		for range 2 {
			w.want(w.deliver(south, nil, "bob@south.test"), "delivered 250 2.0.0 taken")
		}
	})
}

func TestWithoutPipelining(t *testing.T) {
	inWorld(t, southZone, func(w *world) {
		w.host("192.0.2.1:25", `S: 220 hi
			C: EHLO mail.north.test
			S: 250 mail.south.test
			C: MAIL FROM:<alice@north.test>
			S: 250 ok
			C: RCPT TO:<bob@south.test>
			S: 250 ok
			C: RCPT TO:<eve@south.test>
			S: 550 5.1.1 who?
			C: DATA
			S: 354 go ahead
			C: A: b
			C:
			C: ..body
			C: .
			S: 250 taken
			C: MAIL FROM:<alice@north.test>
			S: 250 ok
			C: RCPT TO:<eve@south.test>
			S: 550 5.1.1 who?
			C: RSET
			S: 250 ok
			C: MAIL FROM:<alice@north.test>
			S: 550 5.7.1 not you`)
		w.want(w.deliver(south, nil, "bob@south.test", "eve@south.test"), "delivered 250 taken", "permanent 550 5.1.1 who?")
		w.want(w.deliver(south, nil, "eve@south.test"), "permanent 550 5.1.1 who?")
		w.want(w.deliver(south, nil, "bob@south.test"), "permanent 550 5.7.1 not you")
	})
}

func TestHELO(t *testing.T) {
	inWorld(t, southZone, func(w *world) {
		w.host("192.0.2.1:25", `S: 220 hi
			C: EHLO mail.north.test
			S: 502 what?
			C: HELO mail.north.test
			S: 250 STARTTLS
			C: MAIL FROM:<alice@north.test>
			S: 451 4.3.0 not now`)
		w.want(w.deliver(south, nil, "bob@south.test"), "temporary 451 4.3.0 not now")
	})
}

// TestPartialSuccess: each recipient has its own result, and a reply to DATA is that of all who were taken.
func TestPartialSuccess(t *testing.T) {
	inWorld(t, southZone, func(w *world) {
		w.host("192.0.2.1:25", hello+`C: MAIL FROM:<alice@north.test>
			C: RCPT TO:<a@south.test>
			C: RCPT TO:<b@south.test>
			C: RCPT TO:<c@south.test>
			C: DATA
			S: 250 ok
			S: 550 5.1.1 no such user
			S: 450 4.2.0 greylisted
			S: 250 ok
			S: 354 go ahead
			C: A: b
			C:
			C: ..body
			C: .
			S: 554 5.7.1 spam
			C: MAIL FROM:<alice@north.test>
			C: RCPT TO:<a@south.test>
			C: DATA
			S: 250 ok
			S: 250 ok
			S: 451 4.3.0 not now`)
		w.want(w.deliver(south, nil, "a@south.test", "b@south.test", "c@south.test"),
			"permanent 550 5.1.1 no such user", "temporary 450 4.2.0 greylisted", "permanent 554 5.7.1 spam")
		w.want(w.deliver(south, nil, "a@south.test"), "temporary 451 4.3.0 not now")
		if len(w.dialed) != 1 {
			w.Errorf("a host that said no was asked again: %v", w.dialed)
		}
	})
}

// TestNobodyTaken: a host that takes the data of a message for nobody gets none of it (RFC 2920 §3.1).
func TestNobodyTaken(t *testing.T) {
	inWorld(t, southZone, func(w *world) {
		w.host("192.0.2.1:25", hello+`C: MAIL FROM:<alice@north.test>
			C: RCPT TO:<eve@south.test>
			C: DATA
			S: 250 ok
			S: 550 5.1.1 who?
			S: 354 go ahead
			C: .
			S: 554 5.5.1 nobody
			C: MAIL FROM:<alice@north.test>
			C: RCPT TO:<eve@south.test>
			C: DATA
			S: 250 ok
			S: 550 5.1.1 who?
			S: 503 5.5.1 nobody
			C: RSET
			`+strings.Replace(oneMessage, "S: 250 2.1.0", "S: 250 reset\nS: 250 2.1.0", 1))
		for range 2 {
			w.want(w.deliver(south, nil, "eve@south.test"), "permanent 550 5.1.1 who?")
		}
		w.want(w.deliver(south, nil, "bob@south.test"), "delivered 250 2.0.0 taken")
	})
}

func TestTooManyRecipientsAtOnce(t *testing.T) {
	inWorld(t, southZone, func(w *world) {
		w.host("192.0.2.1:25", hello+`C: MAIL FROM:<alice@north.test>
			C: RCPT TO:<a@south.test>
			C: RCPT TO:<b@south.test>
			C: DATA
			S: 250 ok
			S: 250 ok
			S: 452 4.5.3 too many
			S: 354 go ahead
			C: A: b
			C:
			C: ..body
			C: .
			S: 250 first
			C: MAIL FROM:<alice@north.test>
			C: RCPT TO:<b@south.test>
			C: DATA
			S: 250 ok
			S: 452 4.5.3 still too many
			S: 503 nobody`)
		w.want(w.deliver(south, nil, "a@south.test", "b@south.test"), "delivered 250 first", "temporary 452 4.5.3 still too many")
	})
}

// TestReuse: two messages over one connection, which is closed in good order when nobody wants it.
func TestReuse(t *testing.T) {
	inWorld(t, southZone, func(w *world) {
		w.host("192.0.2.1:25", hello+oneMessage+oneMessage+"C: QUIT\nS: 221 bye")
		for range 2 {
			w.want(w.deliver(south, nil, "bob@south.test"), "delivered 250 2.0.0 taken")
		}
		time.Sleep(idleTime + time.Second)
		synctest.Wait()
		w.host("192.0.2.1:25", hello+oneMessage)
		w.want(w.deliver(south, nil, "bob@south.test"), "delivered 250 2.0.0 taken")
		if len(w.dialed) != 2 {
			w.Error(w.dialed)
		}
	})
}

// TestStaleConnection: that the other end closed an idle connection counts for nothing.
func TestStaleConnection(t *testing.T) {
	for name, end := range map[string]string{"closed": "S! close", "421": "C~ MAIL\nC~ RCPT\nC~ DATA\nS: 421 4.4.2 idle too long\nS! close"} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, southZone, func(w *world) {
				w.host("192.0.2.1:25", hello+oneMessage+end)
				w.host("192.0.2.1:25", hello+oneMessage)
				for range 2 {
					w.want(w.deliver(south, nil, "bob@south.test"), "delivered 250 2.0.0 taken")
					synctest.Wait()
				}
			})
		})
	}
}

func TestPoolIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pool
		var others []net.Conn
		for i := range maxIdle + 50 + 2 {
			ours, theirs := net.Pipe()
			others = append(others, theirs)
			go io.Copy(io.Discard, theirs)
			c := newConn(ours, peer{})
			switch i {
			case 0:
				c.uses = maxUses
			case 1:
				c.opened = time.Now().Add(-maxAge - time.Second)
			}
			if i < 2 {
				if p.put(poolKey{}, c) {
					t.Error("a worn-out connection was kept")
				}
				continue
			}
			p.put(poolKey{hop: hop.Hop{Host: fmt.Sprint(i / (maxIdlePerHop + 5))}}, c)
		}
		p.mu.Lock()
		if p.n > maxIdle || len(p.idle[poolKey{hop: hop.Hop{Host: "0"}}]) != maxIdlePerHop {
			t.Errorf("%d idle", p.n)
		}
		p.mu.Unlock()
		time.Sleep(idleTime + time.Second)
		p.mu.Lock()
		if p.n != 0 || len(p.idle) != 0 {
			t.Errorf("%d still idle", p.n)
		}
		p.mu.Unlock()
		p.close()
		for _, c := range others {
			c.Close()
		}
	})
}

func TestShutdown(t *testing.T) {
	inWorld(t, southZone, func(w *world) {
		w.host("192.0.2.1:25", hello+"S! silence")
		ctx, cancel := context.WithCancelCause(w.Context())
		time.AfterFunc(time.Second, func() { cancel(errors.New("stop")) })
		w.want(w.deliverIn(ctx, south, nil, "bob@south.test"), "untried 0")
	})
}

// TestLastWord: a host that refuses in the middle of the data is heard.
func TestLastWord(t *testing.T) {
	inWorld(t, southZone, func(w *world) {
		w.host("192.0.2.1:25", hello+`C~ MAIL
			C~ RCPT
			C: DATA
			S: 250 ok
			S: 250 ok
			S: 354 go ahead
			C: A: b
			S! close`)
		w.want(w.deliver(south, func(t *hop.Task) {
			t.Content = content{strings.NewReader("A: b\r\n" + strings.Repeat("more\r\n", 100_000))}
		}, "bob@south.test"), "temporary 451 4.4.2 the connection was closed while sending the message (mail.south.test, 192.0.2.1:25)")
	})
}

// failing is a message that cannot be read to its end.
type failing struct{ content }

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	if off > 0 {
		return 0, errors.New("the disk is gone")
	}
	return f.content.ReadAt(p, off)
}

func TestUnreadableMessageIsNotSentAsIfItWereWhole(t *testing.T) {
	inWorld(t, southZone, func(w *world) {
		w.host("192.0.2.1:25", hello+`C~ MAIL
			C~ RCPT
			C: DATA
			S: 250 ok
			S: 250 ok
			S: 354 go ahead
			S! silence`)
		w.want(w.deliver(south, func(t *hop.Task) {
			t.Content = failing{content{strings.NewReader("A: b\r\n" + strings.Repeat("more\r\n", 100_000))}}
		}, "bob@south.test"), "temporary 451 4.3.0 the message could not be read")
	})
}

// TestOutOfTurn: a positive reply where there can be none delivers nothing.
func TestOutOfTurn(t *testing.T) {
	for said, want := range map[string]string{
		"250 ok\nS: 250 ok\nS: 250 2.0.0 taken":                                   "temporary 451 4.5.0 its reply makes no sense here: 250 2.0.0 taken",
		"354 ok\nS: 250 ok\nS: 503 no":                                            "temporary 451 4.5.0 its reply makes no sense here: 354 ok",
		"250 ok\nS: 354 go\nS: 503 no":                                            "temporary 451 4.5.0 its reply makes no sense here: 354 go",
		"250 ok\nS: 250 ok\nS: 354 go\nC: A: b\nC:\nC: ..body\nC: .\nS: 354 more": "temporary 451 4.5.0 its reply makes no sense here: 354 more",
	} {
		inWorld(t, southZone, func(w *world) {
			w.host("192.0.2.1:25", hello+"C~ MAIL\nC~ RCPT\nC: DATA\nS: "+said)
			w.want(w.deliver(south, nil, "bob@south.test"), want)
		})
	}
	inWorld(t, southZone, func(w *world) {
		w.host("192.0.2.1:25", "S: 250 hi")
		w.want(w.deliver(south, nil, "bob@south.test"), "temporary 451 4.5.0 its reply makes no sense here: 250 hi")
	})
}
