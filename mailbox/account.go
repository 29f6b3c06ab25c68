package mailbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"posthouse/internal/db"
	"posthouse/internal/vfs"
	"posthouse/mail"
	"posthouse/mailbox/index"
)

// Options say how accounts are kept.
type Options struct {
	Dir       string // each account has DIR/xx/ID/mailbox.db
	MaxOpen   int    // mailboxes open at a time, with their indices, not counting those at work; 0: 1024
	CacheSize int64  // octets of messages' state held in memory, of all accounts; 0: 64 MiB
	// KeepExpunged is how long expunged messages can be restored; they are gone when it is over and the account is in use. 0: not at all.
	KeepExpunged time.Duration
	MaxKept      int64            // octets of such messages that an account keeps: the oldest go before their time. 0: 1 GiB
	Log          *slog.Logger     // nil: slog.Default
	Clock        func() time.Time // nil: time.Now
	// Unindexed tells of accounts whose texts must stand nowhere but in their messages, since these are encrypted at rest: they have no
	// index, and a search reads all messages. It is asked when a mailbox is opened, and whenever its index would be used. nil: none.
	Unindexed func(mail.AccountID) bool
}

const (
	defaultMaxOpen   = 1024
	defaultCacheSize = 64 << 20
	defaultMaxKept   = 1 << 30
	readers          = 3
	pageCacheKiB     = 1024 // of each connection
	maxAccountID     = 128  // octets: it is a file name
	fileName         = "mailbox.db"
)

// SQLite is a Store with one SQLite database for each account. Databases open when they are needed and close when they are not
// used any more, or others need the place; what is known of an account's boxes stays in memory as long as somebody uses the account.
type SQLite struct {
	opts   Options
	ticks  atomic.Int64 // orders the use of databases
	opened atomic.Int64 // len(open)
	staged atomic.Int64 // octets of staged content in memory
	cache  slabCache
	rows   rowCache
	codec  codec
	behind indexQueue
	// changes counts the commits of all accounts.
	changes atomic.Int64
	tasks   sync.WaitGroup // closeIdle, indexAll and the sweepers
	done    chan struct{}  // closed by Close

	mu       sync.Mutex // guards what follows; never held while files are touched
	accounts map[mail.AccountID]*account
	open     map[*account]struct{} // those with an open database
	closed   bool
}

// account is an account in memory.
//
// Locks: use is held for reading as long as the database is needed, for writing to open or close it. mu guards the rest for moments,
// and may be taken while use is held.
type account struct {
	store *SQLite
	id    mail.AccountID
	dir   string
	users int // handles, watchers, open contents; guarded by store.mu

	use    sync.RWMutex
	db     *db.DB // nil: not open
	closed bool
	used   atomic.Int64 // the tick of the last use
	due    atomic.Int64 // when kept messages are to be forgotten, seconds since 1970; 0: not known yet, or there are none
	kept   atomic.Int64 // what they come to, as far as it is known
	texts  texts        // open only with db
	// changed counts the contents that came or went since it was indexed.
	changed atomic.Int64
	behind  bool // it is in store.behind; guarded by that

	loading sync.Mutex
	loaded  bool // guarded by loading

	mu       sync.RWMutex // guards what follows; base is changed by commits only
	base     *layer
	nextBlob BlobID
	staged   map[BlobID]*staged
	reading  map[BlobID]int // open contents
	dying    map[BlobID]bool
	watchers map[*watcher]struct{}
	sweeping bool                      // the sweeper is at work
	again    bool                      // and has more to do
	skipped  bool                      // it left content that was being read
	gone     struct{ from, to BlobID } // between which contents some may be deleted that the index has; to 0: none

	pending     *layer // what the open transaction changed; nil: there was none yet; only the writer's
	uncommitted int    // changes in it; only the writer's
}

