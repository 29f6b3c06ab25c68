package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// rush is what clients do to a server at the same time.
type rush struct {
	sessions   int
	perSession int // messages; 0: as many as there is time for
	size       int // octets of a message
	recipients int
	lmtp       string        // the one recipient, over LMTP; empty: over SMTP, to recipients of the sink
	accounts   int           // over LMTP, to so many users in turn
	wait       time.Duration // no message begins after it
}

// taken is what came of a rush.
type taken struct {
	messages  int
	took      time.Duration // until the last answer
	latencies []time.Duration
}

func (r taken) rate() float64 { return float64(r.messages) / r.took.Seconds() }

// run has the clients send, each message with MAIL, RCPT and DATA in one write.
func (l rush) run(t testing.TB, addr string) taken {
	t.Helper()
	var (
		mu    sync.Mutex
		total taken
		wg    sync.WaitGroup
	)
	start := time.Now()
	c := loadClient{rush: l, addr: addr, until: start.Add(l.wait), head: l.head(), body: l.body()}
	for range l.sessions {
		wg.Go(func() {
			latencies, err := c.work()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("%s: %v", addr, err)
			}
			total.latencies = append(total.latencies, latencies...)
		})
	}
	wg.Wait()
	total.took, total.messages = time.Since(start), len(total.latencies)
	return total
}

func (l rush) head() []byte {
	var b bytes.Buffer
	b.WriteString("MAIL FROM:<alice@client.test>\r\n")
	for i := range l.recipients {
		fmt.Fprintf(&b, "RCPT TO:<%s>\r\n", cmp.Or(l.lmtp, fmt.Sprintf("r%d@sink.test", i)))
	}
	b.WriteString("DATA\r\n")
	return b.Bytes()
}

func (l rush) body() []byte {
	header := "From: Alice <alice@client.test>\r\nTo: Bob <bob@sink.test>\r\nSubject: a usual letter\r\nDate: Thu, 01 Jan 1970 00:00:00 +0000\r\n" +
		"Message-ID: <1234567890@client.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
	line := strings.Repeat("x", 70) + "\r\n"
	return []byte(header + strings.Repeat(line, (l.size-len(header))/len(line)) + ".\r\n")
}

type loadClient struct {
	rush
	addr       string
	until      time.Time
	head, body []byte
	sent       atomic.Int64
}

// work sends messages until time is up, in as many sessions as it takes.
func (c *loadClient) work() (latencies []time.Duration, err error) {
	for time.Now().Before(c.until) {
		n, err := c.session(&latencies)
		if err != nil || n == 0 {
			return latencies, err
		}
	}
	return latencies, nil
}

// session is one connection; it tells how many messages it sent.
func (c *loadClient) session(latencies *[]time.Duration) (n int, err error) {
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	conn.SetDeadline(c.until.Add(time.Minute)) //nolint:errcheck // it is a TCP connection
	r := bufio.NewReader(conn)
	begin := time.Now()
	greeting := "EHLO"
	if c.lmtp != "" || c.accounts > 0 {
		greeting = "LHLO"
	}
	if err := errors.Join(expect(r, "220"), put(conn, []byte(greeting+" mail.client.test\r\n")), expect(r, "250")); err != nil {
		return 0, err
	}
	for ; time.Now().Before(c.until) && (c.perSession == 0 || n < c.perSession); n++ {
		if c.perSession != 1 { // a session for one message is part of what the message takes
			begin = time.Now()
		}
		head := c.head
		if c.accounts > 0 {
			head = fmt.Appendf(nil, "MAIL FROM:<alice@client.test>\r\nRCPT TO:<user%d@house.test>\r\nDATA\r\n", c.sent.Add(1)%int64(c.accounts))
		}
		if err := put(conn, head); err != nil {
			return n, err
		}
		for range c.recipients + 1 {
			if err := expect(r, "250"); err != nil {
				return n, err
			}
		}
		if err := errors.Join(expect(r, "354"), put(conn, c.body), expect(r, "250")); err != nil {
			return n, err
		}
		*latencies = append(*latencies, time.Since(begin))
	}
	return n, put(conn, []byte("QUIT\r\n"))
}

func put(w io.Writer, b []byte) error {
	_, err := w.Write(b)
	return err
}

// expect reads a reply.
func expect(r *bufio.Reader, code string) error {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) < 4 || string(line[:3]) != code {
			return fmt.Errorf("%q instead of %s", line, code)
		}
		if line[3] != '-' {
			return nil
		}
	}
}

// sink takes every message and counts it. With keep, a message is answered when that returned.
type sink struct {
	addr     string
	messages atomic.Int64
	keep     func(message []byte) error
}

// newSink serves until the test ends.
func newSink(t testing.TB, keep func([]byte) error) *sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{addr: l.Addr().String(), keep: keep}
	var wg sync.WaitGroup
	var mu sync.Mutex
	conns := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[conn] = true
			mu.Unlock()
			wg.Go(func() {
				s.serve(conn)
				mu.Lock()
				delete(conns, conn)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return s
}

// serve is a session. It ends with the connection, whichever way.
func (s *sink) serve(conn net.Conn) {
	defer conn.Close()
	r, w := bufio.NewReaderSize(conn, 64<<10), bufio.NewWriter(conn)
	w.WriteString("220 sink\r\n")
	for {
		if r.Buffered() == 0 && w.Flush() != nil {
			return
		}
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		switch string(bytes.ToUpper(line[:min(4, len(line))])) {
		case "EHLO":
			w.WriteString("250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
		case "DATA":
			w.WriteString("354 go\r\n")
			if w.Flush() != nil || s.message(r) != nil {
				return
			}
			w.WriteString("250 ok\r\n")
		case "QUIT":
			w.WriteString("221 bye\r\n")
			w.Flush()
			return
		default:
			w.WriteString("250 ok\r\n")
		}
	}
}

// message reads one to its end.
func (s *sink) message(r *bufio.Reader) error {
	var whole []byte
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if string(line) == ".\r\n" {
			break
		}
		if s.keep != nil {
			whole = append(whole, line...)
		}
	}
	s.messages.Add(1)
	if s.keep != nil {
		return s.keep(whole)
	}
	return nil
}

// syncedLog appends to one file; all who wait share a sync. It is what durable acceptance costs at least.
type syncedLog struct {
	file    *os.File
	mu      sync.Mutex
	pending []byte
	waiting []chan error
	busy    bool
}

func newSyncedLog(t testing.TB) *syncedLog {
	f, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &syncedLog{file: f}
}

// append returns when the octets are on stable storage. Who comes first while nobody writes does so for all.
func (l *syncedLog) append(b []byte) error {
	done := make(chan error, 1)
	l.mu.Lock()
	l.pending = append(l.pending, b...)
	l.waiting = append(l.waiting, done)
	lead := !l.busy
	l.busy = true
	l.mu.Unlock()
	for lead {
		l.mu.Lock()
		b, waiting := l.pending, l.waiting
		l.pending, l.waiting = nil, nil
		lead = len(waiting) > 0
		l.busy = lead
		l.mu.Unlock()
		if lead {
			err := put(l.file, b)
			if err == nil {
				err = l.file.Sync()
			}
			for _, w := range waiting {
				w <- err
			}
		}
	}
	return <-done
}
