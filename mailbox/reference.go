package mailbox

import (
	"encoding/binary"
	"fmt"
	"slices"

	"posthouse/internal/db"

	"zombiezen.com/go/sqlite"
)

// garbageRow is how many references one row of garbage holds: what one step of the sweeper takes back.
const garbageRow = 1000

// addReference makes one reference more to a content, and is its size. Staged content is written with its first.
func (c *change) addReference(blob BlobID) (size int64, err error) {
	a := c.account
	a.mu.RLock()
	s := a.staged[blob]
	a.mu.RUnlock()
	if s != nil && !c.isFiled(blob) {
		c.taken = append(c.taken, blob)
		c.filed[blob] = true
		c.counters.nextBlob = max(c.counters.nextBlob, blob+1)
		return s.size, s.write(c.conn, blob)
	}
	if err := exec(c.conn, "UPDATE content SET refs = refs + 1 WHERE blob = ? AND refs > 0", int64(blob)); err != nil {
		return 0, err
	}
	if c.conn.Changes() == 0 {
		return 0, ErrNoBlob
	}
	err = rows(c.conn, "SELECT size FROM header WHERE blob = ?", func(s *sqlite.Stmt) error {
		size = s.ColumnInt64(0)
		return nil
	}, int64(blob))
	return size, err
}

// countReferences adds delta to the references of each of the contents. It orders blobs.
func (c *change) countReferences(blobs []BlobID, delta int64) error {
	return countReferences(c.conn, blobs, delta)
}

// countReferences takes runs of consecutive contents at a time. One that is named twice is counted twice.
func countReferences(conn *sqlite.Conn, blobs []BlobID, delta int64) error {
	slices.Sort(blobs)
	for len(blobs) > 0 {
		again := blobs[:0]
		for i := 0; i < len(blobs); {
			first, last := blobs[i], blobs[i]
			for i++; i < len(blobs) && blobs[i] <= last+1; i++ {
				if blobs[i] == last {
					again = append(again, last)
				}
				last = blobs[i]
			}
			err := exec(conn, "UPDATE content SET refs = refs + ?3 WHERE blob BETWEEN ?1 AND ?2", int64(first), int64(last), delta)
			if err != nil {
				return err
			}
			if delta > 0 && conn.Changes() != int(last-first)+1 {
				return fmt.Errorf("%w: a content between %d and %d is missing", ErrCorrupt, first, last)
			}
		}
		blobs = again
	}
	return nil
}

// writeGarbage records the references that are gone; the sweeper takes them back. So an expunge costs little however much it removes.
func (c *change) writeGarbage() error {
	slices.Sort(c.dropped)
	for part := range slices.Chunk(c.dropped, garbageRow) {
		err := db.Exec(c.conn, "INSERT INTO garbage(at, blobs) VALUES(?, ?)", func(s *sqlite.Stmt) {
			s.BindInt64(1, c.now)
			s.BindBytes(2, appendBlobs(nil, part))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// appendBlobs encodes ascending BlobIDs as the steps between them.
func appendBlobs(b []byte, blobs []BlobID) []byte {
	last := BlobID(0)
	for _, id := range blobs {
		b = binary.AppendUvarint(b, uint64(id-last))
		last = id
	}
	return b
}

func parseBlobs(b []byte) (blobs []BlobID, err error) {
	last := BlobID(0)
	for len(b) > 0 {
		step, n := binary.Uvarint(b)
		if n <= 0 || step > 1<<62 {
			return nil, fmt.Errorf("%w: a row of garbage", ErrCorrupt)
		}
		last += BlobID(step)
		blobs = append(blobs, last)
		b = b[n:]
	}
	return blobs, nil
}
