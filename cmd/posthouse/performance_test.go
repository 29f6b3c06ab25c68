package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"posthouse/directory"
	"posthouse/internal/testkit"
	"posthouse/mta"
	"posthouse/spool"
)

// performanceRounds is the environment variable that asks for the comparison with Postfix, and how many rounds of it: make performance.
const performanceRounds = "POSTHOUSE_PERFORMANCE"

// performanceCases are what docs/PERFORMANCE.md has a row for. The promises: at least so many times what Postfix takes, and at most so
// much memory, in MiB; 0: any.
var performanceCases = []struct {
	name    string
	load    rush
	atLeast float64
	atMost  float64
}{
	{"4 KiB, 1 session", rush{sessions: 1, size: 4 << 10}, 0, 0},
	{"4 KiB, 20 sessions", rush{sessions: 20, size: 4 << 10}, 5, 0},
	{"4 KiB, 100 sessions", rush{sessions: 100, size: 4 << 10}, 5, 0},
	{"4 KiB, 20 sessions, one message each", rush{sessions: 20, size: 4 << 10, perSession: 1}, 4, 0},
	{"4 KiB, 100 sessions, one message each", rush{sessions: 100, size: 4 << 10, perSession: 1}, 4, 0},
	{"4 KiB to 10 recipients, 20 sessions", rush{sessions: 20, size: 4 << 10, recipients: 10}, 1, 0},
	{"100 KiB, 20 sessions", rush{sessions: 20, size: 100 << 10}, 1, 0},
	{"10 MiB, 4 sessions", rush{sessions: 4, size: 10 << 20}, 1, 0},
	{"10 MiB, 100 sessions", rush{sessions: 100, size: 10 << 20}, 1, 300},
}

// contender is a server that is measured.
type contender struct {
	name string
	addr string
	pid  int // 0: it is this process, and passes nothing on
	sink *sink
}

// measured is one contender's results for one case, a round each: messages a second taken, and passed on; milliseconds until the answer;
// CPU seconds for 1000 messages; MiB of memory at the peak.
type measured struct{ rate, through, p50, p99, cpu, memory []float64 }

const performanceHead = `
| case | taken/s: Posthouse | Postfix | ratio | of the floor | intake alone, of the floor | passed on/s | p50, ms | p99, ms | CPU s for 1000 | peak MiB |
|---|---|---|---|---|---|---|---|---|---|---|`

// Posthouse takes mail faster than Postfix, both relaying it to the same sink, in turn in one run; beside them a sink that does nothing
// but append to one log with a shared sync, and our door and spool in this process, which is where that sink runs. All that the document
// says of intake is printed by this test.
func TestPerformance(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv(performanceRounds))
	if err != nil || rounds < 1 {
		t.Skipf("a comparison for a quiet machine: make performance, or %s=rounds", performanceRounds)
	}
	table := []string{performanceHead}
	defer func() { t.Log(strings.Join(table, "\n")) }()
	all := []*contender{newPosthouse(t), newPostfix(t), newFloor(t)}
	for _, c := range performanceCases {
		results := make([]measured, len(all))
		var alone measured
		for range rounds {
			for i, who := range all {
				results[i].add(t, who, c.load)
			}
			t.Run("alone", func(t *testing.T) { alone.add(t, newIntake(t), c.load) }) // its spool goes when that ends
		}
		ours, theirs, floor := &results[0], &results[1], &results[2]
		ratio := median(ours.rate) / median(theirs.rate)
		row := fmt.Sprintf("| %s | %.0f | %.0f | %.1f | %.0f %% | %.0f %% | %.0f / %.0f | %.1f / %.1f | %.0f / %.0f | %.2f / %.2f | %.0f |", c.name,
			median(ours.rate), median(theirs.rate), ratio, 100*median(ours.rate)/median(floor.rate), 100*median(alone.rate)/median(floor.rate), median(ours.through), median(theirs.through),
			median(ours.p50), median(theirs.p50), median(ours.p99), median(theirs.p99), median(ours.cpu), median(theirs.cpu), median(ours.memory))
		table = append(table, row)
		if c.atMost > 0 && median(ours.memory) > c.atMost {
			t.Errorf("%s: %.0f MiB, promised are %.0f", c.name, median(ours.memory), c.atMost)
		}
		if ratio < c.atLeast {
			t.Errorf("%s: %.1f times Postfix, promised are %.1f", c.name, ratio, c.atLeast)
		}
	}
}

const measureTime = 2 * time.Second

