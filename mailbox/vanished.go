package mailbox

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
)

// Expunges remembered for each box, in rows of one mutation each: one over maxGraves, and the oldest are forgotten.
const (
	maxGraves    = 2048
	forgetGraves = 256
)

var errUIDs = errors.New("not an encoded UID set")

// appendUIDs encodes a set: for each range the distance from the one before and its length.
func appendUIDs(b []byte, s UIDSet) []byte {
	last := UID(0)
	for _, r := range s {
		b = binary.AppendUvarint(b, uint64(r.First-last))
		b = binary.AppendUvarint(b, uint64(r.Last-r.First))
		last = r.Last
	}
	return b
}

// parseUIDs appends the ranges to s.
func parseUIDs(s UIDSet, b []byte) (UIDSet, error) {
	last := uint64(0)
	for len(b) > 0 {
		step, n := binary.Uvarint(b)
		length, m := binary.Uvarint(b[max(n, 0):])
		first := last + step
		if n <= 0 || m <= 0 || step == 0 || first > 1<<32-1 || length > 1<<32-1-first {
			return s, errUIDs
		}
		last = first + length
		s = append(s, UIDRange{UID(first), UID(last)})
		b = b[n+m:]
	}
	return s, nil
}

// bury records the messages that the change took out of the box.
func (c *change) bury(b *box) error {
	for _, uids := range c.gone[b.ID] {
		b.graves++
		err := db.Exec(c.conn, "INSERT INTO vanished VALUES(?, ?, ?, ?)", func(s *sqlite.Stmt) {
			db.Ints(int64(b.ID), int64(c.modseq), int64(uids[0].First))(s)
			s.BindBytes(4, appendUIDs(nil, uids))
		})
		if err != nil {
			return err
		}
	}
	if b.graves <= maxGraves {
		return nil
	}
	err := rows(c.conn, "SELECT modseq FROM vanished WHERE box = ? ORDER BY modseq LIMIT 1 OFFSET ?", func(s *sqlite.Stmt) error {
		b.known = ModSeq(s.ColumnInt64(0))
		return nil
	}, int64(b.ID), forgetGraves-1)
	if err != nil {
		return err
	}
	if err := exec(c.conn, "DELETE FROM vanished WHERE box = ? AND modseq <= ?", int64(b.ID), int64(b.known)); err != nil {
		return err
	}
	b.graves -= int64(c.conn.Changes())
	return nil
}

// Vanished is Account.
func (a *account) Vanished(ctx context.Context, id BoxID, since ModSeq) (gone UIDSet, complete bool, err error) {
	err = a.with(func(d *db.DB) error {
		return d.Read(ctx, func(conn *sqlite.Conn) error {
			known := ModSeq(-1)
			err := rows(conn, "SELECT known FROM box WHERE id = ? AND NOT noselect", func(s *sqlite.Stmt) error {
				known = ModSeq(s.ColumnInt64(0))
				return nil
			}, int64(id))
			if err != nil {
				return err
			}
			if known < 0 {
				return ErrNoBox
			}
			if complete = since >= known; !complete {
				return nil
			}
			return rows(conn, "SELECT uids FROM vanished WHERE box = ? AND modseq > ?", func(s *sqlite.Stmt) (err error) {
				if gone, err = parseUIDs(gone, db.Bytes(s, 0)); err != nil {
					return fmt.Errorf("%w: %w", ErrCorrupt, err)
				}
				return nil
			}, int64(id), int64(since))
		})
	})
	return gone.sorted(), complete, err
}

// sorted puts ranges in order and joins those that touch.
func (s UIDSet) sorted() UIDSet {
	slices.SortFunc(s, func(a, b UIDRange) int { return cmp.Compare(a.First, b.First) })
	out := s[:0]
	for _, r := range s {
		if n := len(out); n > 0 && r.First <= out[n-1].Last+1 && out[n-1].Last != ^UID(0) {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}
