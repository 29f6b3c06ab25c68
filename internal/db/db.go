// Package db opens SQLite databases the one way this house uses them: WAL, synchronous=FULL, a single writer that puts everything
// waiting into one transaction and one fdatasync, and pooled readers that never wait for it.
//
// It knows no mail. Whoever writes first while nobody does becomes the leader: it runs its own function and those that queue up
// meanwhile, commits once, wakes them, and hands on. So a lone writer pays no hand-over, and sixty share one sync.
package db

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// Errors of a DB; they are wrapped with what SQLite said.
var (
	ErrFull    = errors.New("no space left") // nothing was changed; the next write may succeed
	ErrFailed  = errors.New("storage failed")
	ErrCorrupt = errors.New("the database is damaged")
	ErrNewer   = errors.New("the database has a newer format than this program knows")
	ErrForeign = errors.New("the file is another program's database")
	ErrClosed  = errors.New("closed")
)

const (
	maxGroup       = 1024 // functions in one transaction
	defaultReaders = 4
	busyTimeout    = 10 * time.Second // only another process (a backup, a person's sqlite3) can make us wait
)

// Options say what to open.
type Options struct {
	Path          string
	ApplicationID int32    // PRAGMA application_id; another one is ErrForeign
	Schema        []string // Schema[i] takes format i to format i+1, in a transaction of its own; PRAGMA user_version counts
	Readers       int      // connections for reading, opened as needed; 0: 4
	CacheKiB      int      // page cache of each connection; 0: 2000, as SQLite
	WALPages      int      // pages in the WAL after which a commit checkpoints; 0: 1000, as SQLite
	// Pragmas are further ones for the writing connection, "secure_delete=on".
	Pragmas []string
}

// DB is an open database. All methods may be called from many goroutines.
type DB struct {
	opts    Options
	writer  *sqlite.Conn // the leader's
	readers chan *sqlite.Conn
	closing chan struct{} // closed when Close begins

	mu      sync.Mutex // guards what follows
	queue   []*write
	leading bool
	failed  error // sticky
	closed  bool
	opened  int // readers
	idle    *sync.Cond
}

// Tx is one caller's part of the writer's transaction.
type Tx struct {
	*sqlite.Conn
	committed, aborted []func()
}

// OnCommit has f called after the transaction is durable, in the order of the writes and before any Write returns.
func (t *Tx) OnCommit(f func()) { t.committed = append(t.committed, f) }

// OnAbort has f called if the part is undone: its function failed, or the transaction did.
func (t *Tx) OnAbort(f func()) { t.aborted = append(t.aborted, f) }

type write struct {
	tx   Tx
	run  func(*Tx) error
	err  error
	done chan struct{} // closed when err is final, or leadership is handed over
	lead bool

	panicked any // what run panicked with
}

// Open opens or makes a database and brings its format up to date.
func Open(o Options) (*DB, error) {
	if o.Readers == 0 {
		o.Readers = defaultReaders
	}
	d := &DB{opts: o, readers: make(chan *sqlite.Conn, o.Readers), closing: make(chan struct{})}
	d.idle = sync.NewCond(&d.mu)
	w, err := d.connect(sqlite.OpenReadWrite | sqlite.OpenCreate)
	if err != nil {
		return nil, err
	}
	if err := d.prepare(w); err != nil {
		w.Close()
		return nil, fmt.Errorf("%s: %w", o.Path, classify(err))
	}
	d.writer = w
	return d, nil
}

func (d *DB) connect(flags sqlite.OpenFlags) (*sqlite.Conn, error) {
	if err := private(d.opts.Path); err != nil {
		return nil, err
	}
	c, err := sqlite.OpenConn(d.opts.Path, flags)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.opts.Path, classify(err))
	}
	c.SetBusyTimeout(busyTimeout)
	pragmas := []string{"synchronous=FULL", "foreign_keys=off", "temp_store=memory"}
	if d.opts.CacheKiB > 0 {
		pragmas = append(pragmas, fmt.Sprintf("cache_size=-%d", d.opts.CacheKiB))
	}
	for _, p := range pragmas {
		if err := pragma(c, p); err != nil {
			c.Close()
			return nil, fmt.Errorf("%s: %w", d.opts.Path, classify(err))
		}
	}
	return c, nil
}

