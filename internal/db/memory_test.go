package db

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestReleaseMemory(t *testing.T) {
	const pages = 200
	d := open(t)
	for k := range pages {
		err := d.Write(context.Background(), func(tx *Tx) error {
			return Exec(tx.Conn, "INSERT INTO t VALUES(1+(SELECT count(*) FROM t), zeroblob(4000))", Ints())
		})
		if err != nil {
			t.Fatal(k, err)
		}
	}
	if n := count(t, d); n != pages {
		t.Error(n)
	}
	if held := ReleaseMemory(); held < pages*pageSize {
		t.Errorf("only %d octets were held", held)
	}
	if left := ReleaseMemory(); left > 0 {
		t.Errorf("%d octets are left", left)
	}
	if n := count(t, d); n != pages {
		t.Errorf("%d rows afterwards", n)
	}
}

// A new database has as many pages as tables, and holds none of them before they are needed.
func TestNewTablesAreNotHeld(t *testing.T) {
	const tables = 100
	ReleaseMemory() // of other tests
	var schema strings.Builder
	for i := range tables {
		fmt.Fprintf(&schema, "CREATE TABLE t%d(k);\n", i)
	}
	d, err := Open(Options{Path: filepath.Join(t.TempDir(), "x.db"), Schema: []string{schema.String()}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if held := ReleaseMemory(); held > tables*pageSize/2 {
		t.Errorf("%d octets for %d tables", held, tables)
	}
}
