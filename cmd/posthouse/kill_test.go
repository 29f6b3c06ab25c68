package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-smtp"

	"posthouse/internal/testkit"
)

// load is clients that hand letters to a server for one account, and remember which were answered 250.
type load struct {
	server *server
	who    string
	wg     sync.WaitGroup
	end    chan struct{}
	once   sync.Once

	mu       sync.Mutex
	accepted map[string]bool // subjects
	tried    int
	cuts     int
}

// powerCut says that the power is being cut. A process goes on for a moment after that, where a real one would not: a letter that is
// under way at this moment proves nothing, whatever it is answered.
func (l *load) powerCut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cuts++
}

func (l *load) cutsSoFar() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cuts
}

func newLoad(s *server, who string, clients int) *load {
	l := &load{server: s, who: who, end: make(chan struct{}), accepted: map[string]bool{}}
	for i := range clients {
		l.wg.Go(func() { l.client(i) })
	}
	s.t.Cleanup(l.stop)
	return l
}

func (l *load) ended() bool {
	select {
	case <-l.end:
		return true
	default:
		return false
	}
}

func (l *load) client(i int) {
	for n := 0; !l.ended(); {
		c, err := smtp.Dial(l.server.smtp)
		if err != nil {
			select { // the server is down for a moment
			case <-time.After(20 * time.Millisecond):
			case <-l.end:
			}
			continue
		}
		for err == nil && !l.ended() {
			subject := fmt.Sprintf("load-%d-%d", i, n)
			n++
			cuts := l.cutsSoFar()
			err = c.SendMail("load@sender.test", []string{l.who}, bytes.NewReader([]byte(letter("load@sender.test", l.who, subject, body(subject)))))
			l.mu.Lock()
			l.tried++
			if err == nil && l.cuts == cuts {
				l.accepted[subject] = true
			}
			l.mu.Unlock()
		}
		c.Close()
	}
}

// body is what a letter with the subject says: of different sizes, some of them larger than what fits into a row of the spool.
func body(subject string) string {
	r := rand.New(rand.NewPCG(uint64(len(subject)), uint64(subject[len(subject)-1])))
	lines := 1 + r.IntN(50)
	if r.IntN(20) == 0 {
		lines = 6000
	}
	var b bytes.Buffer
	for range lines {
		b.WriteString(subject + " and some more words that fill the line\r\n")
	}
	return b.String()
}

func (l *load) stop() {
	l.once.Do(func() { close(l.end) })
	l.wg.Wait()
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.accepted)
}

func (l *load) untilAccepted(n int) {
	l.server.t.Helper()
	testkit.Until(l.server.t, fmt.Sprintf("%d letters accepted", n), func() bool { return l.count() >= n })
}

// audit checks that every letter that was answered is in the mailbox, once and whole, and none twice.
func (l *load) audit() {
	t := l.server.t
	t.Helper()
	testkit.Until(t, "an empty queue", func() bool { return l.server.run("queue", "list") == "" })
	c, err := l.server.login(l.who)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	text := &imap.FetchItemBodySection{Specifier: imap.PartSpecifierText, Peek: true}
	fetch := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{Envelope: true, BodySection: []*imap.FetchItemBodySection{text}})
	seen, twice, damaged := map[string]bool{}, 0, 0
	for m := fetch.Next(); m != nil; m = fetch.Next() {
		b, err := m.Collect()
		if err != nil {
			t.Fatal(err)
		}
		subject := b.Envelope.Subject
		if seen[subject] {
			twice++
		}
		seen[subject] = true
		if string(b.FindBodySection(text)) != body(subject) {
			damaged++
		}
	}
	if err := fetch.Close(); err != nil {
		t.Fatal(err)
	}
	missing := 0
	for subject := range l.accepted {
		if !seen[subject] {
			missing++
		}
	}
	t.Logf("%d letters tried, %d accepted, %d in the mailbox: %d missing, %d twice, %d damaged", l.tried, len(l.accepted), len(seen), missing, twice, damaged)
	if missing+twice+damaged > 0 {
		t.Error("what was answered is not what is there")
	}
}

// keeper is a client that appends messages and flags them, and remembers what was answered OK.
type keeper struct {
	mu      sync.Mutex
	flagged map[imap.UID]string // UID → subject
	stored  map[imap.UID]string
}

func (k *keeper) run(c *imapclient.Client, round int) {
	for n := 0; ; n++ {
		subject := fmt.Sprintf("kept-%d-%d", round, n)
		text := letter("a@house.test", "a@house.test", subject, subject+"\r\n")
		add := c.Append("Archive", int64(len(text)), nil)
		if _, err := add.Write([]byte(text)); err != nil {
			return
		}
		if err := add.Close(); err != nil {
			return
		}
		data, err := add.Wait()
		if err != nil {
			return
		}
		k.mu.Lock()
		k.stored[data.UID] = subject
		k.mu.Unlock()
		if _, err := c.Select("Archive", nil).Wait(); err != nil {
			return
		}
		store := imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagFlagged, "$kept"}}
		if err := c.Store(imap.UIDSetNum(data.UID), &store, nil).Close(); err != nil {
			return
		}
		k.mu.Lock()
		k.flagged[data.UID] = subject
		k.mu.Unlock()
	}
}

func (k *keeper) audit(t *testing.T, c *imapclient.Client) {
	t.Helper()
	if _, err := c.Select("Archive", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	messages, err := c.Fetch(imap.UIDSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{UID: true, Flags: true, Envelope: true}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	found := map[imap.UID]*imapclient.FetchMessageBuffer{}
	for _, m := range messages {
		found[m.UID] = m
	}
	for uid, subject := range k.stored {
		if m := found[uid]; m == nil || m.Envelope.Subject != subject {
			t.Errorf("UID %d, answered OK for %s, is %+v", uid, subject, m)
		}
	}
	for uid := range k.flagged {
		if m := found[uid]; m != nil && len(m.Flags) != 2 {
			t.Errorf("UID %d has flags %v; adding two was answered OK", uid, m.Flags)
		}
	}
	t.Logf("%d appended, %d flagged", len(k.stored), len(k.flagged))
}

// The process is killed at any moment: what was answered 250 or OK is there.
func TestKill(t *testing.T) {
	s := newServer(t, "")
	s.start()
	s.addAccount("alice@house.test")
	k := &keeper{flagged: map[imap.UID]string{}, stored: map[imap.UID]string{}}
	l := newLoad(s, "alice@house.test", 8)
	for round := range testkit.CrashRounds(5) {
		c, err := s.login("alice@house.test")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { k.run(c, round) })
		before := l.count()
		l.untilAccepted(before + 20 + rand.IntN(200))
		s.process.Kill()
		c.Close()
		wg.Wait()
		s.start()
	}
	l.stop()
	l.audit()
	c, err := s.login("alice@house.test")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	k.audit(t, c)
}
