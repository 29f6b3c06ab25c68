package imapd

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"posthouse/directory/sasl"
	"posthouse/internal/link"
	"posthouse/internal/testkit"
	"posthouse/internal/transcript"
	"posthouse/mail/mailtest"
)

// client is a peer of a test.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return newClient(t, conn)
}

func newClient(t testing.TB, conn net.Conn) *client {
	t.Helper()
	if _, isTCP := conn.(*net.TCPConn); isTCP {
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	return &client{t, conn, bufio.NewReader(conn)}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatal(err)
	}
}

// line is the next response; empty at the end.
func (c *client) line() string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		c.t.Fatal(err)
	}
	return strings.TrimSuffix(line, "\r\n")
}

// until reads to the line that begins so.
func (c *client) until(prefix string) string {
	c.t.Helper()
	for {
		line := c.line()
		if strings.HasPrefix(line, prefix) {
			return line
		}
		if line == "" {
			c.t.Fatalf("the end, and no %q", prefix)
		}
	}
}

func (c *client) login() *client {
	c.t.Helper()
	c.send("l LOGIN bob@south.test posthouse\r\ns SELECT INBOX\r\n")
	c.until("l OK")
	c.until("s OK")
	return c
}

func (c *client) expectEnd() {
	c.t.Helper()
	if line := c.line(); line != "" {
		c.t.Errorf("%q instead of the end", line)
	}
}

func TestShutdownEndsSessionsBetweenCommands(t *testing.T) {
	t.Parallel()
	s, addr := start(t, testOptions(t))
	early, waiting, idle, appending := dial(t, addr), dial(t, addr).login(), dial(t, addr).login(), dial(t, addr).login()
	early.until("* OK")
	idle.send("a IDLE\r\n")
	idle.until("+ ")
	appending.send("a APPEND INBOX {10}\r\n")
	appending.until("+ ")
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(context.Background()) }()
	for _, c := range []*client{early, waiting, idle} {
		c.until("* BYE [UNAVAILABLE] Closing")
		c.expectEnd()
	}
	// The command that runs is completed, and nothing after it begins.
	appending.send("0123456789\r\nb NOOP\r\n")
	appending.until("a OK [APPENDUID")
	if line := appending.line(); line != "* BYE [UNAVAILABLE] Closing; try again later" {
		t.Errorf("%q after the last command", line)
	}
	appending.expectEnd()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("it still listens")
	}
}

func TestShutdownCutsOffWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	s, addr := start(t, testOptions(t))
	c := dial(t, addr).login()
	c.send("a APPEND INBOX {10}\r\n")
	c.until("+ ")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	c.expectEnd()
}

func TestDisconnectEndsSessionsOfOneAccount(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	s, addr := start(t, o)
	bob := dial(t, addr).login()
	dave := dial(t, addr)
	dave.send("l LOGIN dave@south.test posthouse\r\n")
	dave.until("l OK")
	login := mailtest.Address("bob@south.test")
	account, err := mustHouse(t).Account(t.Context(), login)
	if err != nil {
		t.Fatal(err)
	}
	s.Disconnect(account.ID)
	bob.until("* BYE")
	bob.expectEnd()
	dave.send("a NOOP\r\n")
	dave.until("a OK")
}

// pipe serves one connection in memory, inside a bubble of synctest; it is over when the session is.
func pipe(t testing.TB, o Options) (c *client, ended <-chan struct{}) {
	t.Helper()
	done := make(chan struct{})
	o.Log, o.Observe.Ended = nil, func() { close(done) }
	ours, theirs := net.Pipe()
	NewServer(o).hub.Admit(theirs)
	return newClient(t, ours), done
}

func TestLoginTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c, ended := pipe(t, Options{Limits: Limits{LoginTime: time.Minute}})
		gone := make(chan struct{})
		go func() { // A client that sends a little now and then gains nothing by it.
			defer close(gone)
			for range time.Tick(10 * time.Second) {
				if _, err := io.WriteString(c.conn, "a"); err != nil {
					return
				}
			}
		}()
		c.until("* OK")
		c.until("* BYE Nothing heard for too long")
		c.expectEnd()
		if took := time.Since(began); took != time.Minute {
			t.Errorf("it took %v", took)
		}
		<-ended
		<-gone
	})
}

func TestSlowReaderIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c, ended := pipe(t, Options{Limits: Limits{WriteTime: time.Minute, LoginTime: time.Hour}})
		c.until("* OK")
		go io.Copy(c.conn, strings.NewReader(strings.Repeat("a CAPABILITY\r\n", 1000))) //nolint:errcheck // it is cut off
		<-ended
		if took := time.Since(began); took != time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

func TestFailedLoginsAreDelayed(t *testing.T) {
	o := testOptions(t)
	synctest.Test(t, func(t *testing.T) {
		c, ended := pipe(t, Options{Auth: sasl.New(sasl.Options{Directory: nobody{}}), AllowPlaintextAuth: true, Store: o.Store})
		c.until("* OK")
		for i, want := range []time.Duration{1, 2, 4, 8} {
			began := time.Now()
			c.send(fmt.Sprintf("a%d LOGIN bob wrong\r\n", i))
			c.until(fmt.Sprintf("a%d NO [AUTHENTICATIONFAILED]", i))
			if took := time.Since(began); took != want*time.Second {
				t.Errorf("failure %d took %v", i, took)
			}
		}
		c.until("* BYE [LIMIT] Too many failed logins")
		c.expectEnd()
		<-ended
	})
}

