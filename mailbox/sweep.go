package mailbox

import (
	"context"
	"errors"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
)

// sweep has a goroutine delete what nobody refers to, if none does already.
func (a *account) sweep() {
	s := a.store
	a.mu.Lock()
	a.again = true
	running := a.sweeping
	a.sweeping = true
	a.mu.Unlock()
	if running {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	a.users++
	s.tasks.Go(func() {
		defer a.release()
		for a.nextSweep() {
			if err := a.sweepAll(); err != nil && !errors.Is(err, ErrClosed) {
				s.opts.Log.Error("mailbox: deleting old content", "account", a.id, "error", err)
			}
		}
	})
}

// nextSweep tells whether there is another round to make; if not, the sweeper has ended.
func (a *account) nextSweep() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sweeping = a.again
	a.again = false
	return a.sweeping
}

// sweepAll goes on until nothing is left. Each step is a transaction of its own, so that others get their turn.
func (a *account) sweepAll() error {
	for _, step := range [...]func(*db.Tx) (bool, error){a.forgetExpunged, takeBack, a.deleteDead} {
		for more := true; more; {
			err := a.with(func(d *db.DB) error {
				return d.Write(context.Background(), func(tx *db.Tx) (err error) {
					more, err = step(tx)
					return err
				})
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// takeBack takes back the references in one row of garbage.
func takeBack(tx *db.Tx) (more bool, err error) {
	var id int64
	var blobs []BlobID
	err = rows(tx.Conn, "SELECT id, blobs FROM garbage ORDER BY id LIMIT 1", func(s *sqlite.Stmt) (err error) {
		id = s.ColumnInt64(0)
		blobs, err = parseBlobs(db.Bytes(s, 1))
		return err
	})
	if err != nil || id == 0 {
		return false, err
	}
	if err := countReferences(tx.Conn, blobs, -1); err != nil {
		return false, err
	}
	return true, exec(tx.Conn, "DELETE FROM garbage WHERE id = ?", id)
}

// One step of deleteDead.
const (
	sweepBlobs  = 256
	sweepChunks = 256
)

// deleteDead deletes contents without references, but those that are staged or being read.
func (a *account) deleteDead(tx *db.Tx) (more bool, err error) {
	a.mu.RLock()
	limit := sweepBlobs + len(a.staged) + len(a.reading)
	a.mu.RUnlock()
	var dead []BlobID
	err = rows(tx.Conn, "SELECT blob FROM content WHERE refs = 0 ORDER BY blob LIMIT ?", func(s *sqlite.Stmt) error {
		dead = append(dead, BlobID(s.ColumnInt64(0)))
		return nil
	}, int64(limit))
	if err != nil {
		return false, err
	}
	dead = a.condemn(dead)
	tx.OnCommit(func() {
		a.pardon(dead)
		if len(dead) > 0 {
			a.noteGone(dead[0], dead[len(dead)-1])
			a.noteForIndex(len(dead))
		}
	})
	tx.OnAbort(func() { a.pardon(dead) })
	chunks := 0
	for _, id := range dead {
		if chunks >= sweepChunks {
			return true, nil
		}
		n, err := deleteContent(tx.Conn, id)
		if err != nil {
			return false, err
		}
		chunks += n
	}
	return len(dead) >= sweepBlobs || chunks >= sweepChunks, nil
}

// condemn picks those that nobody wants; until pardon nobody can open them, who might read rows that are about to go.
func (a *account) condemn(dead []BlobID) (unwanted []BlobID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range dead {
		switch {
		case a.reading[id] > 0:
			a.skipped = true
		case a.staged[id] == nil:
			a.dying[id] = true
			unwanted = append(unwanted, id)
		}
	}
	return unwanted
}

func (a *account) pardon(dead []BlobID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range dead {
		delete(a.dying, id)
	}
}

// deleteContent deletes a content; if it has many chunks, some of them, but always the rows by which it is found.
func deleteContent(conn *sqlite.Conn, id BlobID) (chunks int, err error) {
	for _, query := range [...]string{
		"DELETE FROM header WHERE blob = ?", "DELETE FROM facts WHERE blob = ?", "DELETE FROM search WHERE blob = ?", "DELETE FROM line_ends WHERE blob = ?",
	} {
		if err := exec(conn, query, int64(id)); err != nil {
			return 0, err
		}
	}
	err = exec(conn, "DELETE FROM chunk WHERE key IN (SELECT key FROM chunk WHERE key BETWEEN ? AND ? LIMIT ?)",
		chunkKey(id, 0), chunkKey(id+1, 0)-1, sweepChunks)
	if chunks = conn.Changes(); err != nil || chunks == sweepChunks {
		return chunks, err
	}
	return chunks, exec(conn, "DELETE FROM content WHERE blob = ?", int64(id))
}
