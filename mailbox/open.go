package mailbox

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
	"posthouse/mail"
)

// Open is Account. What it reads is the header and the first chunk: most messages have no more.
func (a *account) Open(ctx context.Context, id BlobID) (mail.Content, error) {
	a.mu.Lock()
	if a.dying[id] {
		a.mu.Unlock()
		return nil, ErrNoBlob
	}
	a.reading[id]++
	a.mu.Unlock()
	a.retain()
	c := &content{account: a, id: id}
	if err := c.begin(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// content is an open message. As long as it is, its rows are not deleted.
type content struct {
	account *account
	id      BlobID
	size    int64
	header  []byte                // the octets before the chunks
	last    atomic.Pointer[piece] // the chunk read last
	closed  atomic.Bool
	once    sync.Once
}

// piece is a chunk in memory.
type piece struct {
	n      int64
	octets []byte
}

func (c *content) begin(ctx context.Context) error {
	return c.account.with(func(d *db.DB) error {
		return d.Read(ctx, func(conn *sqlite.Conn) error {
			c.size = -1
			err := rows(conn, "SELECT size, crc, octets FROM header WHERE blob = ?",
				func(s *sqlite.Stmt) error {
					c.size, c.header = s.ColumnInt64(0), db.Bytes(s, 2)
					if len(c.header) > 0 && crc32.Checksum(c.header, castagnoli) != uint32(s.ColumnInt64(1)) {
						return fmt.Errorf("%w: the header of content %d", ErrCorrupt, c.id)
					}
					return nil
				}, int64(c.id))
			if err == nil && c.size < 0 {
				return ErrNoBlob
			}
			if err != nil || c.size == int64(len(c.header)) {
				return err
			}
			p, err := c.account.store.codec.readChunk(conn, c.id, 0)
			c.last.Store(p)
			return err
		})
	})
}

// Size is mail.Content.
func (c *content) Size() int64 { return c.size }

// ReadAt is mail.Content.
func (c *content) ReadAt(p []byte, off int64) (n int, err error) {
	if c.closed.Load() {
		return 0, os.ErrClosed
	}
	if off < 0 {
		return 0, fmt.Errorf("mailbox: a negative offset: %d", off)
	}
	for n < len(p) && off < c.size {
		from, err := c.at(off)
		if err != nil {
			return n, err
		}
		k := copy(p[n:], from)
		n += k
		off += int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// at is octets from the offset on; at least one.
func (c *content) at(off int64) ([]byte, error) {
	h := int64(len(c.header))
	if off < h {
		return c.header[off:], nil
	}
	n := (off - h) / chunkSize
	p := c.last.Load()
	if p == nil || p.n != n {
		var err error
		if p, err = c.read(n); err != nil {
			return nil, err
		}
		c.last.Store(p)
	}
	inside := off - h - n*chunkSize
	if inside >= int64(len(p.octets)) {
		return nil, fmt.Errorf("%w: chunk %d of content %d is too short", ErrCorrupt, n, c.id)
	}
	return p.octets[inside:], nil
}

func (c *content) read(n int64) (p *piece, err error) {
	err = c.account.with(func(d *db.DB) error {
		return d.Read(context.Background(), func(conn *sqlite.Conn) (err error) {
			p, err = c.account.store.codec.readChunk(conn, c.id, n)
			return err
		})
	})
	return p, err
}

// Close is mail.Content.
func (c *content) Close() error {
	c.once.Do(func() {
		c.closed.Store(true)
		a := c.account
		a.mu.Lock()
		if a.reading[c.id]--; a.reading[c.id] == 0 {
			delete(a.reading, c.id)
		}
		sweep := a.skipped && a.reading[c.id] == 0
		if sweep {
			a.skipped = false
		}
		a.mu.Unlock()
		if sweep {
			a.sweep()
		}
		a.release()
	})
	return nil
}
