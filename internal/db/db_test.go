package db

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

func open(t testing.TB) *DB {
	t.Helper()
	d, err := Open(Options{Path: filepath.Join(t.TempDir(), "x.db"), ApplicationID: 7, Schema: []string{"CREATE TABLE t(k INTEGER PRIMARY KEY, v)"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func insert(tx *Tx, k int) error {
	return sqlitex.Execute(tx.Conn, "INSERT INTO t VALUES(?, 'x')", &sqlitex.ExecOptions{Args: []any{k}})
}

func count(t testing.TB, d *DB) (n int64) {
	t.Helper()
	err := d.Read(context.Background(), func(c *sqlite.Conn) (err error) {
		n, err = number(c, "SELECT count(*) FROM t")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestManyWritersShareCommits(t *testing.T) {
	d := open(t)
	var wg sync.WaitGroup
	var committed, aborted atomic.Int64
	boom := errors.New("boom")
	for i := range 64 {
		wg.Go(func() {
			for j := range 20 {
				k := i*100 + j
				err := d.Write(context.Background(), func(tx *Tx) error {
					tx.OnCommit(func() { committed.Add(1) })
					tx.OnAbort(func() { aborted.Add(1) })
					if err := insert(tx, k); err != nil || j%4 != 3 {
						return err
					}
					return boom // undone, alone
				})
				if (j%4 == 3) != errors.Is(err, boom) {
					t.Errorf("%d: %v", k, err)
				}
			}
		})
	}
	wg.Wait()
	if n := count(t, d); n != 64*15 || committed.Load() != n || aborted.Load() != 64*5 {
		t.Errorf("%d rows, %d committed, %d aborted", n, committed.Load(), aborted.Load())
	}
}

// One that leads where two are expected waits for the other; no longer than it has patience, and not where it is alone.
func TestGather(t *testing.T) {
	d := open(t)
	together := func(expected int, patience time.Duration, k int) bool {
		d.mu.Lock()
		d.expected, d.patience, d.leading = expected, patience, true
		d.mu.Unlock()
		second := make(chan error, 1)
		before := d.commits
		go func() { second <- d.Write(t.Context(), func(tx *Tx) error { return insert(tx, 2*k) }) }()
		first := &write{run: func(tx *Tx) error { return insert(tx, 2*k+1) }, done: make(chan struct{})}
		d.lead(first)
		if err := errors.Join(first.err, <-second); err != nil {
			t.Fatal(err)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.commits == before+1
	}
	var waited, alone, hasty int
	const tries = 10
	for k := range tries {
		if together(2, time.Hour, 3*k) {
			waited++
		}
		if together(1, time.Hour, 3*k+1) {
			alone++
		}
		if together(2, 0, 3*k+2) {
			hasty++
		}
	}
	if waited <= tries/2 || alone >= tries/2 || hasty >= tries/2 { // a goroutine may come sooner or later than it usually does
		t.Errorf("of %d it wrote with the other: %d where it waits, %d where it is alone, %d where it does not wait", tries, waited, alone, hasty)
	}
}

func TestConstraintUndoesOnlyItsWriter(t *testing.T) {
	d := open(t)
	if err := d.Write(context.Background(), func(tx *Tx) error { return insert(tx, 1) }); err != nil {
		t.Fatal(err)
	}
	err := d.Write(context.Background(), func(tx *Tx) error { return errors.Join(insert(tx, 2), insert(tx, 1)) })
	if err == nil {
		t.Error("the second row with that key was taken")
	}
	if err := d.Write(context.Background(), func(tx *Tx) error { return insert(tx, 3) }); err != nil {
		t.Error(err)
	}
	if n := count(t, d); n != 2 {
		t.Errorf("%d rows", n)
	}
}

func TestCancelledWriterLeavesTheQueue(t *testing.T) {
	d := open(t)
	block, entered := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := d.Write(context.Background(), func(tx *Tx) error { close(entered); <-block; return insert(tx, 1) }); err != nil {
			t.Error(err)
		}
	})
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := d.Write(ctx, func(tx *Tx) error { return insert(tx, 2) }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(block)
	wg.Wait()
	if n := count(t, d); n != 1 {
		t.Errorf("%d rows", n)
	}
}

// Another process may hold the lock longer than we wait: that write fails, and the next one does not.
func TestForeignLockIsNotTheEnd(t *testing.T) {
	d := open(t)
	d.writer.SetBusyTimeout(time.Millisecond)
	other, err := sqlite.OpenConn(d.opts.Path, sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := sqlitex.ExecuteTransient(other, "BEGIN IMMEDIATE", nil); err != nil {
		t.Fatal(err)
	}
	write := func(k int) error {
		return d.Write(context.Background(), func(tx *Tx) error { return insert(tx, k) })
	}
	if err := write(1); sqlite.ErrCode(err).ToPrimary() != sqlite.ResultBusy {
		t.Errorf("%v", err)
	}
	if err := sqlitex.ExecuteTransient(other, "ROLLBACK", nil); err != nil {
		t.Fatal(err)
	}
	if err := write(1); err != nil || d.Failed() != nil {
		t.Errorf("%v, %v", err, d.Failed())
	}
}

// A full database refuses, is read as before, and takes more when there is room.
func TestFull(t *testing.T) {
	d := open(t)
	limit := func(pages int) {
		if err := pragma(d.writer, fmt.Sprintf("max_page_count=%d", pages)); err != nil {
			t.Fatal(err)
		}
	}
	big := func(k int) error {
		return d.Write(context.Background(), func(tx *Tx) error {
			return sqlitex.Execute(tx.Conn, "INSERT INTO t VALUES(?, zeroblob(100000))", &sqlitex.ExecOptions{Args: []any{k}})
		})
	}
	limit(40)
	n := int64(0)
	for ; ; n++ {
		err := big(int(n))
		if errors.Is(err, ErrFull) {
			break
		}
		if err != nil || n > 10 {
			t.Fatal(n, err)
		}
	}
	if got := count(t, d); got != n {
		t.Errorf("%d rows, want %d", got, n)
	}
	limit(1000)
	if err := big(99); err != nil {
		t.Error(err)
	}
}

func TestFormats(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	try := func(app int32, schema ...string) error {
		d, err := Open(Options{Path: path, ApplicationID: app, Schema: schema})
		if err == nil {
			err = d.Close()
		}
		return err
	}
	one, two := "CREATE TABLE a(x)", "CREATE TABLE b(x)"
	for _, step := range []struct {
		err  error
		want error
	}{
		{try(7, one), nil},
		{try(7, one, two), nil}, // upgraded
		{try(7, one, two), nil},
		{try(7, one), ErrNewer},
		{try(8, one, two), ErrForeign},
	} {
		if !errors.Is(step.err, step.want) {
			t.Errorf("%v, want %v", step.err, step.want)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, writers := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			d := open(b)
			var next atomic.Int64
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					for {
						k := next.Add(1)
						if k > int64(b.N) {
							return
						}
						if err := d.Write(context.Background(), func(tx *Tx) error { return insert(tx, int(k)) }); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// A reader whose connection cannot be opened while Close waits for it must not keep Close waiting.
func TestCloseWhileAReaderCannotConnect(t *testing.T) {
	for range 50 {
		dir := t.TempDir()
		d, err := Open(Options{Path: filepath.Join(dir, "x.db"), ApplicationID: 7, Schema: []string{"CREATE TABLE t(k)"}})
		if err != nil {
			t.Fatal(err)
		}
		d.opts.Path = filepath.Join(dir, "gone", "x.db")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					err := d.Read(context.Background(), func(*sqlite.Conn) error { return nil })
					if errors.Is(err, ErrClosed) {
						return
					}
				}
			})
		}
		closed := make(chan error, 1)
		go func() { closed <- d.Close() }()
		select {
		case err := <-closed:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("Close waits for a reader that never was")
		}
		wg.Wait()
	}
}

// A function that panics is undone alone; the one who called it panics, and the database serves the others.
func TestPanicUndoesOnlyItsWriter(t *testing.T) {
	d := open(t)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		d.Write(context.Background(), func(tx *Tx) error { insert(tx, 1); panic("boom") })
	}()
	written := make(chan error, 1)
	go func() { written <- d.Write(context.Background(), func(tx *Tx) error { return insert(tx, 2) }) }()
	select {
	case err := <-written:
		if n := count(t, d); err != nil || n != 1 {
			t.Errorf("%v, %d rows", err, n)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody leads any more")
	}
}

func TestEndedContextRunsNothing(t *testing.T) {
	d := open(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := d.Write(ctx, func(tx *Tx) error { return insert(tx, 1) })
	if n := count(t, d); !errors.Is(err, context.Canceled) || n != 0 {
		t.Errorf("%v, %d rows", err, n)
	}
}

// A reader that lasts makes the WAL grow; its space comes back afterwards.
func TestWALShrinks(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.db")
	d, err := Open(Options{Path: name, ApplicationID: 1, Schema: []string{"CREATE TABLE t(x)"}, WALPages: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	const small = walSlack * 8 * pageSize
	size := func() int64 {
		info, err := os.Stat(name + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	insert := func() {
		t.Helper()
		err := d.Write(t.Context(), func(tx *Tx) error {
			return sqlitex.ExecuteTransient(tx.Conn, "INSERT INTO t VALUES(randomblob(20000))", nil)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	insert()
	err = d.Read(t.Context(), func(c *sqlite.Conn) error {
		err := sqlitex.ExecuteTransient(c, "SELECT count(*) FROM t", nil) // a snapshot
		for err == nil && size() <= 2*small {
			insert()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if insert(); size() <= small {
			return
		}
	}
	t.Errorf("the WAL has still %d octets", size())
}
