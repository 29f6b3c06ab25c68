package transcript

import (
	"bufio"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"net"
)

// deflated is a connection with a layer of compression, as RFC 4978 has it: each write is flushed.
type deflated struct {
	net.Conn
	in  io.Reader
	out *flate.Writer
}

// Read is net.Conn. The connection's end is no error: DEFLATE has no last block there.
func (d *deflated) Read(p []byte) (int, error) {
	n, err := d.in.Read(p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

func (d *deflated) Write(p []byte) (int, error) {
	n, err := d.out.Write(p)
	if err == nil {
		err = d.out.Flush()
	}
	return n, err
}

// deflate compresses what is sent from now on, and what comes is compressed.
func (c *peer) deflate() error {
	c.pending.Wait()
	if n := c.r.Buffered(); n > 0 {
		rest, _ := c.r.Peek(n) //nolint:errcheck // they are buffered
		return fmt.Errorf("the server sent %q before compression", rest)
	}
	out, err := flate.NewWriter(c.conn, flate.DefaultCompression)
	if err != nil {
		return err
	}
	conn := &deflated{Conn: c.conn, in: flate.NewReader(c.conn), out: out}
	c.mu.Lock()
	c.conn = conn
	c.mu.Unlock()
	c.r = bufio.NewReader(conn)
	return nil
}
