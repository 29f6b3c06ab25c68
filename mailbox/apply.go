package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
	"posthouse/mail"
)

// change is one Apply at work in the writer's transaction.
type change struct {
	*layer
	account *account
	user    mail.AccountID // who makes it; empty: the owner
	conn    *sqlite.Conn
	modseq  ModSeq // what it changes is numbered with it
	now     int64
	touched bool               // anything was changed
	taken   []BlobID           // staged content it used up
	doubles bool               // some of that was not needed
	dropped []BlobID           // a reference each that is gone
	kept    []Expunged         // messages that are gone and can be restored
	gone    map[BoxID][]UIDSet // messages taken out, by each mutation
}

// applyAs makes changes, by the owner or by another user, whose \Seen they change then.
func (a *account) applyAs(ctx context.Context, user mail.AccountID, changes []Mutation) (Applied, error) {
	var applied Applied
	err := a.with(func(d *db.DB) error {
		return d.Write(ctx, func(tx *db.Tx) (err error) {
			applied, err = a.apply(tx, user, changes)
			return err
		})
	})
	if err != nil {
		return Applied{}, err
	}
	return applied, nil
}

// apply runs inside the writer: alone, and in the order of commits.
func (a *account) apply(tx *db.Tx, user mail.AccountID, changes []Mutation) (Applied, error) {
	if a.uncommitted == 0 {
		a.pending = a.base.over()
	}
	c := &change{
		layer: a.pending.over(), account: a, user: user, conn: tx.Conn, now: a.store.opts.Clock().Unix(), gone: make(map[BoxID][]UIDSet),
	}
	c.modseq = c.counters.modseq + 1
	applied := Applied{Results: make([]Result, 0, len(changes))}
	for _, m := range changes {
		r, err := c.run(m)
		if err != nil {
			return Applied{}, err
		}
		applied.Results = append(applied.Results, r)
	}
	for _, m := range changes { // wherever it stands among them
		if w, ok := m.(Within); ok {
			if err := c.within(w); err != nil {
				return Applied{}, err
			}
		}
	}
	if c.touched {
		if err := c.write(); err != nil {
			return Applied{}, err
		}
	}
	for i := range applied.Results {
		if b := c.find(applied.Results[i].Box.ID); b != nil { // later mutations may have touched it
			applied.Results[i].Box = b.Box
		}
	}
	applied.ModSeq = c.counters.modseq
	c.hand(tx)
	return applied, nil
}

// hand gives the change to the transaction: what follows in it builds on the change, and its commit publishes it.
func (c *change) hand(tx *db.Tx) {
	a := c.account
	a.pending.absorb(c.layer)
	a.uncommitted++
	tx.OnCommit(func() {
		a.uncommitted--
		c.publish()
	})
	tx.OnAbort(func() { a.uncommitted-- })
}

// publish makes a durable change visible.
func (c *change) publish() {
	a := c.account
	a.mu.Lock()
	a.base.settle(c.layer)
	for _, id := range c.taken {
		a.unstage(id)
	}
	if c.touched {
		for w := range a.watchers {
			w.send(c.modseq)
		}
	}
	a.mu.Unlock()
	for id, b := range c.boxes {
		a.store.cache.note(a, id, b)
	}
	if len(c.dropped) > 0 || c.doubles || a.tooMuchKept(c.kept) {
		a.sweep()
	}
	a.store.changes.Add(1)
	a.noteForIndex(len(c.taken))
}

// run does one mutation.
func (c *change) run(m Mutation) (Result, error) {
	switch m := m.(type) {
	case CreateBox:
		return c.createBox(m)
	case RenameBox:
		return c.renameBox(m)
	case DeleteBox:
		return c.deleteBox(m)
	case Subscribe:
		return c.subscribe(m)
	case Unsubscribe:
		return c.unsubscribe(m)
	case Add:
		return c.add(m)
	case SetFlags:
		return c.setFlags(m)
	case Copy:
		return c.copyMessages(m)
	case Move:
		return c.moveMessages(m)
	case Expunge:
		return c.expunge(m)
	case Within:
		return Result{}, nil // see apply
	case SetAnnotation:
		return c.setAnnotation(m)
	case Restore:
		return c.restore(m)
	case Purge:
		return c.purge()
	case SetRights:
		return c.setRights(m)
	}
	return Result{}, fmt.Errorf("mailbox: a mutation of type %T is not known", m)
}

