package mailbox_test

import (
	"testing"

	"posthouse/mailbox"
	"posthouse/mailbox/mailboxtest"
)

func TestConformance(t *testing.T) {
	mailboxtest.Run(t, func(t testing.TB, dir string) mailbox.Store {
		s, err := mailbox.OpenSQLite(mailbox.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
