package mailbox

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"slices"
	"strings"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
	"posthouse/mail/mime"
)

// Facts are read in batches, so that whoever takes them slowly holds no transaction.
const (
	firstBatch = 16
	maxBatch   = 512
	maxArena   = 1 << 20 // octets after which a batch ends
	nearby     = 16      // rows that are stepped over rather than looked for anew
)

// factColumns are the columns of the table facts, as they stand in it.
var factColumns = [...]struct {
	want FactSet
	name string
	set  func(*Facts, []byte) error
}{
	{WantEnvelope, "envelope", func(f *Facts, b []byte) error { f.Envelope = b; return nil }},
	{WantBodyStructure, "structure", func(f *Facts, b []byte) error { f.BodyStructure = b; return nil }},
	{WantBody, "body", func(f *Facts, b []byte) error { f.Body = b; return nil }},
	{WantParts, "parts", func(f *Facts, b []byte) (err error) { f.Parts, err = mime.ParseParts(b); return err }},
}

// Facts that have tables of their own, which are quicker to go through.
const (
	inSearch = WantKeys | WantTexts
	inHeader = WantHeader | WantOctets
)

// Facts is Account.
func (a *account) Facts(ctx context.Context, want FactSet, blobs iter.Seq[BlobID]) iter.Seq2[*Facts, error] {
	if want != 0 && want&^inSearch == 0 {
		return a.rowFacts(ctx, want, blobs)
	}
	return func(yield func(*Facts, error) bool) {
		r := factReader{account: a, want: want, batch: firstBatch}
		for id := range blobs {
			if r.ids = append(r.ids, id); len(r.ids) >= r.batch && !r.drain(ctx, yield) {
				return
			}
		}
		r.drain(ctx, yield)
	}
}

// factReader reads batches of facts. What they are slices of is used again for the next batch.
type factReader struct {
	account *account
	want    FactSet
	batch   int
	ids     []BlobID
	facts   []Facts
	arena   []byte
	scratch []byte // what chunks are unpacked from
}

// drain yields the facts of ids; false: no more are wanted.
func (r *factReader) drain(ctx context.Context, yield func(*Facts, error) bool) bool {
	for len(r.ids) > 0 {
		if err := r.account.with(func(d *db.DB) error { return d.Read(ctx, r.read) }); err != nil {
			yield(nil, err)
			return false
		}
		for i := range r.facts {
			if !yield(&r.facts[i], nil) {
				return false
			}
		}
	}
	r.batch = min(4*r.batch, maxBatch)
	return true
}

// cursors are over the tables of facts.
type cursors struct{ facts, headers, search *cursor }

// read reads the facts of the first ids, until the arena is full.
func (r *factReader) read(conn *sqlite.Conn) (err error) {
	var c cursors
	open := func(dst **cursor, query string) {
		if err == nil {
			*dst, err = openCursor(conn, query)
		}
	}
	open(&c.facts, r.factsQuery())
	open(&c.headers, "SELECT blob, octets, size, crc FROM header WHERE blob >= ? ORDER BY blob")
	open(&c.search, "SELECT blob, keys, texts FROM search WHERE blob >= ? ORDER BY blob")
	defer func() {
		for _, c := range [...]*cursor{c.facts, c.headers, c.search} {
			if c != nil {
				err = errors.Join(err, c.close())
			}
		}
	}()
	if err != nil {
		return err
	}
	r.facts, r.arena = r.facts[:0], r.arena[:0]
	n := 0
	for ; n < len(r.ids) && len(r.arena) < maxArena; n++ {
		if err := r.readOne(&c, r.ids[n]); err != nil {
			return err
		}
	}
	r.ids = slices.Delete(r.ids, 0, n)
	return nil
}

// factsQuery asks for the columns that are wanted.
func (r *factReader) factsQuery() string {
	query := []string{"SELECT blob, size"}
	for _, c := range factColumns {
		if r.want&c.want != 0 {
			query = append(query, c.name)
		}
	}
	return strings.Join(query, ", ") + " FROM facts WHERE blob >= ? ORDER BY blob"
}

// readOne adds one content's facts, if it is known. The table of facts is left alone if the others have all that is wanted.
func (r *factReader) readOne(c *cursors, id BlobID) error {
	f := Facts{Blob: id}
	searched, err := false, error(nil)
	if r.want&inSearch != 0 {
		searched, err = r.readSearch(c.search, &f)
	}
	headed := false
	if r.want&inHeader != 0 && err == nil {
		headed, err = r.readHeader(c.headers, &f)
	}
	known := searched || headed
	if err == nil && (!known || r.want&^(inSearch|inHeader) != 0) {
		known, err = r.readFacts(c.facts, &f)
	}
	if err == nil && known {
		r.facts = append(r.facts, f)
	}
	return err
}

// readHeader reads the header, and what follows it if that is one chunk at most; false: the content is not known.
func (r *factReader) readHeader(c *cursor, f *Facts) (bool, error) {
	found, err := c.seek(f.Blob)
	if err != nil || !found {
		return false, err
	}
	f.Size = c.ColumnInt64(2)
	return true, r.readText(c, f)
}

