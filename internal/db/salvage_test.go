package db

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite/sqlitex"
)

// salvaged are the rows of the test's tables that Salvage finds in a copy of the files.
func salvaged(t *testing.T, path string) map[string]bool {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Dir(path))); err != nil {
		t.Fatal(err)
	}
	rows := make(map[string]bool)
	for row, err := range Salvage(filepath.Join(dir, filepath.Base(path))) {
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := row.Values[1].(string); ok && strings.HasPrefix(s, "row ") {
			rows[fmt.Sprint(row.Table, row.Key, row.Values[0], len(s), row.Values[2:])] = true
		}
	}
	return rows
}

// What is committed is found, in the file and in the WAL, whatever its size and type; what was deleted is not.
func TestSalvage(t *testing.T) {
	d, err := Open(Options{Path: filepath.Join(t.TempDir(), "x.db"), ApplicationID: 7, Schema: []string{
		"CREATE TABLE t(k INTEGER PRIMARY KEY, v, w); CREATE TABLE u(k PRIMARY KEY, v, w) WITHOUT ROWID"}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	exec := func(sql string, args ...any) {
		t.Helper()
		err := d.Write(context.Background(), func(tx *Tx) error {
			return sqlitex.Execute(tx.Conn, sql, &sqlitex.ExecOptions{Args: args})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	want := make(map[string]bool)
	for i, w := range []any{nil, int64(0), int64(1), int64(-1), int64(300), int64(-70_000), int64(1 << 25), int64(1 << 40), int64(-1 << 62), 1.5, []byte{}, []byte("octets")} {
		for j, size := range []int{0, 500, 3000, 4200, 9000, 300_000} {
			k, text := i*10+j, "row "+strings.Repeat("x", size)
			exec("INSERT INTO t VALUES(?, ?, ?)", k, text, w)
			exec("INSERT INTO u VALUES(?, ?, ?)", k, text, w)
			want[fmt.Sprint(true, k, nil, len(text), []any{w})] = true
			want[fmt.Sprint(false, 0, k, len(text), []any{w})] = true
		}
	}
	same := func(when string) {
		t.Helper()
		got := salvaged(t, d.opts.Path)
		for row := range want {
			if !got[row] {
				t.Errorf("%s: %s was not found", when, row)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d rows, want %d", when, len(got), len(want))
		}
	}
	same("as written")
	exec("DELETE FROM t WHERE k >= 10")
	exec("DELETE FROM u")
	for row := range want {
		var table bool
		var key int
		fmt.Sscan(row, &table, &key)
		if !table || key >= 10 {
			delete(want, row)
		}
	}
	same("after deletions in the WAL")
	if err := pragma(d.writer, "wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
	same("after a checkpoint")
}
