package mailbox

import (
	"context"
	"fmt"
	"strings"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
)

// Limits of annotations; one over is ErrLimit, ErrBoxName for names.
const (
	MaxAnnotations    = 1000     // of one box, and of the account itself
	MaxAnnotationName = 255      // octets
	MaxAnnotation     = 32 << 10 // octets of a value
)

// Annotation is an entry of a box, or of the account itself, with its value: RFC 5464.
type Annotation struct {
	Entry  string // in lower case
	Value  []byte // nil: it was taken away
	ModSeq ModSeq
}

// SetAnnotation sets an entry of a box, or with no box of the account itself; a nil value takes it away.
type SetAnnotation struct {
	Box   BoxID
	Entry string // compared without case
	Value []byte
}

func (SetAnnotation) mutation() {}

// isEntry is RFC 5464 §3.2: components between slashes, of printable ASCII but wildcards.
func isEntry(name string) bool {
	return len(name) <= MaxAnnotationName && strings.HasPrefix(name, "/") && !strings.HasSuffix(name, "/") && !strings.Contains(name, "//") &&
		!strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' || r == '*' || r == '%' })
}

// setAnnotation sets one. Those that are taken away stay as rows without a value, so that others hear of it.
func (c *change) setAnnotation(m SetAnnotation) (Result, error) {
	if m.Box != 0 {
		if _, err := c.selectable(m.Box); err != nil {
			return Result{}, err
		}
	}
	if !isEntry(m.Entry) {
		return Result{}, fmt.Errorf("%w: %q is no entry", ErrBoxName, m.Entry)
	}
	if len(m.Value) > MaxAnnotation {
		return Result{}, fmt.Errorf("%w: a value over %d octets", ErrLimit, MaxAnnotation)
	}
	c.touched = true
	err := execWith(c.conn, "INSERT OR REPLACE INTO annotation(box, entry, value, modseq) VALUES(?, ?, ?, ?)", func(s *sqlite.Stmt) {
		s.BindInt64(1, int64(m.Box))
		s.BindText(2, strings.ToLower(m.Entry))
		if m.Value == nil {
			s.BindNull(3)
		} else {
			s.BindBytes(3, m.Value)
		}
		s.BindInt64(4, int64(c.modseq))
	})
	if err != nil {
		return Result{}, err
	}
	var all, values int64
	err = rows(c.conn, "SELECT count(*), count(value) FROM annotation WHERE box = ?", func(s *sqlite.Stmt) error {
		all, values = s.ColumnInt64(0), s.ColumnInt64(1)
		return nil
	}, int64(m.Box))
	if err == nil && values > MaxAnnotations {
		err = fmt.Errorf("%w: over %d annotations", ErrLimit, MaxAnnotations)
	}
	if err == nil && all > 2*MaxAnnotations { // who has not heard by now hears nothing
		err = exec(c.conn, "DELETE FROM annotation WHERE box = ? AND value IS NULL AND modseq < ?", int64(m.Box), int64(c.modseq))
	}
	return Result{}, err
}

// Annotations is Account.
func (a *account) Annotations(ctx context.Context, box BoxID, since ModSeq) (list []Annotation, err error) {
	if a.mu.RLock(); box != 0 && a.base.find(box) == nil {
		err = ErrNoBox
	}
	if a.mu.RUnlock(); err != nil {
		return nil, err
	}
	return list, a.with(func(d *db.DB) error {
		return d.Read(ctx, func(conn *sqlite.Conn) error {
			list = nil
			return rows(conn, "SELECT entry, value, modseq FROM annotation WHERE box = ? AND modseq > ? ORDER BY entry", func(s *sqlite.Stmt) error {
				n := Annotation{Entry: s.ColumnText(0), ModSeq: ModSeq(s.ColumnInt64(2))}
				if !s.ColumnIsNull(1) {
					n.Value = columnBytes(s, 1)
				}
				list = append(list, n)
				return nil
			}, int64(box), int64(since))
		})
	})
}

// Annotated is Account.
func (a *account) Annotated(ctx context.Context, since ModSeq) (boxes []BoxID, latest ModSeq, err error) {
	err = a.with(func(d *db.DB) error {
		return d.Read(ctx, func(conn *sqlite.Conn) error {
			boxes, latest = nil, since
			return rows(conn, "SELECT box, max(modseq) FROM annotation WHERE modseq > ? GROUP BY box", func(s *sqlite.Stmt) error {
				boxes = append(boxes, BoxID(s.ColumnInt64(0)))
				latest = max(latest, ModSeq(s.ColumnInt64(1)))
				return nil
			}, int64(since))
		})
	})
	return boxes, latest, err
}

// eraseAnnotations forgets those of a box that is gone.
func eraseAnnotations(conn *sqlite.Conn, box BoxID) error {
	return exec(conn, "DELETE FROM annotation WHERE box = ?", int64(box))
}
