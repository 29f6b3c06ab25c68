package main

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"posthouse/internal/testkit"
)

// performanceMessages is how many messages the mailbox has that is measured; unset: 10,000.
const performanceMessages = "POSTHOUSE_PERFORMANCE_MESSAGES"

// mailServer is one that is measured: with an account whose INBOX is filled.
type mailServer struct {
	name        string
	addr, lmtp  string
	user        string
	secret      string
	restart     func()
	memory      func() int64 // octets
	filled      int
	first, warm map[string]float64 // milliseconds, or a rate where the name says so; 0: not measured
}

// readCase is a command that is timed: the first time after the server was started, and then again and again. The promises: at least so
// many times as fast as the best of the others; 0: none.
var readCases = []struct {
	name, command string
	warm, first   float64
}{
	{"SELECT", "SELECT INBOX", 1, 1},
	{"FETCH FLAGS", "FETCH 1:* FLAGS", 2, 0},
	{"FETCH INTERNALDATE RFC822.SIZE", "FETCH 1:* (INTERNALDATE RFC822.SIZE)", 4, 0},
	{"FETCH ENVELOPE", "FETCH 1:* ENVELOPE", 1.5, 4},
	{"FETCH BODYSTRUCTURE", "FETCH 1:* BODYSTRUCTURE", 1.5, 2},
	{"FETCH BODY.PEEK[HEADER.FIELDS]", "FETCH 1:* BODY.PEEK[HEADER.FIELDS (DATE FROM TO CC SUBJECT MESSAGE-ID REFERENCES)]", 2, 0},
	{"FETCH BODY.PEEK[HEADER]", "FETCH 1:* BODY.PEEK[HEADER]", 2, 0},
	{"FETCH BODY.PEEK[]", "FETCH 1:* BODY.PEEK[]", 1.2, 0},
	{"SEARCH UNSEEN", "SEARCH UNSEEN", 2, 0},
	{"SEARCH SINCE", "SEARCH SINCE 1-Jun-2024", 5, 0},
	{"SEARCH SUBJECT", "SEARCH SUBJECT " + rareSubject, 3, 0},
	{"SEARCH FROM", "SEARCH FROM host17.sender", 3, 0},
	{"SEARCH TEXT, rare", "SEARCH TEXT " + rareWord, 10, 0},
	{"SEARCH BODY, rare", "SEARCH BODY " + rareWord, 10, 0},
	{"SORT DATE", "SORT (DATE) UTF-8 ALL", 1, 0},
	{"SORT SUBJECT", "SORT (SUBJECT) UTF-8 ALL", 1, 0},
	{"THREAD REFERENCES", "THREAD REFERENCES UTF-8 ALL", 2, 0},
}

// writeCases are commands that change a mailbox, each once a round, on a copy of it.
var writeCases = []struct {
	name    string
	prepare []string
	command string
	warm    float64
}{
	{"COPY", []string{"CREATE one", "CREATE two", "SELECT INBOX"}, "COPY 1:%d one", 5},
	{"STORE +FLAGS.SILENT", []string{"SELECT one"}, "STORE 1:%d +FLAGS.SILENT (\\Flagged)", 1},
	{"MOVE", nil, "MOVE 1:%d two", 5},
	{"EXPUNGE", []string{"SELECT two", "STORE 1:* +FLAGS.SILENT (\\Deleted)"}, "EXPUNGE", 3},
	{"", []string{"SELECT INBOX", "DELETE one", "DELETE two"}, "", 0},
}

// rateCases are measured by functions; more is better.
var rateCases = []struct {
	name string
	run  func(t *testing.T, s *mailServer) float64
	warm float64
}{
	{"APPEND a second, 1 session", func(t *testing.T, s *mailServer) float64 { return s.appends(t, 1) }, 2},
	{"APPEND a second, 8 sessions", func(t *testing.T, s *mailServer) float64 { return s.appends(t, 8) }, 3},
	{"LMTP a second into one mailbox, until visible", func(t *testing.T, s *mailServer) float64 { return s.deliveries(t) }, 5},
	{"LOGIN a second, 8 clients", func(t *testing.T, s *mailServer) float64 { return s.logins(t) }, 1},
}

