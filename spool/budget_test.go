package spool

import (
	"bytes"
	"testing"
	"time"

	"posthouse/internal/vfs/faultfs"
)

// What the spool may cost a message of one recipient that comes and goes alone.
const (
	maxAllocations = 100 // of its whole life; 77 alone, more while other tests fill the pools
	syncsOfCommit  = 1
	syncsOfTake    = 0
	syncsOfSettle  = 1
)

// TestSyncs: a message alone costs one sync to accept and one to settle; taking it costs none.
func TestSyncs(t *testing.T) {
	dir := t.TempDir()
	faults := faultfs.Watch(t, dir)
	s := open(t, Options{Dir: dir})
	put(t, s, []byte("the first one reserves IDs"), "bob@south.test")
	syncs := func(what string, want int, f func()) {
		t.Helper()
		before := faults.Counts()
		f()
		after, n := faults.Counts(), 0
		for _, file := range []string{databaseName, databaseName + "-wal"} {
			n += after["sync "+file] - before["sync "+file]
		}
		if n != want {
			t.Errorf("%s: %d syncs, want %d", what, n, want)
		}
		t.Logf("%s: %d pages written", what, (after["write queue.db-wal"]-before["write queue.db-wal"])/2)
	}
	var jobs []Job
	syncs("Commit", syncsOfCommit, func() { put(t, s, make([]byte, 4096), "bob@south.test") })
	syncs("Take", syncsOfTake, func() {
		var err error
		if jobs, err = s.Take(t.Context(), Want{Limit: 10, Lease: time.Minute}); err != nil || len(jobs) != 2 {
			t.Fatal(jobs, err)
		}
	})
	syncs("Settle", syncsOfSettle, func() {
		if err := s.Settle(t.Context(), jobs[0].Lease, []Outcome{{N: 0, Result: Delivered}}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAllocations(t *testing.T) {
	s := open(t, Options{})
	body, env := bytes.Repeat([]byte("0123456789\r\n"), 350), benchEnvelope(t)
	got := testing.AllocsPerRun(200, func() {
		if err := commit(t.Context(), s, env, body); err != nil {
			t.Fatal(err)
		}
		jobs, err := s.Take(t.Context(), Want{Limit: 1, Lease: time.Minute})
		if err != nil || len(jobs) != 1 {
			t.Fatal(jobs, err)
		}
		if err := s.Settle(t.Context(), jobs[0].Lease, []Outcome{{N: 0, Result: Delivered, Reply: "250 ok"}}); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%.0f allocations", got)
	if got > maxAllocations {
		t.Errorf("%.0f allocations, at most %d", got, maxAllocations)
	}
}