// private makes the file ours alone before SQLite makes it everybody's to read; its WAL takes the same mode.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// prepare brings the database to the newest format: a file of another program or a newer format is left as it is.
func (d *DB) prepare(c *sqlite.Conn) error {
	version, err := number(c, "PRAGMA user_version")
	if err != nil {
		return err
	}
	app, err := number(c, "PRAGMA application_id")
	if err != nil {
		return err
	}
	if app != int64(d.opts.ApplicationID) && (app != 0 || version != 0) {
		return ErrForeign
	}
	if version > int64(len(d.opts.Schema)) {
		return fmt.Errorf("%w (%d, known: %d)", ErrNewer, version, len(d.opts.Schema))
	}
	pragmas := []string{"journal_mode=WAL"}
	if d.opts.WALPages > 0 {
		pragmas = append(pragmas, fmt.Sprintf("wal_autocheckpoint=%d", d.opts.WALPages))
	}
	for _, p := range append(pragmas, d.opts.Pragmas...) {
		if err := pragma(c, p); err != nil {
			return err
		}
	}
	for v := int(version); v < len(d.opts.Schema); v++ {
		step := fmt.Sprintf("%s;\nPRAGMA application_id=%d;\nPRAGMA user_version=%d;", d.opts.Schema[v], d.opts.ApplicationID, v+1)
		if err := sqlitex.ExecuteScript(c, step, nil); err != nil {
			return err
		}
	}
	return nil
}

func pragma(c *sqlite.Conn, p string) error {
	return sqlitex.ExecuteTransient(c, "PRAGMA "+p, nil)
}

func number(c *sqlite.Conn, query string) (n int64, err error) {
	err = sqlitex.ExecuteTransient(c, query, &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
		n = s.ColumnInt64(0)
		return nil
	}})
	return n, err
}

// Write runs f in the writer's transaction and returns when that is durable. If f fails, what it did is undone, alone, and Write
// returns its error as it is; if f panics, so does Write, with the same. f must not keep the Tx, nor wait for another Write.
// If ctx ends before its turn, f is not run; once it has its turn, Write waits for the outcome.
func (d *DB) Write(ctx context.Context, f func(*Tx) error) error {
	w := &write{run: f, done: make(chan struct{})}
	if err := d.submit(ctx, w); err != nil {
		return err
	}
	if w.panicked != nil {
		panic(w.panicked)
	}
	return w.err
}

// submit has w run, by its own goroutine or another's; its error is why it was not.
func (d *DB) submit(ctx context.Context, w *write) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	if err := d.refusal(); err != nil {
		d.mu.Unlock()
		return err
	}
	if d.leading {
		d.queue = append(d.queue, w)
		d.mu.Unlock()
		if !d.wait(ctx, w) {
			return ctx.Err()
		}
		if !w.lead {
			return nil
		}
	} else {
		d.leading = true
		d.mu.Unlock()
	}
	d.lead(w)
	return nil
}

func (d *DB) refusal() error {
	if d.closed {
		return ErrClosed
	}
	return d.failed
}

// wait tells whether w was run or is to lead; false: ctx ended first and w left the queue.
func (d *DB) wait(ctx context.Context, w *write) bool {
	select {
	case <-w.done:
		return true
	case <-ctx.Done():
	}
	d.mu.Lock()
	for i, q := range d.queue {
		if q == w {
			d.queue = append(d.queue[:i], d.queue[i+1:]...)
			d.mu.Unlock()
			return false
		}
	}
	d.mu.Unlock()
	<-w.done
	return true
}

// lead runs one transaction for own and those waiting, wakes them, and hands leadership to the first that came meanwhile.
func (d *DB) lead(own *write) {
	d.mu.Lock()
	group := append([]*write{own}, d.queue[:min(len(d.queue), maxGroup-1)]...)
	d.queue = append([]*write(nil), d.queue[len(group)-1:]...)
	failed := d.failed
	d.mu.Unlock()

	if failed == nil {
		failed = d.commit(group)
	} else {
		abort(group, failed)
	}

	d.mu.Lock()
	d.failed = failed
	if len(d.queue) > 0 {
		next := d.queue[0]
		d.queue = d.queue[1:]
		next.lead = true
		close(next.done)
	} else {
		d.leading = false
		d.idle.Broadcast()
	}
	d.mu.Unlock()
	for _, w := range group[1:] {
		close(w.done)
	}
}

// commit runs the group in one transaction. Its error is not nil if the storage can be trusted no more: a sync that failed once is
// never retried, since the kernel may have dropped the pages (and will then report success).
func (d *DB) commit(group []*write) error {
	err := d.exec("BEGIN IMMEDIATE")
	if err == nil {
		err = d.runAll(group)
	}
	if err == nil {
		err = d.exec("COMMIT")
	}
	if err == nil {
		for _, w := range group {
			if w.err == nil {
				for _, f := range w.tx.committed {
					f()
				}
			}
		}
		return nil
	}
	err = classify(err)
	var stuck error
	if !d.writer.AutocommitEnabled() {
		if stuck = d.exec("ROLLBACK"); stuck != nil {
			stuck = fmt.Errorf("%w: %w: %w", ErrFailed, err, stuck)
		}
	}
	abort(group, err)
	if errors.Is(err, ErrFailed) || errors.Is(err, ErrCorrupt) {
		return err
	}
	return stuck // nil: no space, or another process has the lock; the next one may succeed
}

