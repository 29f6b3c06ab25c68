package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"posthouse/crypto/password"
	"posthouse/internal/testkit"
)

// What a server is promised to bear: docs/PERFORMANCE.md.
const (
	manyAccounts      = 1000
	manyAccountsRate  = 3000 // messages of 4 KiB a second, from the queue into the mailboxes
	manyMessages      = 1_000_000
	manySelected      = 200 * time.Millisecond // the first SELECT after a start
	manyMessageMemory = 200 << 20              // octets, of the process
	idleSessions      = 5000                   // each of an account of its own
	idleSessionMemory = 30 << 10               // octets, of each
	idleSettling      = time.Minute            // until their databases are closed, and the collector has been there
	idleFiles         = 20                     // more than so many are not open then beside the sessions' connections
)

// TestScalePerformance is what many accounts, many messages and many sessions cost.
func TestScalePerformance(t *testing.T) {
	if os.Getenv(performanceRounds) == "" {
		t.Skipf("for a quiet machine: make performance, or %s=1", performanceRounds)
	}
	t.Run("accounts", manyAccountsAtOnce)
	t.Run("messages", millionMessages)
	t.Run("idle", sessionsThatWait)
}

// accountsTable is the configuration of users whose password is "secret". It is cheap to check: logging in is not what is measured.
func accountsTable(t *testing.T, n int) string {
	t.Helper()
	hash, err := password.NewHasher(password.Cost{Memory: 64, Time: 1}).Hash(t.Context(), "secret")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "[[account]]\nlogin = \"user%d@house.test\"\npassword_hash = %q\n", i, hash)
	}
	return b.String()
}

// manyAccountsAtOnce hands messages to LMTP for one account after the other. They go into the mailboxes as they come, and then from the queue
// alone: a route has parked them, and they are replayed.
func manyAccountsAtOnce(t *testing.T) {
	lmtp, web := testkit.FreePort(t), testkit.FreePort(t)
	const parking = "[[route]]\nmatch = \"house.test\"\nvia = \"dead\"\n"
	s := newServer(t, fmt.Sprintf("[[listener]]\nprotocol = \"lmtp\"\naddress = %q\n[[listener]]\nprotocol = \"http\"\naddress = %q\n", lmtp, web)+
		accountsTable(t, manyAccounts)+parking)
	parks, err := os.ReadFile(s.config())
	if err != nil {
		t.Fatal(err)
	}
	delivers := bytes.TrimSuffix(parks, []byte(parking))
	s.quiet = true
	start := func(config []byte) {
		if err := os.WriteFile(s.config(), config, 0o600); err != nil {
			t.Fatal(err)
		}
		s.start()
		testkit.WaitPort(t, lmtp)
	}
	stop := func() {
		if err := s.process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-s.process.Done()
	}
	load := rush{sessions: 20, size: 4 << 10, recipients: 1, wait: 5 * measureTime, accounts: manyAccounts}
	start(delivers)
	load.run(t, lmtp) // it makes the mailboxes
	drained(t, web)
	begin := time.Now()
	sent := load.run(t, lmtp).messages
	drained(t, web)
	rate := float64(sent) / time.Since(begin).Seconds()
	stop()
	start(parks)
	load.wait = 2 * measureTime
	queued := load.run(t, lmtp).messages
	stop()
	start(delivers)
	begin = time.Now()
	s.run("dead", "replay", "--all")
	drained(t, web)
	replayed := float64(queued) / time.Since(begin).Seconds()
	t.Logf("%d accounts: %.0f messages a second from LMTP clients beside it, %.0f of %d that were queued; %d MiB",
		manyAccounts, rate, replayed, queued, s.anonymous()>>20)
	if replayed < manyAccountsRate {
		t.Errorf("promised are %d a second", manyAccountsRate)
	}
	r, err := dialReader(s.imap, "user0@house.test", "secret")
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if got := (&mailServer{}).count(t, r); got < (sent+queued)/manyAccounts {
		t.Errorf("user0 has %d messages", got)
	}
}

