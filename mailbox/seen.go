package mailbox

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"iter"
	"slices"
	"sync/atomic"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
	"posthouse/mail"
)

// What users other than the owner have seen of a box is kept beside its slabs, in parts of 1,024 UIDs, of which only those exist that the
// user has ever marked something in. A part on disk is the octet 1, the number of marks, three columns as slabs have them (UID, 1 for
// seen, mod-sequence), and the CRC-32C of all that.
const (
	partVersion = 1
	partBits    = 10
)

// reader is a user other than the owner for whom a box keeps what he has seen. One that is in a committed layer is never changed.
type reader struct {
	user   mail.AccountID
	modseq ModSeq  // of the latest change; of the change at work: it is its own
	parts  []*part // ascending

	unseen atomic.Pointer[unseenCount] // the last that was counted
}

// part is a reader's marks of the UIDs with one prefix, as a row holds them: read when they are needed.
type part struct {
	key     UID // UID >> partBits
	version ModSeq
	marks   atomic.Pointer[[]mark] // nil: only in the database
}

// mark is what a reader has said of a message last. Messages without are unseen.
type mark struct {
	uid    UID
	seen   bool
	modseq ModSeq
}

type unseenCount struct {
	of *Snapshot
	n  int64
}

// readerOf is the reader; nil if there is none.
func (b *box) readerOf(user mail.AccountID) *reader {
	i, found := slices.BinarySearchFunc(b.readers, user, compareReader)
	if !found {
		return nil
	}
	return b.readers[i]
}

func compareReader(r *reader, user mail.AccountID) int { return cmp.Compare(r.user, user) }

func comparePart(p *part, key UID) int { return cmp.Compare(p.key, key) }

func compareMark(m mark, uid UID) int { return cmp.Compare(m.uid, uid) }

// freshReader is a box's reader for changing, made if need be; nil if there are too many. b is the change's own.
func (c *change) freshReader(b *box, user mail.AccountID) *reader {
	i, found := slices.BinarySearchFunc(b.readers, user, compareReader)
	switch {
	case found && b.readers[i].modseq == c.modseq:
		return b.readers[i]
	case !found && len(b.readers) >= MaxReaders:
		return nil
	}
	r := &reader{user: user, modseq: c.modseq}
	b.readers = slices.Clone(b.readers)
	if found {
		r.parts = slices.Clone(b.readers[i].parts)
		b.readers[i] = r
	} else {
		b.readers = slices.Insert(b.readers, i, r)
	}
	return r
}

// marks are a part's; read if need be. They are not to be changed.
func (c *change) marks(b *box, user mail.AccountID, p *part) ([]mark, error) {
	if held := p.marks.Load(); held != nil {
		return *held, nil
	}
	held, err := readPart(c.conn, b.ID, user, p)
	if err != nil {
		return nil, err
	}
	if held == nil {
		return nil, fmt.Errorf("%w: part %d of box %d is not what its directory says", ErrCorrupt, p.key, b.ID)
	}
	p.marks.Store(held)
	return *held, nil
}

// readPart reads a part's row; nil if the database holds another version of it.
func readPart(conn *sqlite.Conn, box BoxID, user mail.AccountID, p *part) (found *[]mark, err error) {
	const query = "SELECT data FROM seen WHERE box = ? AND part = ? AND version = ? AND user = ?"
	s, err := conn.Prepare(query)
	if err != nil {
		return nil, err
	}
	db.Ints(int64(box), int64(p.key), int64(p.version))(s)
	s.BindText(4, string(user))
	more, err := s.Step()
	if err == nil && more {
		var marks []mark
		marks, err = parsePart(db.Bytes(s, 0))
		found = &marks
	}
	if reset := s.Reset(); err == nil {
		err = reset
	}
	return found, err
}

// markOf is what a reader has said of a message.
func (c *change) markOf(b *box, user mail.AccountID, uid UID) (m mark, err error) {
	r := b.readerOf(user)
	if r == nil {
		return mark{}, nil
	}
	i, found := slices.BinarySearchFunc(r.parts, uid>>partBits, comparePart)
	if !found {
		return mark{}, nil
	}
	marks, err := c.marks(b, user, r.parts[i])
	if at, found := slices.BinarySearchFunc(marks, uid, compareMark); found {
		m = marks[at]
	}
	return m, err
}

