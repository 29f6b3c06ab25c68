package index

import (
	"context"
	"fmt"
	"math/bits"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
)

// Segments of a tier are of about the same size; when there are enough they are merged into one of the next. So a content is written
// anew three times, and there are about twenty segments beside those of the last tier.
const (
	tierBits   = 3             // a tier's segments have up to eight times as many contents as those of the one before
	mergeMany  = 1 << tierBits // segments that are merged
	lastTier   = 3             // from 512 contents on
	maxSegment = 3 << 20       // octets of a segment that is not merged any more
	maxMerged  = 12 << 20      // octets that are merged at a time
)

type listed struct{ id, contents, gone, size int64 }

func (l listed) tier() int {
	if l.size >= maxSegment {
		return lastTier
	}
	return min((bits.Len64(uint64(l.contents))-1)/tierBits, lastTier)
}

// Tidy merges some segments, and tells whether there is more to do.
func (x *Index) Tidy(ctx context.Context) (more bool, err error) {
	err = x.db.Write(ctx, func(tx *db.Tx) error {
		all, err := list(tx.Conn)
		if err != nil {
			return err
		}
		some := choose(all)
		if more = len(some) > 0; !more {
			return nil
		}
		return merge(tx.Conn, some)
	})
	return more, err
}

func list(c *sqlite.Conn) (all []listed, err error) {
	return all, rows(c, "SELECT id, contents, gone, size FROM segment ORDER BY id", func(s *sqlite.Stmt) error {
		all = append(all, listed{s.ColumnInt64(0), s.ColumnInt64(1), s.ColumnInt64(2), s.ColumnInt64(3)})
		return nil
	})
}

// choose picks what is to be merged: a segment of which half is gone, or the first of a tier that has enough.
func choose(all []listed) []listed {
	var tiers [lastTier][]listed
	for _, s := range all {
		if 2*s.gone >= s.contents {
			return []listed{s}
		}
		if t := s.tier(); t < lastTier {
			tiers[t] = append(tiers[t], s)
		}
	}
	for _, some := range tiers {
		if len(some) >= mergeMany {
			size := int64(0)
			for i, s := range some {
				if size += s.size; i > 1 && size > maxMerged {
					return some[:i]
				}
			}
			return some
		}
	}
	return nil
}

// merge makes one segment of some, without the contents that are gone.
func merge(c *sqlite.Conn, some []listed) error {
	b := newBuilder()
	for _, l := range some {
		if err := mergeOne(c, b, l.id); err != nil {
			return err
		}
	}
	for _, l := range some {
		for _, query := range [...]string{"DELETE FROM segment WHERE id = ?", "DELETE FROM posting WHERE segment = ?"} {
			if err := db.Exec(c, query, db.Ints(l.id)); err != nil {
				return err
			}
		}
	}
	if len(b.ids) == 0 {
		return nil
	}
	return writeSegment(c, b.segment())
}

func mergeOne(c *sqlite.Conn, b *builder, id int64) error {
	var s *segment
	const query = "SELECT id, contents, sum, ids, words, groups, noise FROM segment WHERE id = ?"
	err := rows(c, query, func(st *sqlite.Stmt) (err error) {
		var arena []byte
		s, err = readSegment(st, &arena)
		return err
	}, id)
	if err == nil && s == nil {
		err = fmt.Errorf("%w: segment %d is missing", ErrDamaged, id)
	}
	if err == nil {
		err = s.readPostings(c, id)
	}
	if err != nil {
		return err
	}
	known := make(map[int64]bool, len(s.ids))
	for _, id := range s.ids {
		err := rows(c, "SELECT 1 FROM known WHERE content = ?", func(*sqlite.Stmt) error { known[id] = true; return nil }, id)
		if err != nil {
			return err
		}
	}
	return b.merge(s, func(id int64) bool { return known[id] })
}

// Forget takes contents out that are gone: of the ranking at once, of segments when they are merged.
func (x *Index) Forget(ctx context.Context, ids ...int64) error {
	gone := make(map[int64]bool, len(ids))
	return x.db.Write(ctx, func(tx *db.Tx) error {
		for _, id := range ids {
			gone[id] = true
			for _, query := range [...]string{"DELETE FROM known WHERE content = ?", "DELETE FROM fuzzy WHERE rowid = ?"} {
				if err := db.Exec(tx.Conn, query, db.Ints(id)); err != nil {
					return err
				}
			}
		}
		counts := make(map[int64]int64)
		err := rows(tx.Conn, "SELECT id, ids FROM segment", func(s *sqlite.Stmt) error {
			held, _ := parseIDs(db.Bytes(s, 1))
			for _, id := range held {
				if gone[id] {
					counts[s.ColumnInt64(0)]++
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for id, n := range counts {
			if err := db.Exec(tx.Conn, "UPDATE segment SET gone = gone + ? WHERE id = ?", db.Ints(n, id)); err != nil {
				return err
			}
		}
		return nil
	})
}