func abort(group []*write, err error) {
	for _, w := range group {
		if w.err == nil {
			w.undo(err)
		}
	}
}

func (w *write) undo(err error) {
	w.err = err
	for _, f := range w.tx.aborted {
		f()
	}
}

// runAll runs each function in a savepoint. Its error ends the whole transaction.
func (d *DB) runAll(group []*write) error {
	for _, w := range group {
		if err := d.exec("SAVEPOINT w"); err != nil {
			return err
		}
		w.tx.Conn = d.writer
		err := w.call()
		if err != nil && d.writer.AutocommitEnabled() {
			return err // SQLite itself rolled the transaction back: full, or an I/O error
		}
		if err != nil {
			if trouble := classify(err); errors.Is(trouble, ErrFailed) || errors.Is(trouble, ErrFull) || errors.Is(trouble, ErrCorrupt) {
				return err
			}
			if err := d.exec("ROLLBACK TO w"); err != nil {
				return err
			}
			w.undo(err)
		}
		if err := d.exec("RELEASE w"); err != nil {
			return err
		}
	}
	return nil
}

var errPanicked = errors.New("panic") // Write says which

// call is run; a panic is kept for the goroutine whose it is, since the one that leads has others to serve.
func (w *write) call() (err error) {
	defer func() {
		if w.panicked = recover(); w.panicked != nil {
			err = errPanicked
		}
	}()
	return w.run(&w.tx)
}

func (d *DB) exec(query string) error {
	stmt, err := d.writer.Prepare(query)
	if err != nil {
		return err
	}
	if _, err := stmt.Step(); err != nil {
		return errors.Join(err, stmt.Reset())
	}
	return stmt.Reset()
}

// Read runs f on a reading connection, in a transaction of its own: f sees one state of the database.
func (d *DB) Read(ctx context.Context, f func(*sqlite.Conn) error) (err error) {
	c, err := d.reader(ctx)
	if err != nil {
		return err
	}
	defer d.release(c)
	end := sqlitex.Transaction(c)
	defer func() { err = classify(err) }()
	defer end(&err)
	return f(c)
}

func (d *DB) reader(ctx context.Context) (*sqlite.Conn, error) {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil, ErrClosed
	}
	select {
	case c := <-d.readers:
		d.mu.Unlock()
		return c, nil
	default:
	}
	if d.opened < d.opts.Readers {
		d.opened++
		d.mu.Unlock()
		c, err := d.connect(sqlite.OpenReadOnly)
		if err != nil {
			d.notOpened()
		}
		return c, err
	}
	d.mu.Unlock()
	select {
	case c := <-d.readers:
		return c, nil
	case <-d.closing:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// notOpened takes back that a reader is open. A Close that began meanwhile counts on it: it gets nothing in its place.
func (d *DB) notOpened() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		d.readers <- nil
		return
	}
	d.opened--
}

func (d *DB) release(c *sqlite.Conn) {
	d.readers <- c
}

// Failed is the error after which the database takes no more writes; nil while all is well.
func (d *DB) Failed() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// Close waits for writers and readers under way, then closes. What comes later is ErrClosed.
func (d *DB) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	close(d.closing)
	for d.leading {
		d.idle.Wait()
	}
	n := d.opened
	d.mu.Unlock()
	var errs []error
	for range n {
		if c := <-d.readers; c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(append(errs, d.writer.Close())...)
}

// classify wraps an error of SQLite in one of ours; others are returned as they are.
func classify(err error) error {
	if err == nil {
		return nil
	}
	for e := range leaves(err) {
		switch code := sqlite.ErrCode(e); code.ToPrimary() {
		case sqlite.ResultFull:
			return fmt.Errorf("%w: %w", ErrFull, err)
		case sqlite.ResultIOErr:
			if code == sqlite.ResultIOErrSHMSize || strings.Contains(err.Error(), "no space left") {
				return fmt.Errorf("%w: %w", ErrFull, err)
			}
			return fmt.Errorf("%w: %w", ErrFailed, err)
		case sqlite.ResultCorrupt, sqlite.ResultNotADB:
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		case sqlite.ResultReadOnly, sqlite.ResultCantOpen, sqlite.ResultPerm:
			return fmt.Errorf("%w: %w", ErrFailed, err)
		}
	}
	return err
}

// leaves yields err and what it joins.
func leaves(err error) func(func(error) bool) {
	return func(yield func(error) bool) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				if !yield(e) {
					return
				}
			}
			return
		}
		yield(err)
	}
}
