package mailbox

import (
	"context"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
)

const (
	keptRow     = 1000 // messages in a row of the table
	keptMessage = 512  // octets that a message counts for beside its own
	sweepKept   = 100  // rows that one step of the sweeper gives up
)

// ExpungedID names an Expunged for as long as it is kept; it is not given again.
type ExpungedID int64

// Expunged are messages that one change removed from a box, as they were.
type Expunged struct {
	ID       ExpungedID
	At       time.Time
	Box      string    // its name then
	Keywords []string  // as in Snapshot
	Messages []Message // ascending by UID

	box BoxID
}

// Restore and Purge are about messages that were expunged.
type (
	// Restore files expunged messages again, without Deleted, under new UIDs. Result.Source are those it found.
	Restore struct {
		ID   ExpungedID
		UIDs UIDSet // they had
		Into string // a box, made if need be; empty: the one where they were, or one of its name
	}
	// Purge forgets all that is kept of expunged messages.
	Purge struct{}
)

func (Restore) mutation() {}
func (Purge) mutation()   {}

// removed is what becomes of messages that a change took out of a box for good: kept for Restore, or their contents given up.
func (c *change) removed(b *box, messages []Message) {
	if c.account.store.opts.KeepExpunged == 0 {
		for i := range messages {
			c.dropped = append(c.dropped, messages[i].Blob)
		}
		return
	}
	for part := range slices.Chunk(messages, keptRow) {
		c.kept = append(c.kept, Expunged{Box: b.Name, Keywords: b.keywords, Messages: part, box: b.ID})
	}
}

// writeKept writes what the change keeps of what it expunged.
func (c *change) writeKept() error {
	for _, e := range c.kept {
		e.At = time.Unix(c.now, 0)
		if err := e.write(c.conn); err != nil {
			return err
		}
	}
	return nil
}

// write writes a new row, or one in the place of that with the ID.
func (e *Expunged) write(conn *sqlite.Conn) error {
	return db.Exec(conn, "INSERT OR REPLACE INTO expunged(id, at, box, name, keywords, size, data) VALUES(?, ?, ?, ?, ?, ?, ?)", func(s *sqlite.Stmt) {
		if s.BindNull(1); e.ID != 0 {
			s.BindInt64(1, int64(e.ID))
		}
		s.BindInt64(2, e.At.Unix())
		s.BindInt64(3, int64(e.box))
		s.BindText(4, e.Box)
		s.BindText(5, strings.Join(e.Keywords, keywordSeparator))
		s.BindInt64(6, e.size())
		s.BindBytes(7, appendSlab(nil, e.Messages))
	})
}

// size is what counts towards Options.MaxKept.
func (e *Expunged) size() (n int64) {
	for i := range e.Messages {
		n += e.Messages[i].Size + keptMessage
	}
	return n
}

// blobs are the contents of the messages, once for each.
func (e *Expunged) blobs() []BlobID {
	blobs := make([]BlobID, len(e.Messages))
	for i := range e.Messages {
		blobs[i] = e.Messages[i].Blob
	}
	return blobs
}

// Expunged is Account. Each is read by itself, so that no transaction is held while it is looked at.
func (a *account) Expunged(ctx context.Context) iter.Seq2[Expunged, error] {
	return func(yield func(Expunged, error) bool) {
		for last := ExpungedID(0); ; {
			var e Expunged
			err := a.with(func(d *db.DB) error {
				return d.Read(ctx, func(conn *sqlite.Conn) (err error) {
					e, err = readExpunged(conn, last+1, math.MaxInt64)
					return err
				})
			})
			if err != nil {
				yield(e, err)
				return
			}
			if e.ID == 0 || !yield(e, nil) {
				return
			}
			last = e.ID
		}
	}
}

// readExpunged is the first with an ID from first to last; without one if there is none.
func readExpunged(conn *sqlite.Conn, first, last ExpungedID) (e Expunged, err error) {
	err = rows(conn, "SELECT id, at, box, name, keywords, data FROM expunged WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1", func(s *sqlite.Stmt) (err error) {
		e = Expunged{ID: ExpungedID(s.ColumnInt64(0)), At: time.Unix(s.ColumnInt64(1), 0), box: BoxID(s.ColumnInt64(2)), Box: s.ColumnText(3)}
		if k := s.ColumnText(4); k != "" {
			e.Keywords = strings.Split(k, keywordSeparator)
		}
		e.Messages, err = parseSlab(db.Bytes(s, 5))
		return err
	}, int64(first), int64(last))
	return e, err
}

