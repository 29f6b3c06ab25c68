// Package index owns the file index.db beside a mailbox: which words are in which contents, so that a search opens few of them, and the
// words as people look for them, ranked.
//
// It must not know boxes, messages or accounts: contents are numbers, ascending as they come. What it says is derived from the mailbox and
// never needed: the file may be deleted at any time, and is when it is damaged or of another version.
//
// The flow: Batch.Add reads contents → Index.Commit stores them, with how far it got, in one transaction → Suspects and Fuzzy ask.
//
// Exact search. The texts of a content (mime.Scanner) are cut into words. A segment holds the words of some contents, ascending in one
// piece of text, and of each word which contents have it. To look for a string is to look for its words in that text, as octets: so parts of
// words are found too. The contents that have all of them are suspects, which the caller reads; it finds nothing elsewhere. Segments are
// merged as they become many, and contents that are gone are left out then.
//
// Locks and durability: one writer; readers do not wait for it. A commit is not synced, and a crash of the machine may lose the last ones,
// whole: a content is never known of without its words.
package index

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
)

const (
	applicationID = 0x50486978 // "PHix"
	readers       = 2
	cacheKiB      = 512 // of each connection
)

// version is that of how texts are collated and cut. An index of another is made anew.
const version = 1

// schema is described in docs/FORMATS.md.
var schema = []string{fmt.Sprintf(`
CREATE TABLE state(id INTEGER PRIMARY KEY CHECK(id = 1), version INTEGER NOT NULL, reached INTEGER NOT NULL);
INSERT INTO state VALUES(1, %d, 0);
CREATE TABLE known(content INTEGER PRIMARY KEY, mark INTEGER NOT NULL);
CREATE TABLE segment(
	id INTEGER PRIMARY KEY, contents INTEGER NOT NULL, gone INTEGER NOT NULL, size INTEGER NOT NULL, sum INTEGER NOT NULL,
	ids BLOB NOT NULL, words BLOB NOT NULL, groups BLOB NOT NULL, noise BLOB NOT NULL);
CREATE TABLE posting(segment INTEGER PRIMARY KEY, sum INTEGER NOT NULL, data BLOB NOT NULL);
CREATE VIRTUAL TABLE fuzzy USING fts5(
	subject, sender, receiver, copied, blind, body,
	content='', contentless_delete=1, tokenize='unicode61 remove_diacritics 2');
`, version)}

// Index is an open index. All methods may be called from many goroutines.
type Index struct{ db *db.DB }

// Open opens the index of that path, or makes it. One that is damaged or was made otherwise is made anew, empty.
func Open(path string) (*Index, error) {
	x, err := open(path)
	if IsDamage(err) {
		if err = Remove(path); err == nil {
			x, err = open(path)
		}
	}
	return x, err
}

func open(path string) (*Index, error) {
	d, err := db.Open(db.Options{
		Path: path, ApplicationID: applicationID, Schema: schema, Readers: readers, CacheKiB: cacheKiB,
		Pragmas: []string{"synchronous=NORMAL"},
	})
	if err != nil {
		return nil, err
	}
	x := &Index{d}
	err = x.checkVersion()
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return x, nil
}

// IsDamage tells whether an error means that the index is to be made anew.
func IsDamage(err error) bool {
	for _, damage := range []error{ErrDamaged, db.ErrCorrupt, db.ErrForeign, db.ErrNewer} {
		if errors.Is(err, damage) {
			return true
		}
	}
	return false
}

