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

// Limits of annotations; one over is ErrLimit, ErrBoxName for names.
const (
	MaxAnnotations    = 1000     // of one box, and of the account itself, shared, and as many private ones of each user
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

// What users have below privateEntries is kept below usersEntries, each one's for himself; the owner's is where it says.
const (
	privateEntries = "/private"
	usersEntries   = "/user"
)

// entryOf is where an entry of a user is kept.
func entryOf(user mail.AccountID, entry string) string {
	if rest, private := strings.CutPrefix(entry, privateEntries+"/"); private && user != "" {
		return usersEntries + "/" + string(user) + "/" + rest
	}
	return entry
}

// entryFor is how a user sees an entry that is kept. False: not at all.
func entryFor(user mail.AccountID, kept string) (string, bool) {
	if user == "" {
		return kept, !strings.HasPrefix(kept, usersEntries+"/")
	}
	if rest, own := strings.CutPrefix(kept, usersEntries+"/"+string(user)+"/"); own {
		return privateEntries + "/" + rest, true
	}
	return kept, !strings.HasPrefix(kept, usersEntries+"/") && !strings.HasPrefix(kept, privateEntries+"/")
}

// scopeOf is what the entry that is kept is counted with, as a range of names: what is below the same first level, and of a user's the
// second.
func scopeOf(kept string) (from, to string) {
	levels := strings.SplitN(kept, "/", 4)
	n := 2
	if levels[1] == usersEntries[1:] {
		n = 3
	}
	scope := strings.Join(levels[:min(n, len(levels))], "/")
	return scope, scope + "0" // which is what follows "/"
}

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
	if m.Entry = strings.ToLower(m.Entry); !isEntry(m.Entry) || strings.HasPrefix(m.Entry, usersEntries+"/") {
		return Result{}, fmt.Errorf("%w: %q is no entry", ErrBoxName, m.Entry)
	}
	if len(m.Value) > MaxAnnotation {
		return Result{}, fmt.Errorf("%w: a value over %d octets", ErrLimit, MaxAnnotation)
	}
	c.touched = true
	kept := entryOf(c.user, m.Entry)
	err := db.Exec(c.conn, "INSERT OR REPLACE INTO annotation(box, entry, value, modseq) VALUES(?, ?, ?, ?)", func(s *sqlite.Stmt) {
		s.BindInt64(1, int64(m.Box))
		s.BindText(2, kept)
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
	return Result{}, c.countAnnotations(m.Box, kept)
}

// countAnnotations refuses one too many. Those that are taken away go where there are many: who has not heard by now hears nothing.
func (c *change) countAnnotations(box BoxID, kept string) error {
	from, to := scopeOf(kept)
	const scope = " FROM annotation WHERE box = ? AND entry >= ? AND entry < ?"
	s, err := c.conn.Prepare("SELECT count(*), count(value)" + scope)
	if err != nil {
		return err
	}
	bind := func(s *sqlite.Stmt) {
		s.BindInt64(1, int64(box))
		s.BindText(2, from)
		s.BindText(3, to)
	}
	bind(s)
	_, err = s.Step()
	all, values := s.ColumnInt64(0), s.ColumnInt64(1)
	err = errors.Join(err, s.Reset())
	if err == nil && values > MaxAnnotations {
		err = fmt.Errorf("%w: over %d annotations", ErrLimit, MaxAnnotations)
	}
	if err == nil && all > 2*MaxAnnotations {
		err = db.Exec(c.conn, "DELETE"+scope+" AND value IS NULL AND modseq < ?", func(s *sqlite.Stmt) {
			bind(s)
			s.BindInt64(4, int64(c.modseq))
		})
	}
	return err
}

// Annotations is Account.
func (h *handle) Annotations(ctx context.Context, box BoxID, since ModSeq) (list []Annotation, err error) {
	if h.account.mu.RLock(); box != 0 && h.base.find(box) == nil {
		err = ErrNoBox
	}
	if h.account.mu.RUnlock(); err != nil {
		return nil, err
	}
	err = h.with(func(d *db.DB) error {
		return d.Read(ctx, func(conn *sqlite.Conn) error {
			list = nil
			return rows(conn, "SELECT entry, value, modseq FROM annotation WHERE box = ? AND modseq > ?", func(s *sqlite.Stmt) error {
				entry, his := entryFor(h.user, s.ColumnText(0))
				if !his {
					return nil
				}
				n := Annotation{Entry: entry, ModSeq: ModSeq(s.ColumnInt64(2))}
				if !s.ColumnIsNull(1) {
					n.Value = db.Bytes(s, 1)
				}
				list = append(list, n)
				return nil
			}, int64(box), int64(since))
		})
	})
	slices.SortFunc(list, func(a, b Annotation) int { return strings.Compare(a.Entry, b.Entry) })
	return list, err
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