// Posthouse serves a person's mailbox faster than Dovecot and Cyrus, one client at a time, in turn in one run.
func TestMailboxPerformance(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv(performanceRounds))
	if err != nil || rounds < 1 {
		t.Skipf("a comparison for a quiet machine: make performance, or %s=rounds", performanceRounds)
	}
	n, err := strconv.Atoi(cmp.Or(os.Getenv(performanceMessages), "10000"))
	if err != nil {
		t.Fatal(err)
	}
	all := []*mailServer{posthouseMail(t), dovecotMail(t), cyrusMail(t)}
	for _, s := range all {
		s.first, s.warm = map[string]float64{}, map[string]float64{}
		s.fill(t, n)
	}
	for _, s := range all {
		s.restart()
	}
	all[0].indexed(t)
	for _, s := range all {
		s.read(t, rounds)
		s.write(t, rounds)
		s.warm["EXISTS in another's IDLE, median"], s.warm["EXISTS in another's IDLE, p99"] = s.changes(t)
	}
	rates(t, all, rounds)
	report(t, all)
}

// rates times what is counted by the second, one server after the other in each round.
func rates(t *testing.T, all []*mailServer, rounds int) {
	t.Helper()
	for _, c := range rateCases {
		found := map[*mailServer][]float64{}
		for range rounds {
			for _, s := range all {
				found[s] = append(found[s], c.run(t, s))
			}
		}
		for s, each := range found {
			s.warm[c.name] = median(each)
		}
	}
}

// report prints the table of docs/PERFORMANCE.md, and holds the promises.
func report(t *testing.T, all []*mailServer) {
	ours, peers := all[0], all[1:]
	table := []string{"", "| operation | Posthouse | Dovecot | Cyrus | times the best peer | promised |", "|---|---|---|---|---|---|"}
	row := func(name string, of func(*mailServer) float64, promised float64, less bool) {
		values := []string{strconv.FormatFloat(of(ours), 'f', 2, 64)}
		best := 0.0
		for _, p := range peers {
			v := of(p)
			values = append(values, strconv.FormatFloat(v, 'f', 2, 64))
			if v > 0 && (best == 0 || (v < best) == less) {
				best = v
			}
		}
		ratio := of(ours) / best
		if less {
			ratio = best / of(ours)
		}
		table = append(table, fmt.Sprintf("| %s | %s | %.1f | %s |", name, strings.Join(values, " | "), ratio, strings.TrimSuffix(fmt.Sprintf("%.1f", promised), ".0")))
		if ratio < promised {
			t.Errorf("%s: %.2f times the best of the others, promised are %.1f", name, ratio, promised)
		}
	}
	for _, c := range rateCases {
		row(c.name, func(s *mailServer) float64 { return s.warm[c.name] }, c.warm, false)
	}
	for _, c := range readCases {
		row(c.name, func(s *mailServer) float64 { return s.warm[c.name] }, c.warm, true)
		row(c.name+", first", func(s *mailServer) float64 { return s.first[c.name] }, c.first, true)
	}
	for _, c := range writeCases {
		if c.name != "" {
			row(c.name, func(s *mailServer) float64 { return s.warm[c.name] }, c.warm, true)
		}
	}
	for _, name := range []string{"EXISTS in another's IDLE, median", "EXISTS in another's IDLE, p99"} {
		row(name, func(s *mailServer) float64 { return s.warm[name] }, 0, true)
	}
	t.Log(strings.Join(table, "\n"))
}

func (s *mailServer) open(t *testing.T) *reader {
	t.Helper()
	r, err := dialReader(s.addr, s.user, s.secret)
	if err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	return r
}

// must runs a command that is not measured.
func (s *mailServer) must(t *testing.T, r *reader, command string) time.Duration {
	t.Helper()
	took, err := r.do("%s", command)
	if err != nil {
		t.Fatalf("%s: %s: %v", s.name, command, err)
	}
	return took
}

// fill files the messages in INBOX by 8 sessions, in their order as far as it goes.
func (s *mailServer) fill(t *testing.T, n int) {
	t.Helper()
	var next atomic.Int64
	s.parallel(t, 8, func(r *reader) error {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			if err := r.append(`INBOX "`+sentAt(i).Format("02-Jan-2006 15:04:05 -0700")+`"`, realLetter(i)); err != nil {
				return err
			}
		}
		return nil
	})
	s.filled = n
}

