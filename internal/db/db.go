// Package db opens SQLite databases the one way this house uses them: WAL, synchronous=FULL, a single writer that puts everything
// waiting into one transaction and one fdatasync, and pooled readers that never wait for it.
//
// It knows no mail. Whoever writes first while nobody does becomes the leader: it runs its own function and those that queue up
// meanwhile, commits once, wakes them, and hands on. So a lone writer pays no hand-over, and sixty share one sync. Where several write again
// and again, it waits a moment for those that are about to.
package db

import (
	"errors"
	"fmt"
	"os"
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
	maxPatience    = 100 * time.Microsecond // that a leader waits for others, or half of what the last commit took: less than it saves them
	maxYields      = 1000                   // times that it lets others run meanwhile
	busyTimeout    = 10 * time.Second       // only another process (a backup, a person's sqlite3) can make us wait

	defaultWALPages = 1000
	walSlack        = 4           // how many times what a commit checkpoints the WAL may grow to before it is emptied
	trimEvery       = 64          // commits: how often its size is looked at
	trimTimeout     = time.Second // for readers under way
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
	opts   Options
	writer *sqlite.Conn // the leader's
	// walLimit is the size of the WAL after which it is emptied, commits how many there were; the leader's too.
	walLimit int64
	commits  int
	readers  chan *sqlite.Conn
	closing  chan struct{} // closed when Close begins

	mu      sync.Mutex // guards what follows
	queue   []*write
	leading bool
	// expected is how many are to write in the next transaction, as far as can be known, and patience how long it waits for them.
	expected int
	patience time.Duration
	failed   error // sticky
	closed   bool
	opened   int // readers
	idle     *sync.Cond
}

// Open opens or makes a database and brings its format up to date.
func Open(o Options) (*DB, error) {
	if o.Readers == 0 {
		o.Readers = defaultReaders
	}
	d := &DB{opts: o, readers: make(chan *sqlite.Conn, o.Readers), closing: make(chan struct{})}
	d.idle = sync.NewCond(&d.mu)
	d.walLimit = d.leastWALLimit()
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
	pragmas := []string{"journal_mode=WAL", fmt.Sprintf("journal_size_limit=%d", d.leastWALLimit())}
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
	if version < int64(len(d.opts.Schema)) { // It holds a page of each new table, and needs few of them soon.
		return pragma(c, "shrink_memory")
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
