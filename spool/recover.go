package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
	"posthouse/mail"
)

// bodyMissing is the last reply of the recipients of a message whose large body is not there.
const bodyMissing = "the message's body is missing in the spool"

// recover puts in order what the last run left: it removes the large bodies that no row speaks of, and marks dead the
// messages whose large body is missing.
func (s *SQLite) recover(ctx context.Context) error {
	if err := s.write(ctx, s.begin); err != nil {
		return err
	}
	bodies, err := s.largeBodies()
	if err != nil {
		return err
	}
	var missing []mail.ID
	err = s.db.Read(ctx, func(c *sqlite.Conn) error {
		q := prepare(c, "SELECT id FROM message INDEXED BY message_large WHERE large")
		for q.next() {
			id := mail.ID(q.stmt.ColumnInt64(0))
			if !bodies[id] {
				missing = append(missing, id)
			}
			delete(bodies, id)
		}
		return q.done()
	})
	if err != nil {
		return err
	}
	for id := range bodies {
		s.opts.Log.Info("spool: removing the body of a message that was never accepted, or left", "mid", id)
		s.removeLarge(id)
	}
	for _, id := range missing {
		s.opts.Log.Error("spool: "+bodyMissing+"; its recipients are dead", "mid", id)
		if err := s.write(ctx, func(tx *db.Tx) error { return s.bury(tx, id) }); err != nil {
			return err
		}
	}
	return nil
}

// refuseBodiesAlone keeps the bodies of a spool whose database is gone: a new one would know none of them, and have them swept.
func (s *SQLite) refuseBodiesAlone() error {
	if info, err := os.Stat(filepath.Join(s.opts.Dir, databaseName)); err == nil && info.Size() > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	bodies, err := s.largeBodies()
	if err == nil && len(bodies) > 0 {
		err = fmt.Errorf("%w: %s has %d of them. Put %s back from a copy, or move them away", ErrBodiesAlone, s.large, len(bodies), databaseName)
	}
	return err
}

// begin is the first transaction of a run.
func (s *SQLite) begin(tx *db.Tx) error {
	var err error
	if s.priorities, err = readPriorities(tx.Conn); err != nil {
		return err
	}
	if err := prepare(tx.Conn, "UPDATE meta SET value = value + 1 WHERE name = 'opens'").run(); err != nil {
		return err
	}
	opens, _, err := prepare(tx.Conn, "SELECT value FROM meta WHERE name = 'opens'").number()
	if err != nil {
		return err
	}
	next, ok, err := prepare(tx.Conn, "SELECT value FROM meta WHERE name = 'next_id'").number()
	if err != nil {
		return err
	}
	if !ok || opens == 0 {
		return fmt.Errorf("%w: its meta table lacks rows", db.ErrCorrupt)
	}
	s.epoch.Store(opens << epochBits)
	s.lastID.Store(uint64(next) - 1)
	s.idLimit.Store(uint64(next))
	return nil
}

// largeBodies are the files of large/. What is not named by an ID is not ours, and stays.
func (s *SQLite) largeBodies() (map[mail.ID]bool, error) {
	entries, err := s.opts.FS.ReadDir(s.large)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	bodies := make(map[mail.ID]bool, len(entries))
	for _, e := range entries {
		id, err := mail.ParseID(e.Name())
		if err != nil {
			s.opts.Log.Warn("spool: not a file of ours", "file", path.Join(s.large, e.Name()))
			continue
		}
		bodies[id] = true
	}
	return bodies, nil
}

// bury makes every recipient of a message dead that is not done.
func (s *SQLite) bury(tx *db.Tx, id mail.ID) error {
	e, err := s.show(tx.Conn, id)
	if err != nil {
		return err
	}
	now, buried := time.Now(), false
	for _, before := range e.Recipients {
		if before.State >= Dead {
			continue
		}
		after := before
		after.State, after.Due, after.LastReply = Dead, now.Add(s.opts.KeepDead), bodyMissing
		if _, err := replace(tx.Conn, id, before, after); err != nil {
			return err
		}
		buried = true
	}
	if !buried {
		return nil
	}
	_, err = s.conclude(tx, id, []Event{{now, eventFailed, wholeMessage, bodyMissing}})
	return err
}
