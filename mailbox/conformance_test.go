package mailbox_test

import (
	"testing"

	"posthouse/mailbox"
	"posthouse/mailbox/mailboxtest"
)

func TestConformance(t *testing.T) { conform(t, mailbox.Options{}) }

// TestConformanceWithoutRoom holds no box in memory but the last, and no database but the one at work.
func TestConformanceWithoutRoom(t *testing.T) {
	if testing.Short() {
		t.Skip("the same suite again")
	}
	conform(t, mailbox.Options{MaxOpen: 1, CacheSize: 1})
}

func TestConformanceKeeping(t *testing.T) {
	mailboxtest.RunKeeping(t, opener(mailbox.Options{KeepExpunged: mailboxtest.Keep}))
}

func conform(t *testing.T, o mailbox.Options) {
	t.Parallel()
	mailboxtest.Run(t, opener(o))
}

func opener(o mailbox.Options) mailboxtest.Opener {
	return func(t testing.TB, dir string) mailbox.Store {
		o.Dir = dir
		s, err := mailbox.OpenSQLite(o)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}