// parallel runs work in so many sessions.
func (s *mailServer) parallel(t *testing.T, sessions int, work func(*reader) error) {
	t.Helper()
	var wg sync.WaitGroup
	for range sessions {
		r := s.open(t)
		wg.Go(func() {
			defer r.close()
			if err := work(r); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
		})
	}
	wg.Wait()
}

// indexed waits until Posthouse's index, which is made off the way of deliveries, has all messages: then a search opens none.
func (s *mailServer) indexed(t *testing.T) {
	t.Helper()
	r := s.open(t)
	defer r.close()
	s.must(t, r, "EXAMINE INBOX")
	const opening = 50 * time.Microsecond // a message, at least
	testkit.Within(t, 5*time.Minute, "the index is made", func() bool {
		return s.must(t, r, "SEARCH TEXT absentword") < opening/2*time.Duration(s.filled)
	})
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// read times the commands that read.
func (s *mailServer) read(t *testing.T, rounds int) {
	r := s.open(t)
	defer r.close()
	for _, c := range readCases {
		took, err := r.do("%s", c.command)
		if err != nil {
			t.Logf("%s: %s: %v", s.name, c.command, err) // SORT and the like need not be there
			continue
		}
		s.first[c.name] = milliseconds(took)
		var again []float64
		for range max(2*rounds, 3) {
			if strings.HasPrefix(c.command, "SELECT") {
				s.must(t, r, "UNSELECT")
			}
			again = append(again, milliseconds(s.must(t, r, c.command)))
		}
		s.warm[c.name] = median(again)
	}
}

// write times the commands that write.
func (s *mailServer) write(t *testing.T, rounds int) {
	r := s.open(t)
	defer r.close()
	took := map[string][]float64{}
	for range max(3*rounds, 3) { // a checkpoint falls into one or the other
		for _, c := range writeCases {
			for _, command := range c.prepare {
				s.must(t, r, command)
			}
			if c.name != "" {
				command, _, _ := strings.Cut(fmt.Sprintf(c.command, s.filled), "%!")
				took[c.name] = append(took[c.name], milliseconds(s.must(t, r, command)))
			}
		}
	}
	for name, all := range took {
		s.warm[name] = median(all)
	}
}

// appends files messages in a mailbox of their own for a while.
func (s *mailServer) appends(t *testing.T, sessions int) float64 {
	r := s.open(t)
	defer r.close()
	s.must(t, r, "CREATE appended")
	letters := make([][]byte, 200)
	for i := range letters {
		letters[i] = realLetter(i)
	}
	var count atomic.Int64
	begin := time.Now()
	s.parallel(t, sessions, func(r *reader) error {
		for time.Since(begin) < measureTime {
			if err := r.append("appended", letters[count.Add(1)%int64(len(letters))]); err != nil {
				return err
			}
		}
		return nil
	})
	rate := float64(count.Load()) / time.Since(begin).Seconds()
	s.must(t, r, "DELETE appended")
	return rate
}

// logins logs in again and again. Connections are reset: else their ports are in use for a minute, and after some ten thousand there are none.
func (s *mailServer) logins(t *testing.T) float64 {
	var count atomic.Int64
	begin := time.Now()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for time.Since(begin) < measureTime {
				r, err := dialReader(s.addr, s.user, s.secret)
				if err == nil {
					err = r.conn.(*net.TCPConn).SetLinger(0)
				}
				if err != nil {
					t.Errorf("%s: %v", s.name, err)
					return
				}
				r.close()
				count.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(count.Load()) / time.Since(begin).Seconds()
}

// changes is how long after an APPEND was answered another session hears of it: median and 99th percentile, in milliseconds. Who hears
// before the answer waited no time.
func (s *mailServer) changes(t *testing.T) (mid, high float64) {
	writer, idler := s.open(t), s.open(t)
	defer writer.close()
	defer idler.close()
	s.must(t, writer, "CREATE watched")
	s.must(t, idler, "SELECT watched")
	if err := idler.idle(); err != nil {
		t.Fatal(err)
	}
	var took []float64
	for range 200 {
		heard := make(chan time.Time, 1)
		go func() {
			if err := idler.hear(" EXISTS"); err != nil {
				t.Errorf("%s: %v", s.name, err)
			}
			heard <- time.Now()
		}()
		if err := writer.append("watched", []byte("Subject: x\r\n\r\nx\r\n")); err != nil {
			t.Fatal(err)
		}
		answered := time.Now()
		took = append(took, max(0, milliseconds((<-heard).Sub(answered))))
	}
	s.must(t, writer, "DELETE watched")
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*99/100]
}

// deliveries hands messages of 4 KiB to LMTP, 8 clients, and waits until all are in the mailbox.
func (s *mailServer) deliveries(t *testing.T) float64 {
	r := s.open(t)
	defer r.close()
	before := s.count(t, r)
	begin := time.Now()
	load := rush{sessions: 8, size: 4 << 10, recipients: 1, wait: measureTime, lmtp: s.user}
	sent := load.run(t, s.lmtp).messages
	testkit.Within(t, time.Minute, s.name+" shows what it took", func() bool { return s.count(t, r)-before >= sent })
	return float64(sent) / time.Since(begin).Seconds()
}

// count is the number of messages in INBOX.
func (s *mailServer) count(t *testing.T, r *reader) int {
	t.Helper()
	if _, err := fmt.Fprintf(r.conn, "c STATUS INBOX (MESSAGES)\r\n"); err != nil {
		t.Fatal(err)
	}
	n := -1
	for {
		l, err := r.line()
		if err != nil {
			t.Fatal(err)
		}
		if _, after, ok := strings.Cut(string(l), "(MESSAGES "); ok {
			if n, err = strconv.Atoi(after[:strings.IndexByte(after, ')')]); err != nil {
				t.Fatal(err)
			}
		}
		if strings.HasPrefix(string(l), "c ") {
			return n
		}
	}
}

func posthouseMail(t *testing.T) *mailServer {
	lmtp := testkit.FreePort(t)
	s := newServer(t, fmt.Sprintf("[[listener]]\nprotocol = \"lmtp\"\naddress = %q\n", lmtp))
	s.quiet = true
	s.start()
	testkit.WaitPort(t, lmtp)
	s.addAccount("alice@house.test")
	return &mailServer{name: "Posthouse", addr: s.imap, lmtp: lmtp, user: "alice@house.test", secret: "secret", memory: s.anonymous, restart: func() {
		s.stop()
		s.start()
		testkit.WaitPort(t, lmtp)
	}}
}

func dovecotMail(t *testing.T) *mailServer {
	lmtp := testkit.FreePort(t)
	_, port, _ := strings.Cut(lmtp, ":")
	addr, _ := testkit.Dovecot(t, strings.ReplaceAll(dovecotMailConfig, "LMTP", port))
	testkit.WaitPort(t, lmtp)
	return &mailServer{name: "Dovecot", addr: addr, lmtp: lmtp, user: "alice@house.test", secret: "secret", restart: func() {}}
}

// dovecotMailConfig is Dovecot as Debian has it with its fastest storage, and no limits of clients.
const dovecotMailConfig = `
base_dir = DIR/run
state_dir = DIR/state
log_path = DIR/log
info_log_path = DIR/info
listen = 127.0.0.1
protocols = imap lmtp
ssl = no
disable_plaintext_auth = no
mail_location = sdbox:DIR/mail/%u
mail_max_userip_connections = 0
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
default_client_limit = 20000
default_process_limit = 6000
default_vsz_limit = 1G
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=mail gid=mail home=DIR/home/%u
}
namespace inbox {
  inbox = yes
}
service imap-login {
  inet_listener imap {
    port = PORT
  }
  inet_listener imaps {
    port = 0
  }
}
service lmtp {
  inet_listener lmtp {
    port = LMTP
  }
}
`

func cyrusMail(t *testing.T) *mailServer {
	addr, lmtp, _ := testkit.Cyrus(t, "secret", "alice")
	return &mailServer{name: "Cyrus", addr: addr, lmtp: lmtp, user: "alice", secret: "secret", restart: func() {}}
}
