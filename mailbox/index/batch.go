package index

import (
	"cmp"
	"context"
	"errors"
	"io"
	"strings"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
	"posthouse/mail/mime"
)

// Limits of what is kept.
const (
	maxBatch      = 128     // contents of one Batch
	maxBatchSize  = 4 << 20 // octets of it, after which it is full
	maxVocabulary = 2 << 20 // octets of words of one content; one with more is always a suspect
	maxFuzzyField = 4 << 10 // octets of a field that is ranked
	maxFuzzyBody  = 64 << 10
)

// Content is what is indexed.
type Content struct {
	ID   int64
	Mark int64 // a checksum, by which one with that ID is told from another
	Root *mime.Part
}

// Batch is contents that are indexed together. It is for one goroutine.
type Batch struct {
	builder *builder
	scanner mime.Scanner
	marks   []int64
	fuzzy   []fuzzyText
	size    int
}

// NewBatch is an empty one.
func NewBatch() *Batch { return &Batch{builder: newBuilder()} }

// Full tells whether it is to be committed.
func (b *Batch) Full() bool { return len(b.marks) >= maxBatch || b.size+b.builder.size >= maxBatchSize }

// Len is how many contents it has.
func (b *Batch) Len() int { return len(b.marks) }

// Add reads a content. If that fails, the content is one that is always a suspect.
func (b *Batch) Add(c Content, octets io.ReaderAt) error {
	w := b.builder
	w.begin(c.ID)
	b.marks = append(b.marks, c.Mark)
	start, over := w.size, false
	split := &splitter{gram: w.addGram, word: func(word []byte) {
		if over = over || w.size-start > maxVocabulary; !over {
			w.add(word)
		}
	}}
	err := b.scanner.Scan(octets, c.Root, split)
	split.end()
	if err != nil || over {
		w.addNoise([]byte{everything})
	} else {
		w.end()
	}
	var text fuzzyText
	if err == nil {
		text, err = b.readFuzzy(c.Root, octets)
	}
	b.fuzzy = append(b.fuzzy, text)
	b.size += text.size()
	return err
}

// fuzzyText is a content's row of the table fuzzy.
type fuzzyText [len(fields) + 1]string

// fields are the fields that have a column, in their order; the body comes after them.
var fields = [...]string{"subject", "from", "to", "cc", "bcc"}

func (t *fuzzyText) size() (n int) {
	for _, s := range t {
		n += len(s)
	}
	return n
}

func (b *Batch) readFuzzy(root *mime.Part, octets io.ReaderAt) (t fuzzyText, err error) {
	header, err := b.scanner.Header(octets, root.Header)
	if err != nil {
		return t, err
	}
	for f := range mime.Fields(header) {
		for i, name := range fields {
			if strings.EqualFold(name, string(f.Name)) && len(t[i])+len(f.Value) < maxFuzzyField {
				t[i] += string(mime.AppendDecoded(nil, f.Value)) + "\n"
			}
		}
	}
	var body strings.Builder
	err = readShown(root, octets, &body)
	t[len(fields)] = body.String()
	return t, err
}

// readShown reads the text that people see, as far as it is kept: of alternatives the plain one.
func readShown(p *mime.Part, octets io.ReaderAt, to *strings.Builder) error {
	if p.Type == "text" && len(p.Parts) == 0 {
		room := int64(maxFuzzyBody - to.Len())
		_, err := io.Copy(to, io.LimitReader(mime.ReadText(octets, p, 4*room), room))
		to.WriteByte('\n')
		return err
	}
	if p.Message != nil {
		return readShown(p.Message, octets, to)
	}
	for i, part := range p.Parts {
		if to.Len() >= maxFuzzyBody {
			return nil
		}
		if p.Type == "multipart" && p.Subtype == "alternative" && i > 0 && part.Type == "text" && p.Parts[0].Type == "text" {
			continue
		}
		if err := readShown(part, octets, to); err != nil {
			return err
		}
	}
	return nil
}

// ErrMoved tells that the index is not the one that was asked how far it is.
var ErrMoved = errors.New("index: it has got somewhere else meanwhile")

// Commit stores what the batch has, and that all contents up to an ID that are there have been indexed, if all up to from were: else
// it is ErrMoved. The batch is used up.
func (x *Index) Commit(ctx context.Context, b *Batch, from, to int64) error {
	return x.db.Write(ctx, func(tx *db.Tx) error {
		if reached, err := number(tx.Conn, "SELECT reached FROM state"); err != nil || reached != from {
			return cmp.Or(err, ErrMoved)
		}
		for i, id := range b.builder.ids {
			if err := db.Exec(tx.Conn, "INSERT INTO known VALUES(?, ?)", db.Ints(id, b.marks[i])); err != nil {
				return err
			}
			if err := db.Exec(tx.Conn, insertFuzzy, func(s *sqlite.Stmt) {
				s.BindInt64(1, id)
				for k, text := range b.fuzzy[i] {
					s.BindText(2+k, strings.ToValidUTF8(text, "\ufffd"))
				}
			}); err != nil {
				return err
			}
		}
		if b.Len() > 0 {
			if err := writeSegment(tx.Conn, b.builder.segment()); err != nil {
				return err
			}
		}
		return db.Exec(tx.Conn, "UPDATE state SET reached = ?", db.Ints(max(from, to)))
	})
}

const insertFuzzy = "INSERT INTO fuzzy(rowid, subject, sender, receiver, copied, blind, body) VALUES(?, ?, ?, ?, ?, ?, ?)"

func writeSegment(c *sqlite.Conn, s *segment) error {
	ids := appendIDs(nil, s.ids)
	size := len(ids) + len(s.words) + len(s.groups) + len(s.noise) + len(s.postings)
	err := db.Exec(c, "INSERT INTO segment(contents, gone, size, sum, ids, words, groups, noise) VALUES(?, 0, ?, ?, ?, ?, ?, ?)",
		func(st *sqlite.Stmt) {
			db.Ints(int64(len(s.ids)), int64(size), int64(s.sum(ids)))(st)
			for i, b := range [...][]byte{ids, s.words, s.groups, s.noise} {
				st.BindBytes(4+i, b)
			}
		})
	if err != nil {
		return err
	}
	return db.Exec(c, "INSERT INTO posting VALUES(last_insert_rowid(), ?, ?)", func(st *sqlite.Stmt) {
		st.BindInt64(1, int64(sumOf(s.postings)))
		st.BindBytes(2, s.postings)
	})
}
