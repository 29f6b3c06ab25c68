package mailbox

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestKeptIsBounded expunges more than an account keeps: the oldest goes.
func TestKeptIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		s := start(t, Options{Dir: t.TempDir(), KeepExpunged: time.Hour, MaxKept: 100_000})
		a := take(t, s, "alice")
		inbox, err := a.Box(ctx, Inbox)
		if err != nil {
			t.Fatal(err)
		}
		for uid := range UID(5) {
			id, err := a.Stage(ctx, strings.NewReader("\r\n"+strings.Repeat("x", 30_000)))
			if err != nil {
				t.Fatal(err)
			}
			one := UIDSet{{uid + 1, uid + 1}}
			if _, err := a.Apply(ctx, Add{Box: inbox.ID, Blob: id, Marks: Marks{System: Deleted}}, Expunge{Box: inbox.ID, UIDs: one}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		var kept UIDSet
		for e, err := range a.Expunged(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			kept = kept.Append(e.Messages[0].UID)
		}
		if kept.String() != "3:5" {
			t.Errorf("kept %s", kept)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
