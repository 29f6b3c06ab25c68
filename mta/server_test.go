package mta

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"posthouse/directory"
	"posthouse/mail"
	"posthouse/spool"
)

// client is a peer of these tests: it says lines and reads replies.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func dial(t testing.TB, addr string) *client {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return newClient(t, conn)
}

func newClient(t testing.TB, conn net.Conn) *client {
	t.Cleanup(func() { conn.Close() })
	return &client{t, conn, bufio.NewReader(conn)}
}

func (c *client) say(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s+"\r\n"); err != nil {
		c.t.Fatal(err)
	}
}

// expect reads a whole reply and compares its beginning.
func (c *client) expect(prefix string) {
	c.t.Helper()
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("%v, want %q", err, prefix)
		}
		if !strings.HasPrefix(line, prefix[:3]) || line[3] == ' ' && !strings.HasPrefix(line, prefix) {
			c.t.Fatalf("got %q, want %q", line, prefix)
		}
		if line[3] == ' ' {
			return
		}
	}
}

func (c *client) ask(line, prefix string) {
	c.t.Helper()
	c.say(line)
	c.expect(prefix)
}

func (c *client) expectEnd() {
	c.t.Helper()
	if b, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
		c.t.Fatalf("got %q, %v; want the end", b, err)
	}
}

func (c *client) begin() {
	c.t.Helper()
	c.expect("220 ")
	c.ask("EHLO client.test", "250 ")
	c.ask("MAIL FROM:<alice@north.test>", "250 ")
	c.ask("RCPT TO:<bob@south.test>", "250 ")
}