// readText reads what a row of the table of headers is about.
func (r *factReader) readText(c *cursor, f *Facts) (err error) {
	if c.ColumnIsNull(1) {
		if f.Size <= chunkSize && r.want&WantOctets != 0 {
			f.Octets, err = r.readOctets(c.conn, f.Blob, nil)
		}
		return err
	}
	f.Header = r.take(c, 1)
	if r.want&WantOctets == 0 || f.Size-int64(len(f.Header)) > chunkSize {
		return nil
	}
	if len(f.Header) > 0 && crc32.Checksum(f.Header, castagnoli) != uint32(c.ColumnInt64(3)) {
		return fmt.Errorf("%w: the header of content %d", ErrCorrupt, f.Blob)
	}
	if f.Size == int64(len(f.Header)) {
		f.Octets = f.Header
		return nil
	}
	if f.Octets, err = r.readOctets(c.conn, f.Blob, f.Header); err == nil {
		f.Header = f.Octets[:len(f.Header)]
	}
	return err
}

// readOctets appends the first chunk to the header, which was read last.
func (r *factReader) readOctets(conn *sqlite.Conn, id BlobID, header []byte) (octets []byte, err error) {
	from := len(r.arena) - len(header)
	if cap(r.arena)-len(r.arena) < chunkSize { // what was taken before keeps the old one
		r.arena = append(make([]byte, 0, max(2*cap(r.arena), len(header)+chunkSize)), header...)
		from = 0
	}
	err = rows(conn, "SELECT coding, crc, data FROM chunk WHERE key = ?", func(s *sqlite.Stmt) error {
		b, err := r.account.store.codec.appendChunk(r.arena, s, &r.scratch)
		if err != nil {
			return fmt.Errorf("%w: chunk 0 of content %d: %w", ErrCorrupt, id, err)
		}
		r.arena = b
		octets = b[from:len(b):len(b)]
		return nil
	}, chunkKey(id, 0))
	return octets, err
}

func (r *factReader) readFacts(c *cursor, f *Facts) (bool, error) {
	found, err := c.seek(f.Blob)
	if err != nil || !found {
		return false, err
	}
	f.Size = c.ColumnInt64(1)
	column := 2
	for _, known := range factColumns {
		if r.want&known.want == 0 {
			continue
		}
		if err := known.set(f, r.take(c, column)); err != nil {
			return false, fmt.Errorf("%w: the facts of content %d: %w", ErrCorrupt, f.Blob, err)
		}
		column++
	}
	return true, nil
}

func (r *factReader) readSearch(c *cursor, f *Facts) (bool, error) {
	found, err := c.seek(f.Blob)
	if err != nil || !found {
		return false, err
	}
	if r.want&WantKeys != 0 {
		keys, err := mime.ParseKeys(r.take(c, 1))
		if err != nil {
			return false, fmt.Errorf("%w: the keys of content %d: %w", ErrCorrupt, f.Blob, err)
		}
		f.Keys = &keys
	}
	if r.want&WantTexts != 0 && c.ColumnLen(2) > 0 {
		texts, err := mime.ParseTexts(r.take(c, 2))
		if err != nil {
			return false, fmt.Errorf("%w: the texts of content %d: %w", ErrCorrupt, f.Blob, err)
		}
		f.Texts = &texts
	}
	return true, nil
}

// take copies a column into the arena.
func (r *factReader) take(c *cursor, column int) []byte {
	size := c.ColumnLen(column)
	if r.arena == nil || cap(r.arena)-len(r.arena) < size { // what was taken before keeps the old one; nothing is taken as what is empty, not nil
		r.arena = make([]byte, 0, max(2*cap(r.arena), size))
	}
	from := len(r.arena)
	r.arena = r.arena[:from+size]
	c.ColumnBytes(column, r.arena[from:])
	return r.arena[from : from+size : from+size]
}

// cursor walks over the rows of a table by ascending blob, the first column.
type cursor struct {
	*sqlite.Stmt
	conn *sqlite.Conn
	at   BlobID
	open bool // at a row
}

func openCursor(conn *sqlite.Conn, query string) (*cursor, error) {
	s, err := conn.Prepare(query)
	return &cursor{Stmt: s, conn: conn}, err
}

// seek goes to the row of the content; false: there is none.
func (c *cursor) seek(id BlobID) (bool, error) {
	for c.open && c.at < id && id-c.at <= nearby {
		if err := c.step(); err != nil {
			return false, err
		}
	}
	if !c.open || c.at > id || id-c.at > nearby {
		if err := c.Reset(); err != nil {
			return false, err
		}
		c.BindInt64(1, int64(id))
		if err := c.step(); err != nil {
			return false, err
		}
	}
	return c.open && c.at == id, nil
}

func (c *cursor) step() (err error) {
	if c.open, err = c.Step(); c.open {
		c.at = BlobID(c.ColumnInt64(0))
	}
	return err
}

func (c *cursor) close() error { return c.Reset() }