// setMark marks a message as seen or not by a reader. b is the change's own. False: the box has too many readers.
func (c *change) setMark(b *box, user mail.AccountID, m mark) (bool, error) {
	r := c.freshReader(b, user)
	if r == nil {
		return false, nil
	}
	i, found := slices.BinarySearchFunc(r.parts, m.uid>>partBits, comparePart)
	if !found {
		r.parts = slices.Insert(r.parts, i, &part{key: m.uid >> partBits, version: c.modseq})
		r.parts[i].marks.Store(new([]mark))
	}
	p := r.parts[i]
	marks, err := c.marks(b, user, p)
	if err != nil {
		return false, err
	}
	if p.version != c.modseq {
		p = &part{key: p.key, version: c.modseq}
		marks = slices.Clone(marks)
		r.parts[i] = p
	}
	if at, found := slices.BinarySearchFunc(marks, m.uid, compareMark); found {
		marks[at] = m
	} else {
		marks = slices.Insert(marks, at, m)
	}
	p.marks.Store(&marks)
	return true, nil
}

// shown is a message as the user of the change, who is not the owner, sees it.
func (c *change) shown(b *box, m *Message) (*Message, error) {
	k, err := c.markOf(b, c.user, m.UID)
	shown := k.on(m)
	return &shown, err
}

// on is the message as the reader sees it.
func (k mark) on(m *Message) Message {
	shown := *m
	shown.Flags &^= Seen
	if k.seen {
		shown.Flags |= Seen
	}
	shown.ModSeq = max(m.ModSeq, k.modseq)
	return shown
}

// markShown gives a message the \Seen that the user of the change, who is not the owner, wants, and is the flags that are left for the
// message itself. b is the change's own. ErrLimit: the box has too many readers.
func (c *change) markShown(b *box, was *Message, flags, own Flags) (Flags, error) {
	if (was.Flags^flags)&Seen != 0 {
		kept, err := c.setMark(b, c.user, mark{was.UID, flags&Seen != 0, c.modseq})
		if err != nil {
			return 0, err
		}
		if !kept {
			return 0, ErrLimit
		}
	}
	return flags&^Seen | own&Seen, nil
}