// Remove deletes an index that is not open; it may be none.
func Remove(path string) error {
	var errs []error
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (x *Index) checkVersion() error {
	return x.db.Read(context.Background(), func(c *sqlite.Conn) error {
		made, err := number(c, "SELECT version FROM state")
		if err == nil && made != version {
			return ErrDamaged
		}
		return err
	})
}

// Close waits for what is under way.
func (x *Index) Close() error { return x.db.Close() }

// Reach is how far an index has got: what it says of other contents than those means nothing.
type Reach struct {
	To    int64          // all contents up to it that are there
	Ahead map[int64]bool // and those after it
}

// Has tells whether the content is indexed.
func (r *Reach) Has(id int64) bool { return id <= r.To || r.Ahead[id] }

// Last is the last content indexed.
func (r *Reach) Last() int64 {
	last := r.To
	for id := range r.Ahead {
		last = max(last, id)
	}
	return last
}

// Reach is how far it has got.
func (x *Index) Reach(ctx context.Context) (r Reach, err error) {
	err = x.db.Read(ctx, func(c *sqlite.Conn) (err error) {
		r, err = readReach(c)
		return err
	})
	return r, err
}

func readReach(c *sqlite.Conn) (r Reach, err error) {
	if r.To, err = number(c, "SELECT reached FROM state"); err != nil {
		return r, err
	}
	r.Ahead = make(map[int64]bool)
	return r, rows(c, "SELECT content FROM known WHERE content > ?", func(s *sqlite.Stmt) error {
		r.Ahead[s.ColumnInt64(0)] = true
		return nil
	}, r.To)
}

// Mark is that of an indexed content; false: it is not indexed.
func (x *Index) Mark(ctx context.Context, id int64) (mark int64, known bool, err error) {
	err = x.db.Read(ctx, func(c *sqlite.Conn) error {
		return rows(c, "SELECT mark FROM known WHERE content = ?", func(s *sqlite.Stmt) error {
			mark, known = s.ColumnInt64(0), true
			return nil
		}, id)
	})
	return mark, known, err
}

// Known are the next contents of the index after one, ascending, at most so many.
func (x *Index) Known(ctx context.Context, after int64, most int) (ids []int64, err error) {
	err = x.db.Read(ctx, func(c *sqlite.Conn) error {
		return rows(c, "SELECT content FROM known WHERE content > ? ORDER BY content LIMIT ?", func(s *sqlite.Stmt) error {
			ids = append(ids, s.ColumnInt64(0))
			return nil
		}, after, int64(most))
	})
	return ids, err
}

// Suspects are the contents that may have a text.
type Suspects struct {
	Reach
	found set // by ID
	all   bool
}

// Has tells whether the content may have the text: it has all its words, or is not indexed.
func (s *Suspects) Has(id int64) bool { return s.all || !s.Reach.Has(id) || s.found.has(id) }

// maxID is the last content that a suspect is told from others by; each search holds a bit for each up to there.
const maxID = 1 << 26

// Suspects are those of each of the texts, which are collated (mime.AppendCollated).
func (x *Index) Suspects(ctx context.Context, texts ...[]byte) ([]Suspects, error) {
	answers := make([]Suspects, len(texts))
	wanted := make([][]term, len(texts))
	for i, text := range texts {
		wanted[i] = terms(text)
		answers[i].all = len(wanted[i]) == 0
	}
	err := x.db.Read(ctx, func(c *sqlite.Conn) error {
		reach, err := readReach(c)
		if err != nil {
			return err
		}
		for i := range answers {
			answers[i].Reach = reach
		}
		return eachSegment(c, func(id int64, s *segment) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return ask(c, id, s, wanted, answers)
		})
	})
	return answers, err
}

// ask asks a segment.
func ask(c *sqlite.Conn, id int64, s *segment, wanted [][]term, answers []Suspects) error {
	for i := range answers {
		a := &answers[i]
		if a.all {
			continue
		}
		found, err := s.suspects(wanted[i], func() error { return s.readPostings(c, id) })
		if err != nil {
			return err
		}
		found.each(func(k int) {
			if id := s.ids[k]; id > maxID {
				a.all = true
			} else {
				a.found.put(int(id))
			}
		})
	}
	return nil
}

// eachSegment reads the segments one after the other, without their postings. What they are slices of is used again for the next.
func eachSegment(c *sqlite.Conn, each func(id int64, s *segment) error) error {
	var arena []byte
	return rows(c, "SELECT id, contents, sum, ids, words, groups, noise FROM segment", func(st *sqlite.Stmt) error {
		s, err := readSegment(st, &arena)
		if err != nil {
			return err
		}
		return each(st.ColumnInt64(0), s)
	})
}

// readSegment reads id, contents, sum, ids, words, groups, noise.
func readSegment(st *sqlite.Stmt, arena *[]byte) (*segment, error) {
	size := 0
	for column := 3; column <= 6; column++ {
		size += st.ColumnLen(column)
	}
	if cap(*arena) < size {
		*arena = make([]byte, size, size+size/4)
	}
	var columns [4][]byte
	rest := (*arena)[:size]
	for i := range columns {
		n := st.ColumnBytes(3+i, rest)
		columns[i], rest = rest[:n:n], rest[n:]
	}
	s := &segment{words: columns[1], groups: columns[2], noise: columns[3]}
	var ok bool
	s.ids, ok = parseIDs(columns[0])
	if !ok || int64(len(s.ids)) != st.ColumnInt64(1) || s.sum(columns[0]) != uint32(st.ColumnInt64(2)) ||
		len(s.words) == 0 || s.words[0] != separator || s.words[len(s.words)-1] != separator || len(s.groups)%8 != 0 {
		return nil, fmt.Errorf("%w: segment %d", ErrDamaged, st.ColumnInt64(0))
	}
	return s, nil
}

func (s *segment) readPostings(c *sqlite.Conn, id int64) error {
	err := rows(c, "SELECT sum, data FROM posting WHERE segment = ?", func(st *sqlite.Stmt) error {
		if s.postings = db.Bytes(st, 1); sumOf(s.postings) != uint32(st.ColumnInt64(0)) {
			return fmt.Errorf("%w: the postings of segment %d", ErrDamaged, id)
		}
		return nil
	}, id)
	if err == nil && s.postings == nil {
		err = fmt.Errorf("%w: segment %d has no postings", ErrDamaged, id)
	}
	return err
}

// appendIDs encodes contents as the steps between them.
func appendIDs(b []byte, ids []int64) []byte {
	last := int64(0)
	for _, id := range ids {
		b = binary.AppendVarint(b, id-last)
		last = id
	}
	return b
}

func parseIDs(b []byte) (ids []int64, ok bool) {
	last := int64(0)
	for len(b) > 0 {
		step, n := binary.Varint(b)
		if n <= 0 {
			return nil, false
		}
		last += step
		ids, b = append(ids, last), b[n:]
	}
	return ids, true
}
