package directorytest

import (
	"path/filepath"
	"testing"

	"posthouse/crypto/password"
	"posthouse/directory"
	"posthouse/mail/mailtest"
)

// House is a directory of the test's own, of south.test with accounts of these names, whose passwords are "posthouse" and cost little to
// check. It keeps keys for all that SCRAM runs on.
func House(t testing.TB, names ...string) *directory.SQLite {
	t.Helper()
	d, err := directory.Open(filepath.Join(t.TempDir(), "directory.db"), directory.Options{
		Domains: []directory.Domain{{Name: "south.test"}}, Cost: password.Cost{Memory: 8, Time: 1, Iterations: 4096},
		SCRAM: []password.Hash{password.SHA256, password.SHA1},
	})
	must(t, err)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, name := range names {
		_, err := d.AddAccount(ctx, mailtest.Address(name+"@south.test"), "posthouse")
		must(t, err)
	}
	return d
}
