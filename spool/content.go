package spool

import (
	"bytes"
	"context"
	"io"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/vfs"
	"posthouse/mail"
)

// Open is Spool.
func (s *SQLite) Open(ctx context.Context, id mail.ID) (mail.Content, error) {
	var prefix []byte // with the body behind it, unless that is a file
	var large bool
	err := s.db.Read(ctx, func(c *sqlite.Conn) error {
		q := prepare(c, "SELECT large, prefix, body FROM body JOIN message ON message.id = body.message WHERE body.message = ?").int(int64(id))
		if !q.next() {
			if err := q.done(); err != nil {
				return err
			}
			return ErrNotFound
		}
		large = q.stmt.ColumnInt(0) != 0
		n := q.stmt.ColumnLen(1)
		prefix = make([]byte, n+q.stmt.ColumnLen(2))
		q.stmt.ColumnBytes(1, prefix)
		q.stmt.ColumnBytes(2, prefix[n:])
		return q.done()
	})
	if err != nil {
		return nil, translate(err)
	}
	if !large {
		return memory{bytes.NewReader(prefix)}, nil
	}
	return s.openLarge(id, prefix)
}

func (s *SQLite) openLarge(id mail.ID, prefix []byte) (mail.Content, error) {
	f, err := s.opts.FS.Open(s.largePath(id))
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &prefixed{prefix, f, size}, nil
}

// memory is a content that is small enough to be held.
type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

// prefixed is a content whose body is a file.
type prefixed struct {
	prefix []byte
	file   vfs.File
	size   int64 // of the file
}

func (c *prefixed) Size() int64 { return int64(len(c.prefix)) + c.size }

func (c *prefixed) Close() error { return c.file.Close() }

func (c *prefixed) ReadAt(p []byte, off int64) (n int, err error) {
	if off < int64(len(c.prefix)) {
		n = copy(p, c.prefix[off:])
		if n == len(p) {
			return n, nil
		}
		off = int64(len(c.prefix))
	}
	m, err := c.file.ReadAt(p[n:], off-int64(len(c.prefix)))
	if n+m == len(p) && err == io.EOF {
		err = nil
	}
	return n + m, err
}