// selectable is the box with the ID, as it stands.
func (c *change) selectable(id BoxID) (*box, error) {
	b := c.find(id)
	if b == nil || b.NoSelect {
		return nil, ErrNoBox
	}
	return b, nil
}

// edit is the box for changing.
func (c *change) edit(id BoxID) *box {
	b := c.boxes[id]
	if b == nil {
		b = c.find(id).clone()
	}
	c.replace(b)
	return b
}

// replace makes b the state of its box.
func (c *change) replace(b *box) {
	c.boxes[b.ID] = b
	c.touched = true
	b.ModSeq = c.modseq
}

// write writes what the change made different.
func (c *change) write() error {
	c.counters.modseq = c.modseq
	for id, b := range c.boxes {
		if err := c.writeBox(id, b); err != nil {
			return err
		}
	}
	if err := errors.Join(c.writeGarbage(), c.writeKept()); err != nil {
		return err
	}
	n := c.counters
	return exec(c.conn, `INSERT INTO account VALUES(1, ?1, ?2, ?3, ?4)
		ON CONFLICT DO UPDATE SET modseq = ?1, uidvalidity = ?2, next_box = ?3, next_blob = ?4`,
		int64(n.modseq), int64(n.uidValidity), int64(n.nextBox), int64(n.nextBlob))
}

// writeBox writes a box's row, slabs and graves; nil: it is gone.
func (c *change) writeBox(id BoxID, b *box) error {
	old := c.under.find(id)
	if b == nil {
		return c.eraseBox(id, old)
	}
	if err := c.bury(b); err != nil {
		return err
	}
	if err := c.eraseUIDLs(id); err != nil {
		return err
	}
	if err := c.compact(b); err != nil {
		return err
	}
	if err := c.writeSlabs(b, old); err != nil {
		return err
	}
	if err := c.writeReaders(b); err != nil {
		return err
	}
	if old == nil || !sameLabels(b, old) {
		return c.writeWholeBox(b)
	}
	return exec(c.conn, `UPDATE box SET uidnext = ?, modseq = ?, known = ?, graves = ?, messages = ?, unseen = ?, deleted = ?, size = ?,
		deleted_size = ? WHERE id = ?`, int64(b.UIDNext), int64(b.ModSeq), int64(b.known), b.graves, b.Messages, b.Unseen, b.Deleted, b.Size,
		b.DeletedSize, int64(id))
}

// sameLabels tells whether two states of a box differ only in numbers.
func sameLabels(a, b *box) bool {
	return a.Name == b.Name && a.Special == b.Special && a.NoSelect == b.NoSelect && slices.Equal(a.keywords, b.keywords) && slices.Equal(a.ACL, b.ACL)
}

func (c *change) writeWholeBox(b *box) error {
	return db.Exec(c.conn, `INSERT OR REPLACE INTO box(id, name, special, noselect, keywords, uidvalidity, uidnext, modseq, known,
		graves, messages, unseen, deleted, size, deleted_size, acl) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, func(s *sqlite.Stmt) {
		s.BindInt64(1, int64(b.ID))
		s.BindText(2, b.Name)
		s.BindText(3, string(b.Special))
		s.BindBool(4, b.NoSelect)
		s.BindText(5, strings.Join(b.keywords, keywordSeparator))
		for i, n := range [...]int64{int64(b.UIDValidity), int64(b.UIDNext), int64(b.ModSeq), int64(b.known), b.graves,
			b.Messages, b.Unseen, b.Deleted, b.Size, b.DeletedSize} {
			s.BindInt64(6+i, n)
		}
		s.BindText(16, formatACL(b.ACL))
	})
}

func (c *change) eraseBox(id BoxID, old *box) error {
	if old == nil { // made and deleted by this very change
		return nil
	}
	if err := exec(c.conn, "DELETE FROM slab WHERE key BETWEEN ? AND ?", slabKey(id, 0), slabKey(id, ^UID(0))); err != nil {
		return err
	}
	if err := exec(c.conn, "DELETE FROM vanished WHERE box = ?", int64(id)); err != nil {
		return err
	}
	if err := eraseAnnotations(c.conn, id); err != nil {
		return err
	}
	if err := exec(c.conn, "DELETE FROM uidl WHERE box = ?", int64(id)); err != nil {
		return err
	}
	if len(old.readers) > 0 {
		if err := exec(c.conn, "DELETE FROM seen WHERE box = ?", int64(id)); err != nil {
			return err
		}
	}
	return exec(c.conn, "DELETE FROM box WHERE id = ?", int64(id))
}