// OpenSQLite opens the accounts below a directory, which is made if need be.
func OpenSQLite(o Options) (*SQLite, error) {
	if o.MaxOpen == 0 {
		o.MaxOpen = defaultMaxOpen
	}
	if o.CacheSize == 0 {
		o.CacheSize = defaultCacheSize
	}
	if o.MaxKept == 0 {
		o.MaxKept = defaultMaxKept
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	if err := removeLeftovers(o.Dir); err != nil {
		return nil, err
	}
	s := &SQLite{opts: o, accounts: make(map[mail.AccountID]*account), open: make(map[*account]struct{}), done: make(chan struct{})}
	s.cache.init(o.CacheSize)
	s.rows = newRowCache()
	var err error
	if s.codec, err = newCodec(); err != nil {
		return nil, err
	}
	s.behind.wake = make(chan struct{}, 1)
	s.tasks.Go(s.closeIdle)
	s.tasks.Go(s.indexAll)
	return s, nil
}

// Account is Store.
func (s *SQLite) Account(ctx context.Context, id mail.AccountID) (Account, error) {
	return s.AccountAs(ctx, id, "")
}

// AccountAs is Store.
func (s *SQLite) AccountAs(ctx context.Context, id, user mail.AccountID) (Account, error) {
	if user == id {
		user = ""
	}
	a, err := s.retain(id)
	if err != nil {
		return nil, err
	}
	if err := a.load(ctx); err != nil {
		a.release()
		return nil, storageError(err)
	}
	return &handle{account: a, user: user}, nil
}

// retain finds or makes the account in memory, for one more user.
func (s *SQLite) retain(id mail.AccountID) (*account, error) {
	name := string(id)
	if name == "" || len(name) > maxAccountID || name[0] == '.' || strings.ContainsAny(name, "/\\\x00") {
		return nil, fmt.Errorf("mailbox: %q cannot be an account's ID", name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	a := s.accounts[id]
	if a == nil {
		sum := sha256.Sum256([]byte(name))
		a = &account{
			store: s, id: id, dir: filepath.Join(s.opts.Dir, hex.EncodeToString(sum[:1]), name),
			staged: make(map[BlobID]*staged), reading: make(map[BlobID]int), dying: make(map[BlobID]bool), watchers: make(map[*watcher]struct{}),
		}
		s.accounts[id] = a
	}
	a.users++
	return a, nil
}

// retain is for one more user of an account that has one.
func (a *account) retain() {
	a.store.mu.Lock()
	a.users++
	a.store.mu.Unlock()
}

// release lets go of an account. Without users it is forgotten when its database closes.
func (a *account) release() {
	s := a.store
	s.mu.Lock()
	defer s.mu.Unlock()
	a.users--
	if _, open := s.open[a]; a.users == 0 && !open && s.accounts[a.id] == a {
		s.forget(a)
	}
}

// forget drops an account that nobody uses; mu is held.
func (s *SQLite) forget(a *account) {
	delete(s.accounts, a.id)
	s.cache.forget(a)
	s.rows.forget(a)
	a.mu.Lock()
	for id := range a.staged {
		a.unstage(id)
	}
	a.mu.Unlock()
}

// with runs f with the account's database, which stays open meanwhile. f must not call with.
func (a *account) with(f func(*db.DB) error) error {
	if err := a.acquire(); err != nil {
		return storageError(err)
	}
	defer a.letGo()
	return storageError(f(a.db))
}

// acquire holds use for reading, the database open.
func (a *account) acquire() error {
	for {
		a.use.RLock()
		a.used.Store(a.store.ticks.Add(1))
		if a.db != nil && !a.closed {
			return nil
		}
		a.use.RUnlock()
		if err := a.openDB(); err != nil {
			return err
		}
	}
}

// letGo ends acquire.
func (a *account) letGo() {
	a.use.RUnlock()
	if a.store.opened.Load() > int64(a.store.opts.MaxOpen) {
		a.store.makeRoom()
	}
}

func (a *account) openDB() error {
	a.use.Lock()
	defer a.use.Unlock()
	if a.closed {
		return ErrClosed
	}
	if a.db != nil {
		return nil
	}
	if err := makeDir(a.dir); err != nil {
		return err
	}
	if a.unindexed() { // which it may be since it was open
		if err := index.Remove(a.indexPath()); err != nil {
			return err
		}
	}
	d, err := db.Open(db.Options{
		Path: filepath.Join(a.dir, fileName), ApplicationID: applicationID, Schema: schema, Readers: readers, CacheKiB: pageCacheKiB,
	})
	if err != nil {
		return err
	}
	a.db = d
	a.store.mu.Lock()
	a.store.open[a] = struct{}{}
	a.store.opened.Store(int64(len(a.store.open)))
	a.store.mu.Unlock()
	return nil
}

// closeDB closes the account's databases; use is held for writing.
func (a *account) closeDB() error {
	if a.db == nil {
		return nil
	}
	err := errors.Join(a.texts.close(), a.db.Close())
	a.db = nil
	return err
}

// makeDir makes an account's directory, durably, before there is a database in it.
func makeDir(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, fileName)); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for range 3 {
		if err := (vfs.OS{}).SyncDir(dir); err != nil {
			return err
		}
		dir = filepath.Dir(dir)
	}
	return nil
}

// Remove is Store. Those who still use the account get ErrClosed, and find that its boxes are gone.
func (s *SQLite) Remove(_ context.Context, id mail.AccountID) error {
	a, err := s.retain(id)
	if err != nil {
		return err
	}
	defer a.release()
	err = a.shut()
	a.empty()
	s.mu.Lock()
	s.forget(a)
	s.mu.Unlock()
	return errors.Join(err, removeDir(a.dir))
}

// empty is an account's end: whoever watches it looks, and finds nothing.
func (a *account) empty() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.base == nil { // it was not in use
		return
	}
	last := a.base.counters
	a.base = &layer{counters: last, boxes: make(map[BoxID]*box), names: make(map[string]BoxID), subscribed: make(map[string]bool)}
	for w := range a.watchers {
		w.send(last.modseq + 1)
	}
}

// removedMark is before the names of directories that are being removed; no account's ID begins with it.
const removedMark = "."

// removeDir removes an account's directory: first its name, at once, since half a database is worse than all or none of it.
func removeDir(dir string) error {
	parent, name := filepath.Split(dir)
	removed := filepath.Join(parent, removedMark+name)
	if err := os.RemoveAll(removed); err != nil {
		return err
	}
	if err := os.Rename(dir, removed); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	if err := (vfs.OS{}).SyncDir(parent); err != nil {
		return err
	}
	return os.RemoveAll(removed)
}

// removeLeftovers goes on with removals that a crash cut short.
func removeLeftovers(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, "*", removedMark+"*"))
	for _, name := range left {
		err = errors.Join(err, os.RemoveAll(name))
	}
	return err
}

// shut closes the account for good, once nobody needs its database.
func (a *account) shut() error {
	a.use.Lock()
	defer a.use.Unlock()
	a.closed = true
	a.store.forgetOpen(a)
	return a.closeDB()
}

// Close is Store.
func (s *SQLite) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.done)
	var accounts []*account
	for _, a := range s.accounts {
		accounts = append(accounts, a)
	}
	s.mu.Unlock()
	var errs []error
	for _, a := range accounts {
		errs = append(errs, a.shut())
	}
	s.tasks.Wait()
	return storageError(errors.Join(errs...))
}
