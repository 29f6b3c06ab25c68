package mta

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"posthouse/mail"
	"posthouse/spool"
)

// discarding is a spool that keeps nothing, to see what the session costs alone.
type discarding struct {
	spool.Spool
	last atomic.Uint64
}

type discardDraft struct {
	env  mail.Envelope
	size int64
}

func (d *discarding) Create(_ context.Context, env mail.Envelope) (spool.Draft, error) {
	env.ID = mail.ID(d.last.Add(1))
	return &discardDraft{env: env}, nil
}

func (d *discardDraft) Write(p []byte) (int, error)             { d.size += int64(len(p)); return len(p), nil }
func (d *discardDraft) ReadAt([]byte, int64) (int, error)       { return 0, io.EOF }
func (d *discardDraft) Size() int64                             { return d.size }
func (d *discardDraft) Prepend([]byte)                          {}
func (d *discardDraft) Envelope() *mail.Envelope                { return &d.env }
func (d *discardDraft) Commit(context.Context) (mail.ID, error) { return d.env.ID, nil }
func (d *discardDraft) Abort() error                            { return nil }

// benchLetter is a message of size octets with a usual header.
func benchLetter(size int) string {
	header := "From: Alice <alice@north.test>\r\nTo: Bob <bob@south.test>\r\nSubject: a usual letter\r\nDate: Thu, 01 Jan 1970 00:00:00 +0000\r\n" +
		"Message-ID: <1234567890@north.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
	line := strings.Repeat("x", 70) + "\r\n"
	return header + strings.Repeat(line, max(0, size-len(header))/len(line))
}

// benchSessions has clients on loopback connections that send b.N messages, each pipelined as far as SMTP lets it.
func benchSessions(b *testing.B, o Options, sessions, size int, to ...string) {
	_, addr := start(b, o, plain)
	letter := benchLetter(size)
	if len(to) == 0 {
		to = []string{"bob@south.test"}
	}
	head := []byte("MAIL FROM:<alice@north.test> SIZE=" + fmt.Sprint(len(letter)) + "\r\nRCPT TO:<" + strings.Join(to, ">\r\nRCPT TO:<") + ">\r\nDATA\r\n")
	data := []byte(letter + ".\r\n")
	left := atomic.Int64{}
	left.Store(int64(b.N))
	done := make(chan error, sessions)
	b.ReportAllocs()
	b.SetBytes(int64(len(letter)))
	b.ResetTimer()
	for range sessions {
		go func() { done <- benchClient(addr, head, data, &left, len(to)) }()
	}
	for range sessions {
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

func benchClient(addr string, head, data []byte, left *atomic.Int64, recipients int) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	read := func(prefix string) error {
		for {
			line, err := r.ReadSlice('\n')
			if err != nil || string(line[:3]) != prefix {
				return fmt.Errorf("%q, %v; want %s", line, err, prefix)
			}
			if line[3] == ' ' {
				return nil
			}
		}
	}
	if err := read("220"); err != nil {
		return err
	}
	io.WriteString(conn, "EHLO mail.north.test\r\n")
	if err := read("250"); err != nil {
		return err
	}
	for begun := false; ; begun = true {
		if begun {
			if err := read("250"); err != nil {
				return err
			}
		}
		if left.Add(-1) < 0 {
			return nil
		}
		conn.Write(head)
		for range recipients + 1 {
			if err := read("250"); err != nil {
				return err
			}
		}
		if err := read("354"); err != nil {
			return err
		}
		conn.Write(data)
	}
}

func BenchmarkIntake(b *testing.B) {
	for _, size := range []int{4 << 10, 100 << 10} {
		for _, sessions := range []int{1, 20, 100} {
			b.Run(fmt.Sprintf("discard/%dKiB/%d", size>>10, sessions), func(b *testing.B) {
				o := testOptions(b)
				o.Spool = &discarding{}
				benchSessions(b, o, sessions, size)
			})
			b.Run(fmt.Sprintf("spool/%dKiB/%d", size>>10, sessions), func(b *testing.B) {
				benchSessions(b, testOptions(b), sessions, size)
			})
		}
	}
}

// A recipient after the first is to cost less than a tenth of a message.
func BenchmarkRecipients(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			o := testOptions(b)
			o.RelayFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			var to []string
			for i := range n {
				to = append(to, fmt.Sprintf("r%d@sink.test", i))
			}
			benchSessions(b, o, 20, 4<<10, to...)
		})
	}
}

// What one message of 4 KiB allocates in a session, the spool's part left out: a budget, so that it does not creep up.
func TestAllocationsPerMessage(t *testing.T) {
	const messages, budget = 200, 45
	o := testOptions(t)
	o.Spool = &discarding{}
	s, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	one := "MAIL FROM:<alice@north.test>\r\nRCPT TO:<bob@south.test>\r\nBDAT 4096 LAST\r\n"
	letter := benchLetter(8 << 10)[:4094] + "\r\n"
	in := []byte("EHLO mail.north.test\r\n" + strings.Repeat(one+letter, messages))
	n := testing.AllocsPerRun(1, func() {
		conn := &script{in: in, piece: 4096}
		sess := s.newSession(conn)
		sess.log = s.opts.Log
		sess.in.init(&s.buffers, sess.read)
		sess.serve(t.Context())
	})
	if got := s.Metrics().Messages.Load(); got != 2*messages {
		t.Fatalf("%d messages were accepted", got)
	}
	if per := n / messages; per > budget {
		t.Errorf("%.1f allocations a message", per)
	} else {
		t.Logf("%.1f allocations a message", per)
	}
}
