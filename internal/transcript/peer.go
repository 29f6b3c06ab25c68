package transcript

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// peer is one connection. Reading is the dialogue's; a goroutine of its own writes, until close waits for it.
type peer struct {
	timeout time.Duration
	conn    net.Conn
	r       *bufio.Reader
	queue   chan []byte
	pending sync.WaitGroup // writes queued and not done
	stopped chan struct{}  // closed when the writer is gone

	mu       sync.Mutex
	writeErr error // of the first write that failed: told only if an answer is missing, since the server may close first
}

const queued = 4096 // writes that may wait

func newPeer(conn net.Conn, timeout time.Duration) *peer {
	c := &peer{timeout: timeout, conn: conn, r: bufio.NewReader(conn), queue: make(chan []byte, queued), stopped: make(chan struct{})}
	go c.write()
	return c
}

func (c *peer) write() {
	defer close(c.stopped)
	for data := range c.queue {
		conn := c.current()
		err := conn.SetWriteDeadline(time.Now().Add(c.timeout))
		if err == nil {
			_, err = conn.Write(data)
		}
		c.mu.Lock()
		if c.writeErr == nil {
			c.writeErr = err
		}
		c.mu.Unlock()
		c.pending.Done()
	}
}

func (c *peer) current() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

func (c *peer) send(data []byte) error {
	c.pending.Add(1)
	timer := time.NewTimer(c.timeout)
	defer timer.Stop()
	select {
	case c.queue <- data:
		return nil
	case <-timer.C:
		c.pending.Done()
		return errors.New("the other side takes nothing")
	}
}

// explain adds what went wrong with writing to a read that failed.
func (c *peer) explain(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil || c.writeErr == nil {
		return err
	}
	return fmt.Errorf("%w (and writing failed: %w)", err, c.writeErr)
}

func (c *peer) readLine() (string, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
		return "", err
	}
	var line []byte
	for {
		part, err := c.r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine {
			return "", fmt.Errorf("a line of over %d octets", maxLine)
		}
		if err == nil {
			return string(line), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			if errors.Is(err, io.EOF) && len(line) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return string(line), c.explain(err)
		}
	}
}

func (c *peer) readFull(b []byte) (int, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(c.r, b)
	return n, c.explain(err)
}

// startTLS is the client's handshake, after all that was sent before has left.
func (c *peer) startTLS(config *tls.Config) error {
	c.pending.Wait()
	if n := c.r.Buffered(); n > 0 {
		rest, _ := c.r.Peek(n) //nolint:errcheck // they are buffered
		return fmt.Errorf("the server sent %q before the handshake", rest)
	}
	if config == nil {
		config = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // scripts are about the dialogue, not about trust
	}
	conn := tls.Client(c.conn, config)
	if err := c.conn.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return err
	}
	if err := conn.Handshake(); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	c.mu.Lock()
	c.conn = conn
	c.mu.Unlock()
	c.r = bufio.NewReader(conn)
	return nil
}

// shutdown closes our direction only.
func (c *peer) shutdown() error {
	c.pending.Wait()
	half, ok := c.conn.(interface{ CloseWrite() error })
	if !ok {
		return fmt.Errorf("%T has no direction of its own to close", c.conn)
	}
	return half.CloseWrite()
}

// close sends what waits, as far as the other side takes it, and ends the connection.
func (c *peer) close() {
	close(c.queue)
	timer := time.AfterFunc(c.timeout, func() { c.current().Close() })
	<-c.stopped
	timer.Stop()
	c.conn.Close()
}
