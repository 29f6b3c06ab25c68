package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"posthouse/internal/db"
	"posthouse/internal/vfs"
	"posthouse/mail"
)

const (
	// MaxInlineBody is the largest body kept in the database; a larger one is a file of its own.
	MaxInlineBody = 256 << 10
	applicationID = 0x706f7371 // "posq"
	databaseName  = "queue.db"
	largeName     = "large"
	defaultKeep   = 14 * 24 * time.Hour
	defaultOnce   = 24 * time.Hour
	defaultRows   = 1_000_000 // of history: some hundred MB
	maxOnce       = 1_000_000 // keys remembered at most, whatever KeepOnce says; the oldest are forgotten first
	cacheKiB      = 16 << 10
	walPages      = 8000 // a message that lives shorter than a checkpoint never reaches the database file
)

// Options say where a SQLite spool is and what it asks of others.
type Options struct {
	Dir string // holds queue.db and large/; made if missing
	FS  vfs.FS // of the large bodies; nil: the operating system's
	// Destination names where a recipient's mail goes next: recipients of one destination share a job. Never empty.
	// nil: the recipient's domain.
	Destination func(from mail.Address, to mail.Recipient) string
	KeepDead    time.Duration // how long a dead recipient keeps its message; 0: 14 days
	KeepHistory time.Duration // how long the story of a message is told after it left; 0: 14 days
	KeepOnce    time.Duration // how long a message's Envelope.Once is remembered; 0: 24 hours
	MaxHistory  int           // rows of stories, one for each settle, whatever KeepHistory says; 0: a million
	// Rescheduled is called after what is scheduled for an account changed, but not when a time came. nil: nobody wants to know.
	Rescheduled func(mail.AccountID)
	Log         *slog.Logger // nil: none
}

// SQLite is a Spool in one SQLite database.
type SQLite struct {
	opts   Options
	db     *db.DB
	bell   bell
	recent recent
	leases leases
	large  string // directory of the large bodies

	lastID, idLimit atomic.Uint64 // the last ID given, and the one that may not be given without reserving more
	epoch           atomic.Int64  // the last epoch given
	failed          atomic.Pointer[error]

	// Only writers touch these, and they take turns.
	lanes      lanes
	priorities priorities // those that a ready recipient may have

	stop    context.CancelFunc
	keepers sync.WaitGroup
}

var _ Spool = (*SQLite)(nil)

// OpenSQLite opens or makes a spool. Leases of an earlier run end, and what a crash left behind is put in order.
func OpenSQLite(o Options) (*SQLite, error) {
	o = withDefaults(o)
	s := &SQLite{opts: o, leases: newLeases(), lanes: lanes{known: make(map[lane]*progress)}, large: path.Join(filepath.ToSlash(o.Dir), largeName)}
	if err := s.makeDirectories(); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	if err := s.refuseBodiesAlone(); err != nil {
		return nil, err
	}
	d, err := db.Open(db.Options{
		Path:          filepath.Join(o.Dir, databaseName),
		ApplicationID: applicationID,
		Schema:        schema,
		CacheKiB:      cacheKiB,
		WALPages:      walPages,
	})
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	s.db = d
	if err := s.recover(context.Background()); err != nil {
		return nil, fmt.Errorf("spool: %s: %w", o.Dir, errors.Join(err, d.Close()))
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.keepers.Go(func() { s.keep(ctx) })
	return s, nil
}

func withDefaults(o Options) Options {
	if o.FS == nil {
		o.FS = vfs.OS{}
	}
	if o.Destination == nil {
		o.Destination = func(_ mail.Address, to mail.Recipient) string { return to.Address.Domain() }
	}
	if o.KeepDead == 0 {
		o.KeepDead = defaultKeep
	}
	if o.KeepHistory == 0 {
		o.KeepHistory = defaultKeep
	}
	if o.KeepOnce == 0 {
		o.KeepOnce = defaultOnce
	}
	if o.MaxHistory == 0 {
		o.MaxHistory = defaultRows
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// makeDirectories makes Dir where SQLite looks for it, and large/ where the bodies go.
func (s *SQLite) makeDirectories() error {
	if err := (vfs.OS{}).MkdirAll(s.opts.Dir); err != nil {
		return err
	}
	if err := s.opts.FS.MkdirAll(s.large); err != nil {
		return err
	}
	for _, dir := range []string{path.Dir(s.large), path.Dir(path.Dir(s.large))} {
		if err := s.opts.FS.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// Close is Spool.
func (s *SQLite) Close() error {
	s.stop()
	s.bell.close()
	s.keepers.Wait()
	return s.db.Close()
}

// Failed is the error after which nothing more is accepted; nil while all is well.
func (s *SQLite) Failed() error {
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return translate(s.db.Failed())
}

// fail remembers that the storage lost something: nothing is accepted from now on.
func (s *SQLite) fail(err error) error {
	err = fmt.Errorf("%w: %w", ErrFailed, err)
	s.failed.CompareAndSwap(nil, &err)
	return err
}

// write is the one way to change the database.
func (s *SQLite) write(ctx context.Context, f func(*db.Tx) error) error {
	if err := s.failed.Load(); err != nil {
		return *err
	}
	return translate(s.db.Write(ctx, f))
}

var translations = []struct{ from, to error }{
	{db.ErrFull, ErrFull},
	{db.ErrFailed, ErrFailed},
	{db.ErrCorrupt, ErrFailed},
	{db.ErrClosed, ErrClosed},
}

// translate says a database's error in the spool's words.
func translate(err error) error {
	for _, t := range translations {
		if errors.Is(err, t.from) {
			return fmt.Errorf("%w: %w", t.to, err)
		}
	}
	return err
}
