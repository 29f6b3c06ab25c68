package mailbox_test

import (
	"log/slog"
	"testing"

	"posthouse/mailbox"
)

func open(t testing.TB, o mailbox.Options) *mailbox.SQLite {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := mailbox.OpenSQLite(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
