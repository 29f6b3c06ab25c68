package spool_test

import (
	"math/rand/v2"
	"syscall"
	"testing"

	"posthouse/internal/testkit"
	"posthouse/internal/vfs"
	"posthouse/internal/vfs/faultfs"
	"posthouse/spool"
	"posthouse/spool/spooltest"
)

func TestConformance(t *testing.T) {
	spooltest.Run(t, func(t testing.TB, dir string) spool.Spool {
		s, err := spool.OpenSQLite(spool.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// crashing is a spool that is never closed in order: the power is cut instead.
type crashing struct {
	spool.Spool
	faults *faultfs.Faults
	rand   *rand.Rand
}

func (c *crashing) Close() error {
	c.faults.FailFrom(1, syscall.EIO)
	c.Spool.Close() // what it still would write fails
	return c.faults.PowerCut(c.rand)
}

// TestCrashesOfTheModel is long random histories in which every restart follows a power cut: what the model was told is what is there.
func TestCrashesOfTheModel(t *testing.T) {
	seeds := []uint64{1679795086613914409} // once found something
	for range testkit.CrashRounds(4) {
		seeds = append(seeds, rand.Uint64())
	}
	steps := 1000
	if testing.Short() {
		steps = 150
	}
	for _, seed := range seeds {
		t.Logf("seed %d", seed)
		var faults *faultfs.Faults
		chance := rand.New(rand.NewPCG(seed, 2))
		spooltest.Random(t, func(t testing.TB, dir string) spool.Spool {
			if faults == nil {
				faults = faultfs.Watch(t, dir)
			} else if err := spool.Verify(t.Context(), dir, func(trouble string) { t.Error(trouble) }); err != nil {
				t.Fatal(err)
			}
			s, err := spool.OpenSQLite(spool.Options{Dir: dir, FS: faults.FS(vfs.OS{})})
			if err != nil {
				t.Fatal(err)
			}
			return &crashing{s, faults, chance}
		}, seed, steps)
		if t.Failed() {
			t.FailNow()
		}
	}
}
