package mailbox

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"math"
	"path/filepath"
	"slices"
	"sync"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
	"posthouse/mailbox/index"
)

// indexName is the file of an account's index. What is in it can be made anew from the mailbox.
const indexName = "index.db"

// texts is an account's index. Its errors are logged and cost time: what it does not tell is looked for in the messages.
type texts struct {
	working sync.Mutex // held by who indexes

	mu    sync.Mutex   // guards what follows
	index *index.Index // nil: not open
	off   bool         // it failed, and is not tried again until the mailbox is opened anew
	told  bool         // of a failure
}

var (
	errNoIndex      = errors.New("mailbox: the account has no index")
	errForeignIndex = errors.New("mailbox: the index is of another mailbox")
)

// withIndex runs f with the account's databases. What goes wrong is logged.
func (a *account) withIndex(f func(*db.DB, *index.Index) error) error {
	err := a.with(func(d *db.DB) error {
		x, err := a.openIndex(d)
		if err != nil {
			return err
		}
		err = f(d, x)
		a.texts.failed(a, x, err)
		return err
	})
	a.logIndexing(err)
	return err
}

// logIndexing logs what keeps the index from being made or asked.
func (a *account) logIndexing(err error) {
	if err != nil && a.texts.tell(err) {
		a.store.opts.Log.Warn("mailbox: the index is not used", "account", a.id, "error", err)
	}
}

