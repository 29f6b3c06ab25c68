package mailbox

import (
	"context"
	"fmt"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
	"posthouse/mail"
)

// Snapshot is Account.
func (a *account) Snapshot(ctx context.Context, id BoxID) (*Snapshot, error) {
	b, err := a.current(id)
	if err != nil {
		return nil, err
	}
	snapshot := b.snapshot.Load()
	if snapshot == nil {
		var l look
		err = a.with(func(d *db.DB) (err error) {
			l, err = a.readLook(ctx, d, id, "")
			return err
		})
		snapshot = l.base
	}
	return snapshot, err
}

// current is a box as committed.
func (a *account) current(id BoxID) (*box, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	b := a.base.boxes[id]
	if b == nil || b.NoSelect {
		return nil, ErrNoBox
	}
	return b, nil
}

// readLook reads the slabs that are not in memory, and the user's marks. A commit that is being published just then makes the rows newer
// than the directory in memory; then it reads again in the writer's turn, before its commit: all earlier ones are published by then.
func (a *account) readLook(ctx context.Context, d *db.DB, id BoxID, user mail.AccountID) (l look, err error) {
	if l, err = a.tryLook(ctx, d, id, user); l.base != nil || err != nil {
		return l, err
	}
	writeErr := d.Write(ctx, func(*db.Tx) error {
		l, err = a.tryLook(ctx, d, id, user)
		return nil // what reading meets is not the transaction's trouble
	})
	if writeErr != nil {
		return look{}, writeErr
	}
	if l.base == nil && err == nil {
		err = fmt.Errorf("%w: the slabs of box %d are not what their directory says", ErrCorrupt, id)
	}
	return l, err
}

// tryLook is empty if the database is newer than the box in memory.
func (a *account) tryLook(ctx context.Context, d *db.DB, id BoxID, user mail.AccountID) (l look, err error) {
	b, err := a.current(id)
	if err != nil {
		return look{}, err
	}
	if user != "" {
		l.reader = b.readerOf(user)
	}
	if l.reader != nil {
		var fits bool
		if l.marks, fits, err = b.readMarks(ctx, d, l.reader); err != nil || !fits {
			return look{}, err
		}
	}
	slabs, missing := b.loaded()
	if missing > 0 {
		if slabs, err = readMissing(ctx, d, b, slabs); err != nil || slabs == nil {
			return look{}, err
		}
	}
	if l.base = b.snapshot.Load(); l.base == nil {
		l.base = NewSnapshot(b.Box, b.keywords, slabs)
	}
	if int64(l.base.Len()) != b.Messages {
		return look{}, fmt.Errorf("%w: box %d has %d messages, not %d", ErrCorrupt, id, l.base.Len(), b.Messages)
	}
	b.snapshot.Store(l.base)
	a.store.cache.note(a, id, b)
	return l, nil
}

// loaded are the slabs, nil those that are not in memory.
func (b *box) loaded() (slabs []*Slab, missing int) {
	slabs = make([]*Slab, len(b.slabs))
	for i, s := range b.slabs {
		if slabs[i] = s.messages.Load(); slabs[i] == nil {
			missing++
		}
	}
	return slabs, missing
}

// readMissing fills in slabs in one pass over their rows; nil: the database has others.
func readMissing(ctx context.Context, d *db.DB, b *box, slabs []*Slab) ([]*Slab, error) {
	first, last := 0, len(slabs)-1
	for slabs[first] != nil {
		first++
	}
	for slabs[last] != nil {
		last--
	}
	next := first
	fits := true
	err := d.Read(ctx, func(conn *sqlite.Conn) error {
		const query = "SELECT key, version, data FROM slab WHERE key BETWEEN ? AND ? ORDER BY key"
		var buf []byte
		return rows(conn, query, func(st *sqlite.Stmt) (err error) {
			s := b.slabs[min(next, last)]
			if fits = fits && next <= last && UID(st.ColumnInt64(0)) == s.key && ModSeq(st.ColumnInt64(1)) == s.version; !fits {
				return nil
			}
			if slabs[next] == nil {
				buf = append(buf[:0], make([]byte, st.ColumnLen(2))...)
				st.ColumnBytes(2, buf)
				messages, err := parseSlab(buf)
				if err != nil {
					return err
				}
				slabs[next] = &Slab{Messages: messages}
			}
			next++
			return nil
		}, slabKey(b.ID, b.slabs[first].key), slabKey(b.ID, b.slabs[last].key))
	})
	if err != nil || !fits || next != last+1 {
		return nil, err
	}
	for i := first; i <= last; i++ {
		if !b.slabs[i].messages.CompareAndSwap(nil, slabs[i]) { // somebody else was faster: share theirs
			if theirs := b.slabs[i].messages.Load(); theirs != nil {
				slabs[i] = theirs
			}
		}
	}
	return slabs, nil
}
