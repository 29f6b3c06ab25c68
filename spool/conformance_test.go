package spool_test

import (
	"testing"

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
