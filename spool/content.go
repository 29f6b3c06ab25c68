package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"zombiezen.com/go/sqlite"

	"posthouse/mail"
)

// Open is Spool. A message that is not as it was written cannot be opened: what is damaged is not sent to anybody.
func (s *SQLite) Open(ctx context.Context, id mail.ID) (mail.Content, error) {
	if k := s.recent.get(id); k != nil {
		return newContent(k.prefix, k.body), nil
	}
	var m stored
	err := s.db.Read(ctx, func(c *sqlite.Conn) error {
		q := prepare(c, selectStored+"WHERE m.id = ?").int(int64(id))
		if !q.next() {
			return errors.Join(q.done(), ErrNotFound)
		}
		m = scanStored(q)
		return q.done()
	})
	if err != nil {
		return nil, translate(err)
	}
	damage, err := m.damage(s.opts.FS, s.largePath(id))
	if err != nil {
		return nil, fmt.Errorf("spool: a large body: %w", err)
	}
	if damage != "" {
		return nil, fmt.Errorf("spool: message %v is damaged: %s", id, damage)
	}
	if m.large {
		return s.openLarge(id, m.prefix)
	}
	return newContent(m.prefix, m.body), nil
}

func (s *SQLite) openLarge(id mail.ID, prefix []byte) (mail.Content, error) {
	f, err := s.opts.FS.Open(s.largePath(id))
	if err != nil {
		return nil, fmt.Errorf("spool: a large body: %w", err)
	}
	size, err := f.Size()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &content{prefix, f, size, f}, nil
}

func newContent(prefix, body []byte) *content {
	return &content{prefix, bytes.NewReader(body), int64(len(body)), io.NopCloser(nil)}
}

// content is a body with what was put before it.
type content struct {
	prefix []byte
	body   io.ReaderAt
	size   int64 // of body
	closer io.Closer
}

func (c *content) Size() int64 { return int64(len(c.prefix)) + c.size }

func (c *content) Close() error { return c.closer.Close() }

func (c *content) ReadAt(p []byte, off int64) (n int, err error) {
	start := int64(len(c.prefix))
	if off < start {
		n = copy(p, c.prefix[off:])
		if n == len(p) {
			return n, nil
		}
		off = start
	}
	m, err := c.body.ReadAt(p[n:], off-start)
	return n + m, err
}
