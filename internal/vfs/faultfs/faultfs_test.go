package faultfs_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"posthouse/internal/vfs"
	"posthouse/internal/vfs/faultfs"
)

// fill makes a database and adds rows, each in a transaction of its own; it tells how many were committed.
func fill(name string, rows int) (committed int, err error) {
	c, err := sqlite.OpenConn(name, sqlite.OpenReadWrite|sqlite.OpenCreate)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	err = sqlitex.ExecuteScript(c, "CREATE TABLE IF NOT EXISTS t(x);", nil)
	for err == nil && committed < rows {
		if err = sqlitex.ExecuteTransient(c, "INSERT INTO t VALUES(randomblob(3000))", nil); err == nil {
			committed++
		}
	}
	return committed, err
}

func open(t *testing.T, name string) *sqlite.Conn {
	t.Helper()
	c, err := sqlite.OpenConn(name, sqlite.OpenReadWrite|sqlite.OpenCreate)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func run(t *testing.T, c *sqlite.Conn, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if err := sqlitex.ExecuteTransient(c, sql, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func number(t *testing.T, name, query string) (n int) {
	t.Helper()
	c := open(t, name)
	defer c.Close()
	err := sqlitex.ExecuteTransient(c, query, &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error { n = s.ColumnInt(0); return nil }})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// SQLite keeps what it promises when each operation fails, once or from then on, and when the power is cut there.
func TestEveryOperationOfSQLite(t *testing.T) {
	for _, mode := range []string{"WAL", "DELETE"} {
		for n, more := 1, true; more; n++ {
			dir := t.TempDir()
			f := faultfs.Watch(t, dir)
			name := filepath.Join(dir, "x.db")
			c := open(t, name)
			run(t, c, "PRAGMA journal_mode="+mode, "CREATE TABLE t(x)")
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			f.FailFrom(n, syscall.EIO)
			committed, err := fill(name, 4)
			if more = len(f.Failed()) > 0; more == (err == nil) && committed < 4 {
				t.Fatalf("%d: %v failed, and the error is %v", n, f.Failed(), err)
			}
			var chance *rand.Rand
			if n%2 == 0 {
				chance = rand.New(rand.NewPCG(uint64(n), 0))
			}
			if err := f.PowerCut(chance); err != nil {
				t.Fatal(err)
			}
			if got := number(t, name, "SELECT count(*) FROM t"); got < committed || got > committed+1 {
				t.Fatalf("%s %d: %d rows, %d were committed", mode, n, got, committed)
			}
		}
	}
}

// What was not synced is gone after a power cut: the test above would not notice a cut that leaves everything.
func TestPowerCutTakesWhatWasNotSynced(t *testing.T) {
	dir := t.TempDir()
	f := faultfs.Watch(t, dir)
	name := filepath.Join(dir, "x.db")
	c := open(t, name)
	run(t, c, "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "CREATE TABLE t(x)", "PRAGMA synchronous=OFF", "INSERT INTO t VALUES(1)")
	f.FailFrom(1, syscall.EIO) // so that Close does not sync
	c.Close()
	if err := f.PowerCut(nil); err != nil {
		t.Fatal(err)
	}
	if got := number(t, name, "SELECT count(*) FROM t"); got != 0 {
		t.Errorf("%d rows", got)
	}
}

func TestFilesFailToo(t *testing.T) {
	dir := t.TempDir()
	f := faultfs.Watch(t, dir)
	files := f.FS(vfs.OS{})
	steps := []func() error{
		func() error { return files.MkdirAll(dir + "/d") },
		func() error {
			file, err := files.Create(dir + "/d/f")
			if err != nil {
				return err
			}
			defer file.Close()
			_, err = file.Write([]byte("x"))
			return errors.Join(err, file.Sync())
		},
		func() error { return files.Rename(dir+"/d/f", dir+"/d/g") },
		func() error {
			file, err := files.Open(dir + "/d/g")
			if err != nil {
				return err
			}
			defer file.Close()
			_, err = file.ReadAt(make([]byte, 1), 0)
			return err
		},
		func() error { return files.SyncDir(dir + "/d") },
		func() error { _, err := files.ReadDir(dir + "/d"); return err },
		func() error { return files.Remove(dir + "/d/g") },
	}
	const operations = 10
	for n := 1; n <= operations; n++ {
		if err := os.RemoveAll(dir + "/d"); err != nil {
			t.Fatal(err)
		}
		f.FailAt(n, syscall.EIO)
		var errs []error
		for _, step := range steps {
			errs = append(errs, step())
		}
		if err := errors.Join(errs...); !errors.Is(err, syscall.EIO) || len(f.Failed()) != n {
			t.Errorf("%d: %v, %v", n, err, f.Failed())
		}
		f.Heal()
	}
	if want := "[mkdir d create f"; fmt.Sprint(f.Failed())[:len(want)] != want {
		t.Error(f.Failed())
	}
}
