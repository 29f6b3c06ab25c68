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
	for _, step := range [...]func(*sqlite.Conn) (bool, error){a.takeBack, a.deleteDead} {
		for more := true; more; {
			err := a.with(func(d *db.DB) error {
				return d.Write(context.Background(), func(tx *db.Tx) (err error) {
					more, err = step(tx.Conn)
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
func (a *account) takeBack(conn *sqlite.Conn) (more bool, err error) {
	var id int64
	var blobs []BlobID
	err = rows(conn, "SELECT id, blobs FROM garbage ORDER BY id LIMIT 1", func(s *sqlite.Stmt) (err error) {
		id = s.ColumnInt64(0)
		blobs, err = parseBlobs(columnBytes(s, 1))
		return err
	})
	if err != nil || id == 0 {
		return false, err
	}
	if err := countReferences(conn, blobs, -1); err != nil {
		return false, err
	}
	return true, exec(conn, "DELETE FROM garbage WHERE id = ?", id)
}

// One step of deleteDead.
const (
	sweepBlobs  = 256
	sweepChunks = 256
)

// deleteDead deletes contents without references, but those that are staged or being read.
func (a *account) deleteDead(conn *sqlite.Conn) (more bool, err error) {
	a.mu.RLock()
	limit := sweepBlobs + len(a.staged) + len(a.reading)
	a.mu.RUnlock()
	var dead []BlobID
	err = rows(conn, "SELECT blob FROM content WHERE refs = 0 ORDER BY blob LIMIT ?", func(s *sqlite.Stmt) error {
		if id := BlobID(s.ColumnInt64(0)); !a.isWanted(id) {
			dead = append(dead, id)
		}
		return nil
	}, int64(limit))
	chunks := 0
	for _, id := range dead {
		if err != nil || chunks >= sweepChunks {
			return true, err
		}
		var n int
		n, err = deleteContent(conn, id)
		chunks += n
	}
	return len(dead) >= sweepBlobs || chunks >= sweepChunks, err
}

// isWanted tells whether content without references is kept for now.
func (a *account) isWanted(id BlobID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.reading[id] > 0 {
		a.skipped = true
		return true
	}
	return a.staged[id] != nil
}

// deleteContent deletes a content; if it has many chunks, some of them.
func deleteContent(conn *sqlite.Conn, id BlobID) (chunks int, err error) {
	err = exec(conn, "DELETE FROM chunk WHERE key IN (SELECT key FROM chunk WHERE key BETWEEN ? AND ? LIMIT ?)",
		chunkKey(id, 0), chunkKey(id+1, 0)-1, sweepChunks)
	if chunks = conn.Changes(); err != nil || chunks == sweepChunks {
		return chunks, err
	}
	for _, query := range [...]string{
		"DELETE FROM facts WHERE blob = ?", "DELETE FROM header WHERE blob = ?", "DELETE FROM content WHERE blob = ?",
	} {
		if err := exec(conn, query, int64(id)); err != nil {
			return chunks, err
		}
	}
	return chunks, nil
}