// add measures a round.
func (m *measured) add(t *testing.T, who *contender, l rush) {
	t.Helper()
	l.wait, l.recipients = measureTime, max(l.recipients, 1)
	var before int64
	var cpu time.Duration
	if who.pid != 0 {
		resetPeak(t, who.pid)
		before, cpu = who.sink.messages.Load(), cpuOf(t, who.pid)
	}
	start := time.Now()
	r := l.run(t, who.addr)
	if r.messages == 0 {
		t.Fatalf("%s took nothing", who.name)
	}
	m.rate = append(m.rate, r.rate())
	slices.Sort(r.latencies)
	at := func(q float64) float64 {
		return float64(r.latencies[int(q*float64(len(r.latencies)-1))]) / float64(time.Millisecond)
	}
	m.p50, m.p99 = append(m.p50, at(0.5)), append(m.p99, at(0.99))
	if who.pid == 0 {
		return
	}
	testkit.Within(t, 2*time.Minute, who.name+" has passed on what it took", func() bool {
		return who.sink.messages.Load()-before >= int64(r.messages)
	})
	m.through = append(m.through, float64(r.messages)/time.Since(start).Seconds())
	m.cpu = append(m.cpu, (cpuOf(t, who.pid)-cpu).Seconds()*1000/float64(r.messages))
	m.memory = append(m.memory, peakOf(t, who.pid))
}

func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return sorted[len(sorted)/2]
}

func newPosthouse(t *testing.T) *contender {
	to := newSink(t, nil)
	mx := testkit.FreePort(t)
	s := newServer(t, fmt.Sprintf("[[listener]]\nprotocol = \"smtp\"\naddress = %q\nrelay_from = [\"127.0.0.0/8\"]\n[[route]]\nmatch = \"sink.test\"\nvia = \"smtp://%s\"\n", mx, to.addr))
	s.quiet = true
	s.start()
	testkit.WaitPort(t, mx)
	return &contender{name: "Posthouse", addr: mx, sink: to, pid: s.process.Pid()}
}

func newPostfix(t *testing.T) *contender {
	to := newSink(t, nil)
	host, port, _ := strings.Cut(to.addr, ":")
	addr := testkit.Postfix(t, fmt.Sprintf(`myhostname = postfix.house.test
mynetworks = 127.0.0.0/8
relayhost = [%s]:%s
message_size_limit = 52428800
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
default_process_limit = 200
default_destination_concurrency_limit = 20
smtpd_recipient_limit = 1000
`, host, port))
	master := 0
	for pid, p := range processes(t) {
		if p.name == "master" && isBelow(processes(t), pid, os.Getpid()) {
			master = pid
		}
	}
	return &contender{name: "Postfix", addr: addr, sink: to, pid: master}
}

func newFloor(t *testing.T) *contender {
	log := newSyncedLog(t)
	return &contender{name: "floor", addr: newSink(t, log.append).addr}
}

// newIntake is the door and the spool, and nothing that empties it.
func newIntake(t *testing.T) *contender {
	dir := t.TempDir()
	sp, err := spool.OpenSQLite(spool.Options{Dir: filepath.Join(dir, "spool")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sp.Close() })
	d, err := directory.Open(filepath.Join(dir, "directory.db"), directory.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	door, err := mta.NewServer(mta.Options{Hostname: "mail.house.test", Spool: sp, Directory: d, RelayFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- door.Serve(l) }()
	t.Cleanup(func() {
		if err := door.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return &contender{name: "intake", addr: l.Addr().String()}
}

// resetPeak has the kernel forget a process's peak of memory; see proc(5).
func resetPeak(t *testing.T, pid int) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
}

// peakOf is the most memory a process had since then, in MiB.
func peakOf(t *testing.T, pid int) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib / 1024
}

// proc is what the kernel says of a process.
type proc struct {
	name   string
	parent int
	used   time.Duration // by it, and by its children that have ended
}

// processes are all that run now.
func processes(t *testing.T) map[int]proc {
	t.Helper()
	const tick = time.Second / 100 // USER_HZ
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	all := map[int]proc{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		name, rest, _ := strings.Cut(string(text), ")")
		_, name, _ = strings.Cut(name, "(")
		f, p := strings.Fields(rest), proc{name: name}
		p.parent, _ = strconv.Atoi(f[1])
		for _, field := range f[11:15] {
			n, _ := strconv.Atoi(field)
			p.used += time.Duration(n) * tick
		}
		all[pid] = p
	}
	return all
}

// cpuOf is what a process and those below it have used.
func cpuOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	all := processes(t)
	total := all[pid].used
	for child, p := range all {
		if isBelow(all, child, pid) {
			total += p.used
		}
	}
	return total
}

// isBelow tells whether a process descends from another.
func isBelow(all map[int]proc, pid, ancestor int) bool {
	for at := all[pid]; at.parent > 1; at = all[at.parent] {
		if at.parent == ancestor {
			return true
		}
	}
	return false
}