// carry has those who have seen the originals have seen the copies, but for the user of the change if he may not. Where the target has
// too many readers, copies are unseen by those that are more.
func (c *change) carry(source *box, m Copy, r Result) error {
	for _, reader := range source.readers {
		if reader.user == c.user && m.Without&Seen != 0 {
			continue
		}
		next, stop := iter.Pull(r.UIDs.UIDs())
		defer stop()
		for from := range r.Source.UIDs() {
			to, _ := next()
			k, err := c.markOf(source, reader.user, from)
			if err == nil && k.seen {
				_, err = c.setMark(c.edit(m.To), reader.user, mark{to, true, c.modseq})
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// writeReaders writes the parts that the change made, without marks of messages that are gone.
func (c *change) writeReaders(b *box) error {
	for _, r := range b.readers {
		if r.modseq != c.modseq {
			continue
		}
		kept := r.parts[:0]
		for _, p := range r.parts {
			if p.version == c.modseq {
				if err := c.writePart(b, r, p); err != nil {
					return err
				}
				if len(*p.marks.Load()) == 0 {
					continue
				}
			}
			kept = append(kept, p)
		}
		r.parts = kept
	}
	return nil
}

func (c *change) writePart(b *box, r *reader, p *part) error {
	marks := slices.Clone(*p.marks.Load())
	first := p.key << partBits
	live := make(map[UID]bool, len(marks))
	err := c.update(b, UIDSet{{max(first, 1), first | (1<<partBits - 1)}}, func(m *Message) bool {
		live[m.UID] = true
		return false
	})
	if err != nil {
		return err
	}
	marks = slices.DeleteFunc(marks, func(m mark) bool { return !live[m.uid] })
	p.marks.Store(&marks)
	if len(marks) == 0 {
		return db.Exec(c.conn, "DELETE FROM seen WHERE box = ? AND part = ? AND user = ?", func(s *sqlite.Stmt) {
			db.Ints(int64(b.ID), int64(p.key))(s)
			s.BindText(3, string(r.user))
		})
	}
	return db.Exec(c.conn, `INSERT INTO seen(box, part, version, user, data) VALUES(?1, ?2, ?3, ?4, ?5)
		ON CONFLICT(box, user, part) DO UPDATE SET version = ?3, data = ?5`, func(s *sqlite.Stmt) {
		db.Ints(int64(b.ID), int64(p.key), int64(p.version))(s)
		s.BindText(4, string(r.user))
		s.BindBytes(5, appendPart(nil, marks))
	})
}

// appendPart encodes marks.
func appendPart(b []byte, marks []mark) []byte {
	start := len(b)
	b = append(b, partVersion)
	b = binary.AppendUvarint(b, uint64(len(marks)))
	v := make([]int64, len(marks))
	for _, get := range [...]func(mark) int64{
		func(m mark) int64 { return int64(m.uid) },
		func(m mark) int64 {
			if m.seen {
				return 1
			}
			return 0
		},
		func(m mark) int64 { return int64(m.modseq) },
	} {
		for i, m := range marks {
			v[i] = get(m)
		}
		b = appendColumn(b, v)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// parsePart decodes what appendPart wrote.
func parsePart(b []byte) ([]mark, error) {
	body := len(b) - crc32.Size
	if body < 2 || b[0] != partVersion || crc32.Checksum(b[:body], castagnoli) != binary.LittleEndian.Uint32(b[body:]) {
		return nil, fmt.Errorf("%w: a part's checksum or version", ErrCorrupt)
	}
	r := columnReader{b: b[1:body]}
	n := r.uvarint()
	if n == 0 || n > 1<<partBits {
		return nil, fmt.Errorf("%w: a part of %d marks", ErrCorrupt, n)
	}
	marks := make([]mark, n)
	r.v = make([]int64, n)
	for i, x := range r.column() {
		marks[i].uid = UID(x)
	}
	for i, x := range r.column() {
		marks[i].seen = x != 0
	}
	for i, x := range r.column() {
		marks[i].modseq = ModSeq(x)
	}
	if r.bad || len(r.b) > 0 || !slices.IsSortedFunc(marks, func(a, b mark) int { return cmp.Compare(a.uid, b.uid) }) {
		return nil, fmt.Errorf("%w: a part's columns", ErrCorrupt)
	}
	return marks, nil
}

// readReaders reads the directory of all parts.
func readReaders(c *sqlite.Conn, base *layer) error {
	return rows(c, "SELECT box, user, part, version FROM seen ORDER BY box, user, part", func(s *sqlite.Stmt) error {
		b := base.boxes[BoxID(s.ColumnInt64(0))]
		if b == nil {
			return fmt.Errorf("%w: a part of box %d, which is not", ErrCorrupt, s.ColumnInt64(0))
		}
		user, version := mail.AccountID(s.ColumnText(1)), ModSeq(s.ColumnInt64(3))
		r := b.readerOf(user)
		if r == nil {
			r = &reader{user: user}
			b.readers = append(b.readers, r)
		}
		r.modseq = max(r.modseq, version)
		r.parts = append(r.parts, &part{key: UID(s.ColumnInt64(2)), version: version})
		return nil
	})
}

// readMarks reads a reader's parts that are not in memory, and is the marks of all. False: the database has others.
func (b *box) readMarks(ctx context.Context, d *db.DB, r *reader) (all [][]mark, fits bool, err error) {
	if all = r.held(); all != nil {
		return all, true, nil
	}
	all = make([][]mark, len(r.parts))
	err = d.Read(ctx, func(conn *sqlite.Conn) error {
		for i, p := range r.parts {
			held := p.marks.Load()
			if held == nil {
				var err error
				if held, err = readPart(conn, b.ID, r.user, p); err != nil || held == nil {
					return err
				}
				p.marks.Store(held)
			}
			all[i] = *held
		}
		fits = true
		return nil
	})
	return all, fits, err
}

// held are the marks of all parts, if they are in memory.
func (r *reader) held() [][]mark {
	all := make([][]mark, len(r.parts))
	for i, p := range r.parts {
		held := p.marks.Load()
		if held == nil {
			return nil
		}
		all[i] = *held
	}
	return all
}
