package imapd

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"posthouse/directory"
	"posthouse/imapd/wire"
	"posthouse/internal/testkit"
	"posthouse/mail/mailtest"
	"posthouse/mailbox"
)

// loggedInSession is one of an account with n messages in INBOX, which is selected. It runs commands without bytes.
func loggedInSession(t testing.TB, n int) (*session, *testkit.Conn) {
	t.Helper()
	s, conn := sessionOf(t, testOptions(t))
	fill(t, s.account, n)
	mustRun(t, s, &selectCommand{name: "INBOX"})
	return s, conn
}

// sessionOf is one that is logged in.
func sessionOf(t testing.TB, o Options) (*session, *testkit.Conn) {
	t.Helper()
	server := NewServer(o)
	conn := &testkit.Conn{}
	l, err := server.hub.Enter(conn)
	if err != nil {
		t.Fatal(err)
	}
	s := newSession(server, l)
	t.Cleanup(func() {
		s.close()
		server.hub.Leave(l)
	})
	login := mailtest.Address("bob@south.test")
	if err := s.logIn(t.Context(), directory.Account{ID: "bob", Login: login}); err != nil {
		t.Fatal(err)
	}
	return s, conn
}

// fill adds n messages to INBOX.
func fill(t testing.TB, a mailbox.Account, n int) {
	t.Helper()
	fillWith(t, a, n, benchMessage)
}

// fillWith adds n messages, which are counted down.
func fillWith(t testing.TB, a mailbox.Account, n int, message func(int) string) {
	t.Helper()
	inbox, err := a.Box(t.Context(), mailbox.Inbox)
	if err != nil {
		t.Fatal(err)
	}
	for n > 0 {
		var adds []mailbox.Mutation
		for range min(n, 1000) {
			blob, err := a.Stage(t.Context(), strings.NewReader(message(n)))
			if err != nil {
				t.Fatal(err)
			}
			adds = append(adds, mailbox.Add{Box: inbox.ID, Blob: blob, Internal: time.Unix(800_000_000+int64(n)*60, 0).UTC()})
			n--
		}
		if _, err := a.Apply(t.Context(), adds...); err != nil {
			t.Fatal(err)
		}
	}
}

func benchMessage(n int) string {
	return fmt.Sprintf("Received: from mail.north.example by mail.south.test with ESMTPS; Wed, 17 Jul 1996 02:44:25 -0700\r\n"+
		"Date: Wed, 17 Jul 1996 02:44:25 -0700\r\nFrom: \"Terry Gray\" <gray%d@north.example>\r\n"+
		"To: bob@south.test, dave@south.test\r\nSubject: Message number %d about things\r\nMessage-ID: <%d@north.example>\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=\"b%d\"\r\n\r\n--b%d\r\n"+
		"Content-Type: text/plain; charset=utf-8\r\n\r\nHello.\r\n--b%d\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Hello.</p>\r\n--b%d--\r\n",
		n, n, n, n, n, n, n)
}

func mustRun(t testing.TB, s *session, c runner) {
	t.Helper()
	_, err := c.run(context.Background(), s)
	for err == nil && s.left != nil {
		e := s.left
		s.left = nil
		if err = e.work(context.Background()); err == nil {
			_, err = e.tell(context.Background())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.out.Flush(); err != nil {
		t.Fatal(err)
	}
}

// parseCommand is the runner of a command line.
func parseCommand(t testing.TB, line string) runner {
	t.Helper()
	tab := newTable(extensions(&Limits{}))
	p := &parser{lineDecoder(line), tab}
	var tag, name string
	if !p.Tag(&tag) || !p.SP() || !p.name(&name) {
		t.Fatal(p.Err())
	}
	c := tab.commands[name]
	if c == nil {
		t.Fatalf("no command %q", name)
	}
	r, err := c.parse(p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var benchFetches = []string{
	"FLAGS", "(UID FLAGS)", "(INTERNALDATE RFC822.SIZE)", "ENVELOPE", "BODYSTRUCTURE",
	"BODY.PEEK[HEADER.FIELDS (DATE FROM SUBJECT)]", "BODY.PEEK[HEADER]", "BODY.PEEK[]",
}

func BenchmarkFetch(b *testing.B) {
	s, conn := loggedInSession(b, 10_000)
	for _, items := range benchFetches {
		b.Run(strings.Trim(items, "()"), func(b *testing.B) {
			c := parseCommand(b, "a FETCH 1:* "+items+"\r\n")
			mustRun(b, s, c)
			conn.Taken = 0
			mustRun(b, s, c)
			b.SetBytes(conn.Taken)
			b.ReportAllocs()
			for b.Loop() {
				mustRun(b, s, c)
			}
		})
	}
}

func BenchmarkSearch(b *testing.B) {
	s, _ := loggedInSession(b, 10_000)
	for _, keys := range []string{"UNSEEN", "SINCE 1-Jun-1995", "SUBJECT 4711", "FROM gray4711", "BODY nowhere"} {
		b.Run(keys, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				mustRun(b, s, parseCommand(b, "a SEARCH "+keys+"\r\n"))
			}
		})
	}
}

func BenchmarkStore(b *testing.B) {
	s, _ := loggedInSession(b, 10_000)
	add, remove := parseCommand(b, "a STORE 1:* +FLAGS.SILENT (\\Seen)\r\n"), parseCommand(b, "a STORE 1:* -FLAGS.SILENT (\\Seen)\r\n")
	b.ReportAllocs()
	for b.Loop() {
		mustRun(b, s, add)
		mustRun(b, s, remove)
	}
}

// Budgets of allocations of FETCH over 10,000 messages: none for a message that the view has all of, one in the mailbox's facts.
func TestFetchAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s, _ := sessionOf(t, testOptionsOf(t, unindexed())) // the indexer would allocate beside it
	fill(t, s.account, 10_000)
	mustRun(t, s, &selectCommand{name: "INBOX"})
	for items, budget := range map[string]float64{
		"FLAGS": 20, "(UID FLAGS INTERNALDATE RFC822.SIZE)": 20,
		"ENVELOPE": 11_000, "BODYSTRUCTURE": 11_000, "BODY.PEEK[HEADER.FIELDS (DATE FROM SUBJECT)]": 11_000,
	} {
		c := parseCommand(t, "a FETCH 1:* "+items+"\r\n")
		if got := testing.AllocsPerRun(3, func() { mustRun(t, s, c) }); got > budget {
			t.Errorf("FETCH 1:* %s: %.0f allocations, at most %.0f", items, got, budget)
		}
	}
}

func lineDecoder(line string) *wire.Decoder {
	d := wire.NewDecoder(strings.NewReader(line))
	d.Limits = lateLimits(1 << 20)
	d.Continue = func() error { return nil }
	if err := d.Next(); err != nil {
		panic(err)
	}
	return d
}

func BenchmarkSort(b *testing.B) {
	s, _ := loggedInSession(b, 10_000)
	for _, command := range []string{"SORT (DATE) UTF-8 ALL", "SORT (SUBJECT) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL", "THREAD ORDEREDSUBJECT UTF-8 ALL"} {
		b.Run(command, func(b *testing.B) {
			c := parseCommand(b, "a "+command+"\r\n")
			for b.Loop() {
				mustRun(b, s, c)
			}
		})
	}
}