func TestOptions(t *testing.T) {
	o := testOptions(t)
	for name, change := range map[string]func(*Options){
		"no name":      func(o *Options) { o.Hostname = "" },
		"no spool":     func(o *Options) { o.Spool = nil },
		"no directory": func(o *Options) { o.Directory = nil },
		"no TLS":       func(o *Options) { o.Kind, o.TLS = Submissions, nil },
		"no kind":      func(o *Options) { o.Kind = 99 },
	} {
		bad := o
		change(&bad)
		if _, err := NewServer(bad); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Shutdown: a session that waits hears 421 at once, one in the middle of its message gets its answer first.
func TestShutdown(t *testing.T) {
	o := testOptions(t)
	s, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	idle, busy, transaction := dial(t, l.Addr().String()), dial(t, l.Addr().String()), dial(t, l.Addr().String())
	idle.expect("220 ")
	transaction.begin()
	busy.begin()
	busy.ask("DATA", "354 ")
	busy.say("Subject: half")

	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	for _, c := range []*client{idle, transaction} {
		c.expect("421 4.3.2 ")
		c.expectEnd()
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("the listener still accepts")
	}
	busy.say("\r\nrest\r\n.")
	busy.expect("250 2.0.0 ")
	busy.expect("421 4.3.2 ")
	busy.expectEnd()
	if err := <-done; err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if err := s.Serve(l); err == nil {
		t.Error("serving after the end")
	}
}

// Shutdown's patience: a client that never ends its message is cut off.
func TestShutdownCutsOff(t *testing.T) {
	s, err := NewServer(testOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	c := dial(t, l.Addr().String())
	c.begin()
	c.ask("DATA", "354 ")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
	if n := s.Metrics().Sessions.Load(); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// faulty is a spool whose operations fail as it is told; what it does not fail is done by the real one.
type faulty struct {
	spool.Spool
	mu                    sync.Mutex
	create, write, commit error
}

type faultyDraft struct {
	spool.Draft
	of *faulty
}

func (f *faulty) Create(ctx context.Context, env mail.Envelope) (spool.Draft, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.create != nil {
		return nil, f.create
	}
	d, err := f.Spool.Create(ctx, env)
	return faultyDraft{d, f}, err
}

func (d faultyDraft) Write(p []byte) (int, error) {
	d.of.mu.Lock()
	defer d.of.mu.Unlock()
	if d.of.write != nil {
		return 0, d.of.write
	}
	return d.Draft.Write(p)
}

func (d faultyDraft) Commit(ctx context.Context) (mail.ID, error) {
	d.of.mu.Lock()
	defer d.of.mu.Unlock()
	if d.of.commit != nil {
		return 0, d.of.commit
	}
	return d.Draft.Commit(ctx)
}

func (f *faulty) set(create, write, commit error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.create, f.write, f.commit = create, write, commit
}

// A full disk is 452 at each step, nothing is accepted, and mail is taken again as soon as there is space.
func TestFullSpool(t *testing.T) {
	o := testOptions(t)
	f := &faulty{Spool: o.Spool}
	o.Spool = f
	_, addr := start(t, o, plain)
	c := dial(t, addr)
	c.expect("220 ")
	c.ask("EHLO client.test", "250 ")
	const content = "A: b\r\n\r\nx\r\n"
	for step := range 3 {
		for _, verb := range []string{"DATA", "BDAT"} {
			c.ask("MAIL FROM:<alice@north.test>", "250 ")
			c.ask("RCPT TO:<bob@south.test>", "250 ")
			var errs [3]error
			errs[step] = spool.ErrFull
			f.set(errs[0], errs[1], errs[2])
			switch {
			case verb == "BDAT":
				c.ask(fmt.Sprintf("BDAT %d LAST\r\n%s", len(content), strings.TrimSuffix(content, "\r\n")), "452 4.3.1 ")
			case step == 0:
				c.ask("DATA", "452 4.3.1 ")
			default:
				c.ask("DATA", "354 ")
				c.ask(content+".", "452 4.3.1 ")
			}
			c.ask("RCPT TO:<bob@south.test>", "503 ")
			f.set(nil, nil, nil)
		}
	}
	c.ask("MAIL FROM:<alice@north.test>", "250 ")
	c.ask("RCPT TO:<bob@south.test>", "250 ")
	c.ask("DATA", "354 ")
	c.ask("A: b\r\n\r\nx\r\n.", "250 ")
	if n := queued(t, o.Spool); n != 1 {
		t.Errorf("%d messages are queued", n)
	}
}

// By LMTP, the refusal of a last chunk is said for each recipient, however early it comes: RFC 2033 §4.2.
func TestFullSpoolLMTP(t *testing.T) {
	o := testOptions(t)
	o.Kind = LMTP
	o.Spool = &faulty{Spool: o.Spool, create: spool.ErrFull}
	_, addr := start(t, o, plain)
	c := dial(t, addr)
	c.expect("220 ")
	c.ask("LHLO client.test", "250 ")
	c.ask("MAIL FROM:<alice@north.test>", "250 ")
	c.ask("RCPT TO:<bob@south.test>", "250 ")
	c.ask("RCPT TO:<dave@south.test>", "250 ")
	c.ask("BDAT 6 LAST\r\nA: b\r\nNOOP", "452 4.3.1 ")
	c.expect("452 4.3.1 ")
	c.expect("250 ")
}

func queued(t testing.TB, sp spool.Spool) (n int) {
	for _, err := range sp.List(context.Background(), spool.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// After a failed sync no mail is taken from anybody: the sessions that are open hear 451, new ones 421.
func TestFailedSpool(t *testing.T) {
	o := testOptions(t)
	f := &faulty{Spool: o.Spool, commit: spool.ErrFailed}
	o.Spool = f
	_, addr := start(t, o, plain)
	c, other := dial(t, addr), dial(t, addr)
	c.begin()
	other.begin()
	c.ask("DATA", "354 ")
	c.ask("A: b\r\n\r\nx\r\n.", "451 4.3.0 ")
	c.ask("MAIL FROM:<alice@north.test>", "451 4.3.0 ")
	other.ask("RSET", "250 ")
	other.ask("MAIL FROM:<alice@north.test>", "451 4.3.0 ")
	late := dial(t, addr)
	late.expect("421 4.3.0 ")
	late.expectEnd()
	if n := queued(t, o.Spool); n != 0 {
		t.Errorf("%d messages are queued", n)
	}
}

// unavailable is a directory that cannot answer.
type unavailable struct{ directory.Directory }

func (unavailable) Resolve(context.Context, mail.Address) (directory.Resolution, error) {
	return directory.Resolution{}, directory.ErrUnavailable
}

func (unavailable) Authenticate(context.Context, directory.Login) (directory.Account, error) {
	return directory.Account{}, directory.ErrUnavailable
}

func TestUnavailableDirectory(t *testing.T) {
	o := testOptions(t)
	o.Directory = unavailable{o.Directory}
	_, addr := start(t, o, plain)
	c := dial(t, addr)
	c.expect("220 ")
	c.ask("EHLO client.test", "250 ")
	c.ask("MAIL FROM:<>", "250 ")
	c.ask("RCPT TO:<bob@south.test>", "451 4.3.0 ")
	o.Kind, o.AllowPlaintextAuth = Submission, true
	s, addr := start(t, o, plain)
	c = dial(t, addr)
	c.expect("220 ")
	c.ask("EHLO client.test", "250 ")
	c.ask("AUTH PLAIN AGJvYgBwb3N0aG91c2U=", "454 4.7.0 ")
	if n := s.Metrics().Authenticated()[Attempt{"PLAIN", "unavailable"}]; n != 1 {
		t.Errorf("%d attempts are counted", n)
	}
}

// inBubble has f talk to a server whose time is the bubble's.
func inBubble(t *testing.T, limits Limits, f func(*client)) {
	testOptions(t) // the house is everybody's, and must not be opened in the bubble
	synctest.Test(t, func(t *testing.T) {
		sp, err := spool.OpenSQLite(spool.Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer sp.Close()
		d, err := house()
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewServer(Options{Hostname: "mail.south.test", Spool: sp, Directory: d, Limits: limits})
		if err != nil {
			t.Fatal(err)
		}
		client, server := net.Pipe()
		s.accept(server)
		f(newClient(t, client))
		client.Close()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func (c *client) after(d time.Duration, f func()) {
	c.t.Helper()
	begin := time.Now()
	f()
	if took := time.Since(begin); took != d {
		c.t.Errorf("after %v, want %v", took, d)
	}
}

// RFC 5321 §4.5.3.2.7: the time for a command begins anew with each, and octets of a line do not stretch it.
func TestCommandTimeout(t *testing.T) {
	inBubble(t, Limits{}, func(c *client) {
		c.expect("220 ")
		time.Sleep(4 * time.Minute)
		c.ask("EHLO client.test", "250 ")
		time.Sleep(4 * time.Minute)
		io.WriteString(c.conn, "NO")
		c.after(time.Minute, func() { c.expect("421 4.4.2 ") })
		c.expectEnd()
	})
}

// RFC 5321 §4.5.3.2.5: the time for message data begins anew with each block; the message as a whole has its own.
func TestDataTimeout(t *testing.T) {
	inBubble(t, Limits{MessageTime: 12 * time.Minute}, func(c *client) {
		c.begin()
		c.ask("DATA", "354 ")
		c.after(5*time.Minute, func() { c.expect("421 4.4.2 ") })
		c.expectEnd()
	})
	inBubble(t, Limits{MessageTime: 12 * time.Minute}, func(c *client) {
		c.begin()
		c.ask("DATA", "354 ")
		for range 3 {
			time.Sleep(4*time.Minute - time.Second)
			io.WriteString(c.conn, "x")
		}
		c.after(3*time.Second, func() { c.expect("421 4.4.2 ") })
		c.expectEnd()
	})
}

// The time of a message is that of all its chunks together, and empty chunks lead nowhere.
func TestChunksTimeout(t *testing.T) {
	inBubble(t, Limits{MessageTime: 10 * time.Minute}, func(c *client) {
		c.begin()
		for range 3 {
			c.ask("BDAT 5\r\nA:b", "250 ")
			time.Sleep(3 * time.Minute)
		}
		c.say("BDAT 10")
		c.after(time.Minute, func() { c.expect("421 4.4.2 ") })
		c.expectEnd()
	})
	inBubble(t, Limits{}, func(c *client) {
		c.begin()
		for range 99 { // EHLO was one more
			c.ask("BDAT 0", "250 ")
		}
		c.ask("BDAT 0", "421 4.7.0 ")
	})
}

// What a client sent after its time is never a command.
func TestNothingRunsAfterATimeout(t *testing.T) {
	inBubble(t, Limits{}, func(c *client) {
		c.begin()
		c.ask("DATA", "354 ")
		c.expect("421 4.4.2 ")
		if _, err := io.WriteString(c.conn, "\r\n.\r\nQUIT\r\n"); err == nil {
			t.Error("the connection still takes what comes")
		}
	})
}

// A client that does not read what it is told holds the session for as long as a write may take, and no longer.
func TestClientThatDoesNotRead(t *testing.T) {
	inBubble(t, Limits{}, func(c *client) {
		c.expect("220 ")
		c.say("NOOP")
		synctest.Wait()
		c.after(time.Minute, func() {
			for { // the session ends, and the pipe with it
				if _, err := c.conn.Write([]byte("NOOP\r\n")); err != nil {
					return
				}
			}
		})
	})
}

// Replies wait until the input is drained, and leave in one piece: RFC 2920 §3.2.
func TestRepliesLeaveTogether(t *testing.T) {
	inBubble(t, Limits{}, func(c *client) {
		c.expect("220 ")
		c.say("NOOP\r\nNOOP\r\nNOOP")
		b := make([]byte, 1000)
		n, err := c.conn.Read(b)
		if err != nil || strings.Count(string(b[:n]), "250 ") != 3 {
			t.Errorf("%q, %v", b[:n], err)
		}
	})
}

func TestNetworks(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1:25":           "192.0.2.1/32",
		"[2001:db8::1]:25":       "2001:db8::/64",
		"[2001:db8::1:2:3:4]:25": "2001:db8::/64",
	} {
		sess := &session{server: &Server{}, remote: netip.MustParseAddrPort(addr)}
		if got := sess.network().String(); got != want {
			t.Errorf("%s: %s", addr, got)
		}
		sess.trusted = true
		if sess.network().IsValid() {
			t.Errorf("%s: trusted, and counted", addr)
		}
	}
}

// A panic ends its session, and no other.
func TestPanicEndsOneSession(t *testing.T) {
	o := testOptions(t)
	o.Directory = panicking{o.Directory}
	var log logged
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	_, addr := start(t, o, plain)
	c, other := dial(t, addr), dial(t, addr)
	other.expect("220 ")
	c.expect("220 ")
	c.ask("EHLO client.test", "250 ")
	c.ask("MAIL FROM:<>", "250 ")
	c.say("RCPT TO:<bob@south.test>")
	c.expectEnd()
	other.ask("NOOP", "250 ")
	other.ask("QUIT", "221 ")
	other.expectEnd()
	if !log.contains("session panicked") {
		t.Error("the log says nothing of it")
	}
}

// logged is a log to look into while others write it.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) contains(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), s)
}

// A refusal that no list of stages switches off has a name in the log all the same.
func TestRefusalsAreNamed(t *testing.T) {
	var log logged
	o := testOptions(t)
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	o.Limits.Hops, o.Limits.HeaderSize, o.Limits.MessageSize = 1, 100, 1000
	s, addr := start(t, o, plain)
	c := dial(t, addr)
	c.expect("220 ")
	c.ask("EHLO client.test", "250 ")
	for name, text := range map[string]string{
		"loop": "Received: a\r\nReceived: b\r\n", "size": "X: " + strings.Repeat("x", 200) + "\r\n", "lines": " X: y\r\n",
	} {
		c.ask("MAIL FROM:<alice@north.test>", "250 ")
		c.ask("RCPT TO:<bob@south.test>", "250 ")
		c.ask("DATA", "354 ")
		c.say(text + "\r\n.")
		if line, err := c.r.ReadString('\n'); err != nil || line[:2] != "55" {
			t.Fatalf("%s: %s, %v", name, line, err)
		}
		if !log.contains("stage="+name) || s.Metrics().Refused()[name] != 1 {
			t.Errorf("%s is not named: %v", name, s.Metrics().Refused())
		}
	}
	c.ask("MAIL FROM:<alice@north.test> SIZE=2000", "552 ")
	if n := s.Metrics().Refused()["size"]; n != 2 {
		t.Errorf("%d", n)
	}
}

// Who is trusted is not counted, and does not wait for the answers to its errors.
func TestTrustedAreNotHeldBack(t *testing.T) {
	o := testOptions(t)
	o.Limits.SessionsPerNetwork = 1
	o.Tarpit = Tarpit{Delay: time.Hour, Sessions: 1}
	o.Clients = NewClients(ClientsOptions{Never: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	_, addr := start(t, o, plain)
	for range 3 {
		c := dial(t, addr)
		c.expect("220 ")
		c.ask("WHAT", "500 ")
	}
}

type panicking struct{ directory.Directory }

func (panicking) Resolve(context.Context, mail.Address) (directory.Resolution, error) { panic("test") }

// One client network cannot take all sessions, and gives back what it had.
func TestSessionsComeBack(t *testing.T) {
	o := testOptions(t)
	o.Limits.SessionsPerNetwork = 3
	var log logged
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	s, addr := start(t, o, plain)
	for range 5 {
		var clients []*client
		for range 3 {
			c := dial(t, addr)
			c.expect("220 ")
			clients = append(clients, c)
		}
		over := dial(t, addr)
		over.expect("421 4.7.0 ")
		over.expectEnd()
		for _, c := range clients {
			c.ask("QUIT", "221 ")
			c.expectEnd()
		}
		waitFor(t, func() bool { return s.Metrics().Sessions.Load() == 0 })
	}
	if n := s.Metrics().Refused()["connections"]; n != 5 {
		t.Errorf("%d refused connections are counted", n)
	}
	if !log.contains("stage=connections") {
		t.Error("the log says nothing of them")
	}
	if len(s.networks) != 0 {
		t.Errorf("networks are left: %v", s.networks)
	}
}

// waitFor polls a condition that another goroutine is about to make true.
func waitFor(t testing.TB, condition func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not come true")
		}
	}
}

func TestMetrics(t *testing.T) {
	o := testOptions(t)
	s, addr := start(t, o, plain)
	c := dial(t, addr)
	c.begin()
	c.ask("RCPT TO:<all@south.test>", "250 ")
	c.ask("RCPT TO:<nobody@south.test>", "550 ")
	c.ask("DATA", "354 ")
	c.ask("A: b\r\n\r\nx\r\n.", "250 ")
	m := s.Metrics()
	if m.Messages.Load() != 1 || m.Recipients.Load() != 2 || m.Octets.Load() != 11 || m.Refused()["RCPT"] != 1 || m.Sessions.Load() != 1 {
		t.Errorf("%d messages, %d recipients, %d octets, refused %v", m.Messages.Load(), m.Recipients.Load(), m.Octets.Load(), m.Refused())
	}
}

// A client that never begins its handshake, and one that sends something else, end with it.
func TestNoHandshake(t *testing.T) {
	for name, send := range map[string]string{"silence": "", "plain words": "EHLO client.test\r\n"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := testOptions(t)
				o.Kind = Submissions
				s, err := NewServer(o)
				if err != nil {
					t.Fatal(err)
				}
				client, server := net.Pipe()
				s.accept(server)
				begin := time.Now()
				if send != "" {
					io.WriteString(client, send)
				}
				io.Copy(io.Discard, client)
				if took := time.Since(begin); took > 30*time.Second || send == "" && took != 30*time.Second {
					t.Errorf("it took %v", took)
				}
				if err := s.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				if n := s.Metrics().TLS()["failed"]; n != 1 {
					t.Errorf("%d failed handshakes are counted", n)
				}
			})
		})
	}
}

// Session tickets of one server are worth nothing at another with the same certificate.
func TestTicketsOfAnotherServer(t *testing.T) {
	o := testOptions(t)
	o.Kind = Submissions
	_, first := start(t, o, plain)
	_, second := start(t, o, plain)
	config := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(4), ServerName: "mail.south.test"}
	resumed := func(addr string) bool {
		conn, err := tls.Dial("tcp", addr, config)
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, conn)
		c.expect("220 ") // the tickets come before it
		c.ask("QUIT", "221 ")
		return conn.ConnectionState().DidResume
	}
	if resumed(first) || !resumed(first) {
		t.Error("a server does not know its own tickets")
	}
	if resumed(second) {
		t.Error("another server takes them")
	}
}