// tell tells whether an error is worth a line in the log, which has one for each time the mailbox is opened.
func (t *texts) tell(err error) bool {
	for _, usual := range []error{errNoIndex, ErrClosed, context.Canceled, context.DeadlineExceeded, index.ErrMoved} {
		if errors.Is(err, usual) {
			return false
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	told := t.told
	t.told = true
	return !told
}

// failed closes an index that is damaged, to be made anew once, or that takes no more writes.
func (t *texts) failed(a *account, x *index.Index, err error) {
	damaged := index.IsDamage(err)
	if !damaged && !errors.Is(err, db.ErrFailed) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.index != x {
		return
	}
	t.index, t.off = nil, t.told || !damaged
	_ = x.Close() // of what is to be forgotten
	if damaged {
		_ = index.Remove(a.indexPath()) // else it is met again
	}
}

func (a *account) indexPath() string { return filepath.Join(a.dir, indexName) }

// close closes the index; the next time it is tried again.
func (t *texts) close() (err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.index != nil {
		err = t.index.Close()
	}
	t.index, t.off, t.told = nil, false, false
	return err
}

// openIndex is the index, opened if need be, and made anew if it does not belong to the mailbox.
func (a *account) openIndex(d *db.DB) (*index.Index, error) {
	t := &a.texts
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case a.unindexed():
		return nil, cmp.Or(t.drop(a), errNoIndex)
	case t.index != nil:
		return t.index, nil
	case t.off:
		return nil, errNoIndex
	}
	x, err := a.openChecked(d)
	if errors.Is(err, errForeignIndex) || index.IsDamage(err) {
		if err = index.Remove(a.indexPath()); err == nil {
			x, err = index.Open(a.indexPath())
		}
	}
	if err != nil {
		t.off = true
		return nil, err
	}
	t.index = x
	a.noteGone(0, math.MaxInt64) // while it was closed, anything
	return x, nil
}

// unindexed tells whether the account is to have no index.
func (a *account) unindexed() bool {
	f := a.store.opts.Unindexed
	return f != nil && f(a.id)
}

// drop removes an index that is not to be, or is not any more; mu is held.
func (t *texts) drop(a *account) (err error) {
	if t.index != nil {
		err = t.index.Close()
		t.index = nil
	}
	return errors.Join(err, index.Remove(a.indexPath()))
}

// openChecked opens the index if it is of this mailbox. It is not if the mailbox was put back from a backup: then contents were indexed
// that are not there, or are others by now. Since numbers of contents ascend, the last that is in both tells.
func (a *account) openChecked(d *db.DB) (*index.Index, error) {
	x, err := index.Open(a.indexPath())
	if err != nil {
		return nil, err
	}
	if err := a.checkIndex(d, x); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}

func (a *account) checkIndex(d *db.DB, x *index.Index) error {
	ctx := context.Background()
	reach, err := x.Reach(ctx)
	if err != nil {
		return err
	}
	last := reach.Last()
	a.mu.RLock()
	next := a.nextBlob
	a.mu.RUnlock()
	if BlobID(last) >= next {
		return errForeignIndex
	}
	return d.Read(ctx, func(conn *sqlite.Conn) error {
		id, err := lastContent(conn, last, reach.Has)
		if err != nil || id == 0 {
			return err
		}
		indexed, known, err := x.Mark(ctx, int64(id))
		if err != nil {
			return err
		}
		mark, err := markOf(conn, id)
		if err == nil && (!known || mark != indexed) {
			err = errForeignIndex
		}
		return err
	})
}

// lastContent is the last content up to one that the index has; 0: none.
func lastContent(conn *sqlite.Conn, last int64, indexed func(int64) bool) (id BlobID, err error) {
	err = rows(conn, "SELECT blob FROM content WHERE blob <= ? AND refs > 0 ORDER BY blob DESC", func(s *sqlite.Stmt) error {
		if indexed(s.ColumnInt64(0)) {
			id = BlobID(s.ColumnInt64(0))
			return errFoundContent
		}
		return nil
	}, last)
	if errors.Is(err, errFoundContent) {
		err = nil
	}
	return id, err
}

var errFoundContent = errors.New("found")

// markOf tells a content from others: it is made of the checksums of its octets.
func markOf(conn *sqlite.Conn, id BlobID) (int64, error) {
	h := fnv.New64a()
	add := func(s *sqlite.Stmt) error {
		var b [8]byte
		for column := range s.ColumnCount() {
			binary.LittleEndian.PutUint64(b[:], uint64(s.ColumnInt64(column)))
			_, _ = h.Write(b[:])
		}
		return nil
	}
	err := rows(conn, "SELECT size, crc FROM header WHERE blob = ?", add, int64(id))
	if err == nil {
		err = rows(conn, "SELECT crc FROM chunk WHERE key BETWEEN ? AND ? ORDER BY key", add, chunkKey(id, 0), chunkKey(id+1, 0)-1)
	}
	return int64(h.Sum64()), err
}

// noteGone notes between which contents some are deleted.
func (a *account) noteGone(from, to BlobID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone.to == 0 {
		a.gone.from = from
	}
	a.gone.from, a.gone.to = min(a.gone.from, from), max(a.gone.to, to)
}

// takeGone takes what noteGone noted.
func (a *account) takeGone() (from, to BlobID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	from, to = a.gone.from, a.gone.to
	a.gone.from, a.gone.to = 0, 0
	return from, to
}

// pruneBatch is how many contents are compared at a time.
const pruneBatch = 1000

// prune takes out of the index what is not in the mailbox any more. What it fails to is found when the index is opened the next time.
func (a *account) prune() error {
	from, to := a.takeGone()
	for at := from - 1; at < to; {
		err := a.withIndex(func(d *db.DB, x *index.Index) error {
			known, err := x.Known(context.Background(), int64(at), pruneBatch)
			if err != nil || len(known) == 0 {
				at = to
				return err
			}
			at = BlobID(known[len(known)-1])
			err = d.Read(context.Background(), func(conn *sqlite.Conn) error {
				return rows(conn, "SELECT blob FROM content WHERE blob BETWEEN ? AND ? AND refs > 0 ORDER BY blob", func(s *sqlite.Stmt) error {
					if i, found := slices.BinarySearch(known, s.ColumnInt64(0)); found {
						known = slices.Delete(known, i, i+1)
					}
					return nil
				}, known[0], int64(at))
			})
			if err != nil || len(known) == 0 {
				return err
			}
			return x.Forget(context.Background(), known...)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
