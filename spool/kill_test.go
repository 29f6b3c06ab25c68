package spool

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"posthouse/internal/testkit"
	"posthouse/mail"
	"posthouse/mail/mailtest"
)

const killDir = "POSTHOUSE_SPOOL_KILL_DIR" // set: this process is the one that is killed, with its spool there

// TestKilledAnywhere kills a process with -9 while sessions commit and workers settle, again and again, and audits after each time:
// what was acknowledged is there, whole, and what was settled is not.
func TestKilledAnywhere(t *testing.T) {
	if dir := os.Getenv(killDir); dir != "" {
		victim(t, dir)
		return
	}
	t.Parallel()
	rounds := testkit.CrashRounds(3)
	b := books{dir: t.TempDir(), state: make(map[mail.ID]string), seed: make(map[mail.ID]uint64)}
	for range rounds {
		b.round(t)
		b.audit(t)
	}
	t.Logf("%d rounds, %d acknowledged, none lost; %d were being settled at a kill and are sent again", rounds, b.acknowledged, b.again)
	if b.again > rounds {
		t.Errorf("%d messages are sent again: the victim settles one at a time, and was killed %d times", b.again, rounds)
	}
}

// selfDescribing is the body of a seed: one in eight is large.
func selfDescribing(seed uint64) []byte {
	size := 100 + seed%8000
	if seed%8 == 0 {
		size += MaxInlineBody
	}
	return bytes.Repeat(fmt.Appendf(nil, "%016x\r\n", seed), int(size/18)+1)
}

// victim commits and settles until it is killed, and says on standard output what it knows, a line at a time.
func victim(t *testing.T, dir string) {
	s, err := OpenSQLite(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(os.Stdout, "\n= "+format+"\n", args...) // one write each
	}
	for range 4 {
		go func() {
			for {
				seed := rand.Uint64()
				id, err := victimCommit(s, seed, func(id mail.ID) { say("begun %v %d", id, seed) })
				if err != nil {
					t.Error(err)
				}
				say("committed %v %d", id, seed)
			}
		}()
	}
	for {
		jobs, err := s.Take(context.Background(), Want{Limit: 8, Lease: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs {
			say("settling %v 0", j.Lease.ID)
			if err := s.Settle(context.Background(), j.Lease, []Outcome{{N: 0, Result: Delivered}}); err != nil {
				t.Error(err)
			}
			say("settled %v 0", j.Lease.ID)
		}
	}
}

func victimCommit(s *SQLite, seed uint64, begun func(mail.ID)) (mail.ID, error) {
	to := mailtest.Address(fmt.Sprintf("bob@d%d.test", seed%100)) // more lanes than are remembered
	d, err := s.Create(context.Background(), mail.Envelope{To: []mail.Recipient{{Address: to}}})
	if err != nil {
		return 0, err
	}
	begun(d.Envelope().ID)
	if _, err := d.Write(selfDescribing(seed)); err != nil {
		return 0, err
	}
	return d.Commit(context.Background())
}

// books are what the victims said, over all rounds.
type books struct {
	dir          string
	state        map[mail.ID]string // the last that was said of it
	seed         map[mail.ID]uint64
	acknowledged int
	again        int // delivered, as far as the victim knew, and not settled when it was killed
}

// round runs a victim and kills it after some of what it says.
func (b *books) round(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledAnywhere$")
	cmd.Env = append(os.Environ(), killDir+"="+b.dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	most := 1500
	if testing.Short() {
		most = 300
	}
	for left := 200 + rand.IntN(most); lines.Scan(); {
		if b.note(t, lines.Text()) {
			left--
		}
		if left == 0 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("it was to be killed, and ended with %v", err)
	}
}

// note reads one line. The last one may be cut short by the kill: then it was not said.
func (b *books) note(t *testing.T, line string) bool {
	var what, id string
	var seed uint64
	if n, err := fmt.Sscanf(line, "= %s %s %d", &what, &id, &seed); n != 3 || err != nil {
		return false
	}
	parsed, err := mail.ParseID(id)
	if err != nil {
		t.Fatal(err)
	}
	if what == "begun" {
		if _, given := b.seed[parsed]; given {
			t.Errorf("%v was given twice", parsed)
		}
		b.seed[parsed] = seed
	}
	if what == "committed" {
		b.acknowledged++
		if b.state[parsed] != "begun" { // it may be taken before the session says so
			return true
		}
	}
	b.state[parsed] = what
	return true
}

func (b *books) audit(t *testing.T) {
	for _, trouble := range verify(t, b.dir) {
		t.Error(trouble)
	}
	s := open(t, Options{Dir: b.dir})
	defer s.Close()
	there := make(map[mail.ID]bool)
	for e, err := range s.List(t.Context(), Filter{States: []State{Ready, Leased, Held, Dead, Done}}) {
		if err != nil {
			t.Fatal(err)
		}
		there[e.ID] = true
		if got := read(t, s, e.ID); !bytes.Equal(got, selfDescribing(b.seed[e.ID])) || e.Recipients[0].State != Ready {
			t.Errorf("%v (%s): damaged: %d octets, %+v", e.ID, b.state[e.ID], len(got), e.Recipients[0])
		}
	}
	for id, state := range b.state {
		if state == "committed" && !there[id] {
			t.Errorf("%v: acknowledged, yet lost", id)
		}
		if state == "settled" && there[id] {
			t.Errorf("%v: settled, yet there", id)
		}
		if state == "settling" && there[id] {
			b.again++
			b.state[id] = "committed"
		}
		if !there[id] {
			delete(b.state, id)
		}
	}
}
