package pop3d

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"posthouse/internal/testkit"
)

// loggedInSession is bob's, whose INBOX has n messages of about so many octets. It runs commands without bytes.
func loggedInSession(t testing.TB, n, size int) (*session, *testkit.Conn) {
	t.Helper()
	h := newHouse(t)
	account := h.account("bob")
	for i := range n {
		file(t, account, fmt.Sprintf("Subject: %d\r\n\r\n", i)+strings.Repeat("A line that is like all the others of this text.\r\n", size/50), "")
	}
	server, conn := NewServer(h.Options), &testkit.Conn{}
	l, err := server.hub.Enter(conn)
	if err != nil {
		t.Fatal(err)
	}
	s := newSession(server, l)
	if s.drop, err = openMaildrop(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.hub.Leave(l) })
	return s, conn
}

func (s *session) mustRun(t testing.TB, line string) {
	_, a, err := s.command(context.Background(), line)
	if err != nil {
		t.Fatal(err)
	}
	s.say(a)
	if err := s.out.Flush(); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkRetr(b *testing.B) {
	for _, size := range []int{4 << 10, 256 << 10, 16 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			s, conn := loggedInSession(b, 1, size)
			s.mustRun(b, "RETR 1")
			b.SetBytes(conn.Taken)
			b.ReportAllocs()
			for b.Loop() {
				s.mustRun(b, "RETR 1")
			}
		})
	}
}

func BenchmarkListing(b *testing.B) {
	s, _ := loggedInSession(b, 10_000, 50)
	for _, line := range []string{"LIST", "UIDL", "STAT", "TOP 1 0"} {
		b.Run(line, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.mustRun(b, line)
			}
		})
	}
}

// Budgets of allocations: of RETR a few for each chunk of the message, which are the mailbox's; of LIST none for a line.
func TestAllocations(t *testing.T) {
	if testing.Short() {
		t.Skip("make check has the race detector on, which allocates")
	}
	s, _ := loggedInSession(t, 1, 16<<20)
	s.mustRun(t, "RETR 1")
	const chunks = 16 << 20 >> 16
	if got := testing.AllocsPerRun(3, func() { s.mustRun(t, "RETR 1") }); got > 10*chunks {
		t.Errorf("%.0f allocations for %d chunks", got, chunks)
	}
	s, _ = loggedInSession(t, 1000, 50)
	s.mustRun(t, "LIST")
	if got := testing.AllocsPerRun(3, func() { s.mustRun(t, "LIST") }); got > 20 {
		t.Errorf("%.0f allocations for LIST", got)
	}
}
