package db

import (
	"context"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// Read runs f on a reading connection, in a transaction of its own: f sees one state of the database.
func (d *DB) Read(ctx context.Context, f func(*sqlite.Conn) error) (err error) {
	c, err := d.reader(ctx)
	if err != nil {
		return err
	}
	defer d.release(c)
	end := sqlitex.Transaction(c)
	defer func() { err = classify(err) }()
	defer end(&err)
	return f(c)
}

func (d *DB) reader(ctx context.Context) (*sqlite.Conn, error) {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil, ErrClosed
	}
	select {
	case c := <-d.readers:
		d.mu.Unlock()
		return c, nil
	default:
	}
	if d.opened < d.opts.Readers {
		d.opened++
		d.mu.Unlock()
		c, err := d.connect(sqlite.OpenReadOnly)
		if err != nil {
			d.notOpened()
		}
		return c, err
	}
	d.mu.Unlock()
	select {
	case c := <-d.readers:
		return c, nil
	case <-d.closing:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// notOpened takes back that a reader is open. A Close that began meanwhile counts on it: it gets nothing in its place.
func (d *DB) notOpened() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		d.readers <- nil
		return
	}
	d.opened--
}

func (d *DB) release(c *sqlite.Conn) {
	d.readers <- c
}
