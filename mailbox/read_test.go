package mailbox

import (
	"sync"
	"testing"
)

// A box of which only some messages are in memory can be read while others change it.
func TestSnapshotWhileOthersWrite(t *testing.T) {
	s := start(t, Options{})
	a := take(t, s, "alice")
	file(t, a, 1, 3*slabSize)
	var wg sync.WaitGroup
	for w := range UID(4) {
		change := SetFlags{Box: 1, UIDs: UIDSet{}.Append(slabSize + 100 + w), Marks: Marks{System: Seen}}
		wg.Go(func() {
			for range 75 {
				for _, change.Op = range []FlagOp{AddFlags, RemoveFlags} {
					if _, err := a.Apply(t.Context(), change); err != nil {
						t.Error(err)
					}
				}
			}
		})
		wg.Go(func() {
			for range 100 {
				a.(*handle).evict(1)
				if _, err := a.Snapshot(t.Context(), 1); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	check(t, a.Close())
	check(t, s.Close())
}
