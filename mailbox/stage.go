package mailbox

import (
	"context"
	"errors"
	"hash/crc32"
	"io"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
	"posthouse/mail/mime"
)

const (
	// stageBuffer is how much of a message is held in memory: a message up to it is written in the transaction that adds it, a larger
	// one in pieces before.
	stageBuffer = 512 << 10
	firstBuffer = 8 << 10
	// maxStaged is how much of all staged messages is held in memory: what comes when it is full is written at once.
	maxStaged = 64 << 20
)

// staged is content between Stage and Add.
type staged struct {
	size      int64
	ends      lineEnds
	header    []byte // nil: too long to be cached, and in the chunks
	envelope  []byte
	structure []byte
	body      []byte
	parts     []byte
	keys      []byte  // nil: the header is not cached
	texts     []byte  // empty: they are too long
	chunks    []chunk // those not yet in the database
	memory    int64   // octets in chunks
	stored    bool    // some chunks are in the database
}

// Stage is Account.
func (a *account) Stage(ctx context.Context, r io.Reader) (BlobID, error) {
	a.mu.Lock()
	st := &stager{account: a, id: a.nextBlob, parser: mime.NewParser(), content: &staged{}}
	a.nextBlob++
	a.staged[st.id] = st.content
	a.mu.Unlock()
	if err := st.read(ctx, r); err != nil {
		a.Discard(st.id)
		return 0, err
	}
	return st.id, nil
}

// Discard is Account.
func (a *account) Discard(id BlobID) {
	a.mu.Lock()
	s := a.staged[id]
	a.unstage(id)
	a.mu.Unlock()
	if s != nil && s.stored {
		a.sweep()
	}
}

// unstage forgets staged content; mu is held.
func (a *account) unstage(id BlobID) {
	if s := a.staged[id]; s != nil {
		delete(a.staged, id)
		a.store.staged.Add(-s.memory)
	}
}

// stager reads one message.
type stager struct {
	account *account
	id      BlobID
	parser  *mime.Parser
	content *staged
	buf     []byte // octets that are not in chunks yet
	cut     bool   // the header has been taken off
	chunks  int64  // made
}

// read reads the message to its end.
func (s *stager) read(ctx context.Context, r io.Reader) error {
	s.buf = make([]byte, 0, firstBuffer)
	for {
		if len(s.buf) == cap(s.buf) {
			if err := s.grow(ctx); err != nil {
				return err
			}
		}
		n, err := r.Read(s.buf[len(s.buf):cap(s.buf)])
		_, _ = s.parser.Write(s.buf[len(s.buf) : len(s.buf)+n])
		s.content.ends.write(s.buf[len(s.buf) : len(s.buf)+n])
		s.buf = s.buf[:len(s.buf)+n]
		s.content.size += int64(n)
		if errors.Is(err, io.EOF) {
			return s.finish(ctx)
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// grow makes room in the buffer.
func (s *stager) grow(ctx context.Context) error {
	if cap(s.buf) < stageBuffer {
		s.buf = append(make([]byte, 0, min(4*cap(s.buf), stageBuffer)), s.buf...)
		return nil
	}
	return s.flush(ctx)
}

// flush writes the whole chunks in the buffer: invisible, since nothing refers to them.
func (s *stager) flush(ctx context.Context) error {
	if header, whole := s.parser.Header(); !s.cut {
		s.cutHeader(header, whole)
	}
	whole := len(s.buf) - len(s.buf)%chunkSize
	chunks := s.account.store.codec.split(s.chunks, s.buf[:whole])
	if err := s.store(ctx, chunks); err != nil {
		return err
	}
	s.chunks += int64(len(chunks))
	s.buf = s.buf[:copy(s.buf, s.buf[whole:])]
	return nil
}

// store writes chunks in a transaction of their own.
func (s *stager) store(ctx context.Context, chunks []chunk) error {
	s.account.mu.Lock()
	s.content.stored = true
	s.account.mu.Unlock()
	return s.account.with(func(d *db.DB) error {
		return d.Write(ctx, func(tx *db.Tx) error {
			if err := exec(tx.Conn, "INSERT OR IGNORE INTO content VALUES(?, 0)", int64(s.id)); err != nil {
				return err
			}
			return writeChunks(tx.Conn, s.id, chunks)
		})
	})
}

// cutHeader takes the header off the buffer, if it is to be cached.
func (s *stager) cutHeader(header mime.Span, whole bool) {
	s.cut = true
	if whole && header.Len <= MaxCachedHeader {
		s.content.header = append([]byte{}, s.buf[:header.Len]...)
		s.buf = s.buf[:copy(s.buf, s.buf[header.Len:])]
	}
}

// finish makes the rest of the message, and what is known of it, ready to be written.
func (s *stager) finish(ctx context.Context) error {
	root := s.parser.Close()
	c := s.content
	if !s.cut && root.Header.Len <= MaxCachedHeader {
		c.header, s.buf = s.buf[:root.Header.Len], s.buf[root.Header.Len:]
	}
	c.envelope = mime.AppendEnvelope(nil, root.Envelope)
	c.structure = mime.AppendBodyStructure(nil, root)
	c.body = mime.AppendBody(nil, root)
	c.parts = mime.AppendParts(nil, root)
	if c.header != nil {
		keys := mime.KeysOf(c.header)
		c.keys = mime.AppendKeys(nil, &keys)
		if texts, ok := mime.TextsOf(c.header); ok {
			c.texts = mime.AppendTexts(nil, &texts)
		}
	}
	chunks := s.account.store.codec.split(s.chunks, s.buf)
	if s.account.store.staged.Load()+int64(len(s.buf)) > maxStaged {
		return s.store(ctx, chunks)
	}
	s.account.mu.Lock()
	c.chunks, c.memory = chunks, int64(len(s.buf))
	s.account.mu.Unlock()
	s.account.store.staged.Add(c.memory)
	return nil
}

// write writes staged content, with its first reference.
func (s *staged) write(conn *sqlite.Conn, blob BlobID) error {
	err := exec(conn, "INSERT INTO content VALUES(?, 1) ON CONFLICT DO UPDATE SET refs = refs + 1", int64(blob))
	if err != nil {
		return err
	}
	err = db.Exec(conn, "INSERT INTO facts VALUES(?, ?, ?, ?, ?, ?)", func(st *sqlite.Stmt) {
		db.Ints(int64(blob), s.size)(st)
		for i, b := range [...][]byte{s.envelope, s.structure, s.body, s.parts} {
			st.BindBytes(3+i, b)
		}
	})
	if err != nil {
		return err
	}
	if missing := s.ends.missing(); missing != 0 {
		if err := exec(conn, "INSERT INTO line_ends VALUES(?, ?)", int64(blob), missing); err != nil {
			return err
		}
	}
	if s.keys != nil {
		err = db.Exec(conn, "INSERT INTO search VALUES(?, ?, ?)", func(st *sqlite.Stmt) {
			db.Ints(int64(blob))(st)
			st.BindBytes(2, s.keys)
			st.BindBytes(3, s.texts)
		})
		if err != nil {
			return err
		}
	}
	err = db.Exec(conn, "INSERT INTO header VALUES(?, ?, ?, ?)", func(st *sqlite.Stmt) {
		db.Ints(int64(blob), s.size, int64(crc32.Checksum(s.header, castagnoli)))(st)
		if s.header == nil {
			st.BindNull(4)
		} else {
			st.BindBytes(4, s.header)
		}
	})
	if err != nil {
		return err
	}
	return writeChunks(conn, blob, s.chunks)
}