// drained waits until the queue is empty. To ask it takes time, so it is not asked often.
func drained(t *testing.T, web string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); depth(t, web) > 0; time.Sleep(250 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the queue is not empty after a minute")
		}
	}
}

var recipientsLine = regexp.MustCompile(`(?m)^posthouse_queue_recipients\{.*\} ([0-9.e+]+)$`)

// depth is how many recipients are in the queue.
func depth(t *testing.T, web string) (n float64) {
	t.Helper()
	body := metricsOf(t, web)
	lines := recipientsLine.FindAllStringSubmatch(body, -1)
	if lines == nil {
		t.Fatalf("no depth in\n%s", body)
	}
	for _, l := range lines {
		depth, err := strconv.ParseFloat(l[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		n += depth
	}
	return n
}

// millionMessages selects a mailbox of so many, which are copies of a thousand. Each has flags and numbers of its own.
func millionMessages(t *testing.T) {
	s := posthouseMail(t)
	s.fill(t, 1000)
	r := s.open(t)
	s.must(t, r, "SELECT INBOX")
	for have := 1000; have < manyMessages; {
		more := min(have, manyMessages-have)
		s.must(t, r, fmt.Sprintf("COPY 1:%d INBOX", more))
		have += more
	}
	r.close()
	s.restart()
	r = s.open(t)
	defer r.close()
	first := s.must(t, r, "SELECT INBOX")
	if n := s.count(t, r); n != manyMessages {
		t.Fatalf("%d messages", n)
	}
	flags := s.must(t, r, "FETCH 1:* FLAGS")
	unseen := s.must(t, r, "SEARCH UNSEEN")
	again := s.must(t, r, "SELECT INBOX")
	memory := s.memory()
	t.Logf("%d messages: SELECT %s, again %s, FETCH 1:* FLAGS %s, SEARCH UNSEEN %s, %d MiB", manyMessages, first, again, flags, unseen, memory>>20)
	if first > manySelected || memory > manyMessageMemory {
		t.Errorf("promised are %s and %d MiB", manySelected, manyMessageMemory>>20)
	}
}

// sessionsThatWait wait for mail, each in an account of its own: that costs what a session says it knows, and no open database.
func sessionsThatWait(t *testing.T) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	n := int(min(idleSessions, (files.Max-1000)/2)) // this process has as many connections as the server
	s := newServer(t, accountsTable(t, n))
	s.quiet = true
	s.start()
	before, opened := s.anonymous(), s.openFiles()
	readers := make([]*reader, n)
	defer func() {
		for _, r := range readers {
			if r != nil {
				r.close()
			}
		}
	}()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				r, err := dialReaderFrom(net.IPv4(127, 1, byte(i>>6), byte(i)), s.imap, fmt.Sprintf("user%d@house.test", i), "secret")
				if err == nil {
					readers[i] = r
					if _, err = r.do("SELECT INBOX"); err == nil {
						err = r.idle()
					}
				}
				if err != nil {
					t.Errorf("session %d: %v", i, err)
					return
				}
				r.in = nil // of our own memory
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	each := func() int64 { return (s.anonymous() - before) / int64(n) }
	begin, at := time.Now(), each()
	defer func() {
		t.Logf("%d idle sessions: %d octets each at first, %d after %s; %d MiB before", n, at, each(), time.Since(begin).Round(time.Second), before>>20)
	}()
	testkit.Within(t, idleSettling, "their databases are closed", func() bool { return s.openFiles() < opened+n+idleFiles })
	testkit.Within(t, idleSettling, "idle sessions need little", func() bool { return each() <= idleSessionMemory })
}

// openFiles is how many files and connections the process has open.
func (s *server) openFiles() int {
	s.t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.process.Pid()))
	if err != nil {
		s.t.Fatal(err)
	}
	return len(open)
}

// anonymous is the process's memory that is not of files, in octets.
func (s *server) anonymous() int64 {
	s.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.Pid()))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "RssAnon: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	s.t.Skip("the kernel does not say")
	return 0
}