// restore files messages of a row again and leaves the others in it. Their references go with them.
func (c *change) restore(m Restore) (Result, error) {
	e, err := readExpunged(c.conn, m.ID, m.ID)
	if err != nil || e.ID == 0 {
		return Result{}, err
	}
	var back, rest []Message
	result := Result{}
	for _, message := range e.Messages {
		if !m.UIDs.Contains(message.UID) {
			rest = append(rest, message)
			continue
		}
		message.Flags &^= Deleted
		back = append(back, message)
		result.Source = result.Source.Append(message.UID)
	}
	if len(back) == 0 {
		return result, nil
	}
	to, err := c.restoreInto(&e, m.Into)
	if err != nil {
		return Result{}, err
	}
	result.Box, result.UIDValidity = to.Box, to.UIDValidity
	e.Messages = rest
	if len(rest) > 0 {
		err = e.write(c.conn)
	} else {
		err = exec(c.conn, "DELETE FROM expunged WHERE id = ?", int64(e.ID))
	}
	if err != nil {
		return Result{}, err
	}
	return c.transfer(back, result, e.Keywords, to.ID)
}

// restoreInto is the box that messages are filed in again.
func (c *change) restoreInto(e *Expunged, name string) (*box, error) {
	if b := c.find(e.box); name == "" && b != nil && !b.NoSelect {
		return b, nil
	}
	if name == "" {
		name = e.Box
	}
	name, err := CanonicalName(name)
	if err != nil {
		return nil, err
	}
	if b := c.byName(name); b != nil && !b.NoSelect {
		return b, nil
	}
	r, err := c.createBox(CreateBox{Name: name})
	if err != nil {
		return nil, err
	}
	return c.find(r.Box.ID), nil
}

// purge has the sweeper give up all that is kept.
func (c *change) purge() (Result, error) {
	c.touched = true
	err := rows(c.conn, "SELECT data FROM expunged", func(s *sqlite.Stmt) error {
		messages, err := parseSlab(db.Bytes(s, 0))
		e := Expunged{Messages: messages}
		c.dropped = append(c.dropped, e.blobs()...)
		return err
	})
	if err != nil {
		return Result{}, err
	}
	return Result{}, exec(c.conn, "DELETE FROM expunged")
}

// tooMuchKept counts what a change keeps, and tells whether the sweeper must look at it.
func (a *account) tooMuchKept(more []Expunged) bool {
	var size int64
	for i := range more {
		size += more[i].size()
	}
	return size > 0 && (a.kept.Add(size) > a.store.opts.MaxKept || a.due.Load() == 0)
}

// forgetExpunged gives up the oldest rows that are kept, if their time is over or there is too much, and takes their references back.
func (a *account) forgetExpunged(tx *db.Tx) (more bool, err error) {
	total, err := sumKept(tx.Conn)
	if err != nil {
		return false, err
	}
	opts := &a.store.opts
	for range sweepKept {
		e, err := readExpunged(tx.Conn, 1, math.MaxInt64)
		if err != nil {
			return false, err
		}
		if due := e.At.Add(opts.KeepExpunged); e.ID == 0 || total <= opts.MaxKept && due.After(opts.Clock()) {
			a.kept.Store(total)
			a.due.Store(0)
			if e.ID != 0 {
				a.due.Store(due.Unix())
			}
			return false, nil
		}
		if err := countReferences(tx.Conn, e.blobs(), -1); err != nil {
			return false, err
		}
		if err := exec(tx.Conn, "DELETE FROM expunged WHERE id = ?", int64(e.ID)); err != nil {
			return false, err
		}
		total -= e.size()
	}
	return true, nil
}

// sumKept is what all that is kept counts.
func sumKept(conn *sqlite.Conn) (total int64, err error) {
	err = rows(conn, "SELECT sum(size) FROM expunged INDEXED BY expunged_age", func(s *sqlite.Stmt) error {
		total = s.ColumnInt64(0)
		return nil
	})
	return total, err
}

// sweepDue has the sweepers of accounts in use forget what was kept for long enough.
func (s *SQLite) sweepDue() {
	now := s.opts.Clock().Unix()
	var due []*account
	s.mu.Lock()
	for _, a := range s.accounts {
		if at := a.due.Load(); at != 0 && at <= now {
			due = append(due, a)
		}
	}
	s.mu.Unlock()
	for _, a := range due {
		a.sweep()
	}
}