func TestAutologout(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.Limits.IdleTime = 300 * time.Millisecond
	_, addr := start(t, o)
	waiting := dial(t, addr).login()
	waiting.until("* BYE Nothing heard for too long")
	waiting.expectEnd()
	idle := dial(t, addr)
	idle.send("l LOGIN bob@south.test posthouse\r\na IDLE\r\n")
	idle.until("+ ")
	idle.until("* BYE Nothing heard for too long")
	idle.expectEnd()
}

func TestDefaultsOfLimits(t *testing.T) {
	if d := (Limits{}).withDefaults(); d.IdleTime < 30*time.Minute { // RFC 9051 §5.4
		t.Errorf("autologout after %v", d.IdleTime)
	}
	if d := (Limits{Sessions: 3, LoginDelay: 5}).withDefaults(); d.Sessions != 3 || d.LoginDelay != 5 || d.MessageSize != 50<<20 {
		t.Errorf("%+v", d)
	}
}

// The scripts inside TLS from the first octet, about which sessions know nothing else: what is read comes in other pieces.
func TestScriptsInsideTLS(t *testing.T) {
	t.Parallel()
	transcript.RunDir(t, scripts, func(t *testing.T, s *transcript.Script) transcript.Options {
		t.Parallel()
		o := scriptOptions(t, s)
		if strings.Contains(s.Name, "starttls") || !o.AllowPlaintextAuth || o.Limits.Sessions+o.Limits.SessionsPerNetwork > 0 {
			t.Skip("it is about what is outside")
		}
		if testing.Short() && strings.HasSuffix(s.Name, "/big.txtar") {
			t.Skip("it is played without TLS")
		}
		l := testkit.Listen(t)
		testkit.Serve(t, NewServer(o), tls.NewListener(l, testTLS()))
		return transcript.Options{
			Dial: transcript.DialTLS(l.Addr().String(), &tls.Config{InsecureSkipVerify: true}), //nolint:gosec // it is a test
			Vars: names("bob@south.test", "dave@south.test"),
		}
	})
}

func TestImplicitTLSNeedsNoSTARTTLS(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.AllowPlaintextAuth = false
	l := testkit.Listen(t)
	testkit.Serve(t, NewServer(o), tls.NewListener(l, testTLS()))
	conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // it is a test
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := newClient(t, conn)
	if greeting := c.until("* OK"); strings.Contains(greeting, "STARTTLS") || strings.Contains(greeting, "LOGINDISABLED") {
		t.Error(greeting)
	}
	c.send("a STARTTLS\r\n")
	c.until("a BAD")
	c.login()
}

func TestObserver(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	var connected, refused, ended, failed, authenticated, commands atomic.Int64
	o.Limits.Sessions = 1
	o.Observe = link.Observer{
		Connected: func(no bool) {
			if no {
				refused.Add(1)
			} else {
				connected.Add(1)
			}
		},
		Ended: func() { ended.Add(1) },
		Authenticated: func(mechanism string, err error) {
			if err != nil {
				failed.Add(1)
			} else if mechanism == "LOGIN" {
				authenticated.Add(1)
			}
		},
		Command: func(string, string, time.Duration) { commands.Add(1) },
	}
	s, addr := start(t, o)
	c := dial(t, addr)
	c.until("* OK")
	dial(t, addr).until("* BYE")
	c.send("a LOGIN bob@south.test wrong\r\n")
	c.until("a NO")
	c.login()
	c.send("b NOSUCH\r\nc LOGOUT\r\n")
	c.until("c OK")
	c.expectEnd()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for what, n := range map[string]struct{ got, want int64 }{
		"connected": {connected.Load(), 1}, "refused": {refused.Load(), 1}, "ended": {ended.Load(), 1},
		"failed": {failed.Load(), 1}, "authenticated": {authenticated.Load(), 1}, "commands": {commands.Load(), 4},
	} {
		if n.got != n.want {
			t.Errorf("%s: %d, want %d", what, n.got, n.want)
		}
	}
}

// A change by one session reaches another's IDLE: the median is in the benchmark; here it only has to come by itself.
func BenchmarkIdle(b *testing.B) {
	_, addr := start(b, testOptions(b))
	one, other := dial(b, addr).login(), dial(b, addr).login()
	other.send("a IDLE\r\n")
	other.until("+ ")
	for i := 0; b.Loop(); i++ {
		one.send(fmt.Sprintf("a%d APPEND INBOX {5+}\r\nabc\r\n\r\n", i))
		other.until(fmt.Sprintf("* %d EXISTS", i+1))
		b.StopTimer()
		one.until(fmt.Sprintf("a%d OK", i))
		b.StartTimer()
	}
}
