package spool

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"posthouse/internal/testkit"
	"posthouse/internal/vfs/faultfs"
)

// stride is how many operations lie between two that fail: under make crash each one does, else some, and others in every run.
func stride(usual int) (first, step int) {
	if testkit.CrashRounds(0) > 2 {
		return 1, 1
	}
	if testing.Short() {
		usual *= 5
	}
	return 1 + rand.IntN(usual), usual
}

// TestEveryOperationFails: one operation fails, of SQLite or on the files of large bodies, for lack of space or for good. Nothing that
// was acknowledged is lost or there twice, no answer lies, and a failed write or sync is the end until a restart.
func TestEveryOperationFails(t *testing.T) {
	t.Parallel()
	for _, failure := range []syscall.Errno{syscall.ENOSPC, syscall.EIO} {
		n, step := stride(11)
		for last := false; !last; n += step {
			j, dir := newJourney(t), t.TempDir()
			large, faults := newFiles(t, dir), faultfs.Watch(t, dir)
			faults.FailAt(n, failure)
			err := j.start(dir, faults.FS(large))
			last = faults.Count() < n
			j.judge(failure, faults.Failed(), err)
			faults.Heal()
			j.audit(dir, large.Crash(nil))
			if t.Failed() {
				t.Fatalf("operation %d, %v: %v; the errors were: %v", n, failure, faults.Failed(), err)
			}
		}
		t.Logf("%v: %d operations, one in %d failed", failure, n-step, step)
	}
}

// judge checks what was said of a failure.
func (j *journey) judge(failure syscall.Errno, failed []string, err error) {
	if failure == syscall.ENOSPC && errors.Is(err, ErrFailed) && !slices.Contains(failed, "sync queue.db-wal") {
		j.Error("a full disk was taken for a broken one")
	}
	if failure == syscall.EIO && errors.Is(err, ErrFull) {
		j.Error("a broken disk was taken for a full one")
	}
	if j.opened && err != nil && slices.Contains(failed, "sync queue.db-wal") && !errors.Is(j.s.Failed(), ErrFailed) {
		j.Error("a sync failed, and the spool goes on as if it had not")
	}
}

// TestPowerCutAtEveryOperation: nothing works any more from one operation on, and what was not synced by then is gone, or any part of it.
func TestPowerCutAtEveryOperation(t *testing.T) {
	t.Parallel()
	n, step := stride(7)
	seed := rand.Uint64()
	for last := false; !last; n += step {
		j, dir := newJourney(t), t.TempDir()
		large, faults := newFiles(t, dir), faultfs.Watch(t, dir)
		faults.FailFrom(n, syscall.EIO)
		err := j.start(dir, faults.FS(large))
		last = faults.Count() < n
		if !last && err == nil && faults.Count() > n {
			t.Errorf("%v failed, and nobody noticed", faults.Failed())
		}
		var chance *rand.Rand
		if n%2 == 0 {
			chance = rand.New(rand.NewPCG(seed, uint64(n)))
		}
		if err := faults.PowerCut(chance); err != nil {
			t.Fatal(err)
		}
		j.audit(dir, large.Crash(chance))
		if t.Failed() {
			t.Fatalf("cut at operation %d, seed %d: %v; the errors were: %v", n, seed, faults.Failed(), err)
		}
	}
	t.Logf("%d operations, cut at one in %d", n-step, step)
}

// TestCommitOfUnknownOutcome: after a failed sync nobody knows whether a message is there. If the next start finds it, it is whole.
func TestCommitOfUnknownOutcome(t *testing.T) {
	found := 0
	for n := 1; ; n++ {
		j, dir := newJourney(t), t.TempDir()
		faults := faultfs.Watch(t, dir)
		j.s = open(t, Options{Dir: dir})
		d, err := j.draft(largeBody('a'))
		if err != nil {
			t.Fatal(err)
		}
		faults.FailFrom(n, syscall.EIO)
		if _, err = d.Commit(t.Context()); err == nil {
			faults.Heal()
			break
		}
		if err := d.Abort(); err != nil {
			t.Error(err)
		}
		_ = j.s.Close() // fails
		faults.Heal()
		s := open(t, Options{Dir: dir})
		for e, err := range s.List(t.Context(), Filter{States: []State{Ready, Dead}}) {
			if found++; err != nil || e.Recipients[0].State != Ready || !bytes.Equal(read(t, s, e.ID), largeBody('a')) {
				t.Errorf("operation %d: %+v, %v", n, e, err)
			}
		}
	}
	if found == 0 {
		t.Error("no failure left a message")
	}
}
