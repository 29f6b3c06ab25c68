package spool

import (
	"encoding/json"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"posthouse/internal/testkit"
)

const millionDir = "POSTHOUSE_SPOOL_MILLION_DIR" // set: this process opens the full spool there and says what it costs

// What a full queue may cost.
const (
	maxOpening  = 2 * time.Second
	maxResident = 200 << 20
	maxSlowdown = 1.2 // of intake, against an empty queue
)

// cost is what a process with a full spool says of itself.
type cost struct {
	Opening  time.Duration
	Resident int64 // octets, at most; 0: the system does not tell
	Slowdown float64
}

// TestManyQueued: a queue with a hundred thousand messages, or a million under make crash, opens at once, needs little memory and takes
// mail as fast as an empty one.
func TestManyQueued(t *testing.T) {
	if dir := os.Getenv(millionDir); dir != "" {
		c := costOf(t, dir)
		if err := json.NewEncoder(os.Stdout).Encode(c); err != nil {
			t.Fatal(err)
		}
		return
	}
	if testing.Short() {
		t.Skip("a hundred thousand messages take a while")
	}
	n := 100_000
	if testkit.CrashRounds(0) > 2 {
		n = 1_000_000
	}
	dir := t.TempDir()
	million(t, dir, n)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestManyQueued$")
	cmd.Env = append(os.Environ(), millionDir+"="+dir)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var c cost
	if err := json.NewDecoder(strings.NewReader(string(out))).Decode(&c); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%d messages: opened in %v, %d MiB, intake takes %.2f of what it takes with none", n, c.Opening, c.Resident>>20, c.Slowdown)
	if c.Opening > maxOpening || c.Resident > maxResident {
		t.Error("that is too much")
	}
	if c.Slowdown > maxSlowdown && n > 100_000 { // few messages do not tell on a busy machine
		t.Error("that is too slow")
	}
}

func costOf(t *testing.T, dir string) (c cost) {
	start := time.Now()
	full := open(t, Options{Dir: dir})
	c.Opening = time.Since(start)
	empty := open(t, Options{})
	rounds, each := 3, 50
	if testkit.CrashRounds(0) > 2 {
		rounds, each = 15, 100
	}
	var ratios []float64
	body := make([]byte, 4096)
	for range rounds {
		var took [2]time.Duration
		for i, s := range []Spool{full, empty} {
			start := time.Now()
			for range each {
				if err := commit(t.Context(), s, benchEnvelope(t), body); err != nil {
					t.Fatal(err)
				}
			}
			took[i] = time.Since(start)
		}
		ratios = append(ratios, took[0].Seconds()/took[1].Seconds())
		jobs, err := full.Take(t.Context(), Want{Limit: each, Lease: time.Minute})
		if err != nil || len(jobs) != each {
			t.Fatal(len(jobs), err)
		}
		for _, j := range jobs {
			if err := full.Settle(t.Context(), j.Lease, []Outcome{{N: 0, Result: Delivered}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	slices.Sort(ratios)
	c.Slowdown = ratios[len(ratios)/2]
	if _, err := full.Stats(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	c.Resident = residentPeak(t)
	return c
}

// residentPeak is the most memory the process had; 0 where that is not told.
func residentPeak(t *testing.T) int64 {
	if runtime.GOOS != "linux" {
		return 0
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	return 0
}
