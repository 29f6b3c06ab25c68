package milter

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// conn is a connection on which packets go to and fro: a length, a command or an answer, what belongs to it.
type conn struct {
	net.Conn
	in      *bufio.Reader
	out     []byte // packets that have no answer wait for one that has
	timeout time.Duration

	version  uint32
	protocol uint32 // what the filter asked for
}

func newConn(raw net.Conn, timeout time.Duration) *conn {
	return &conn{Conn: raw, in: bufio.NewReader(raw), timeout: timeout}
}

// isAlive tells whether an idle connection is still good: the filter has neither closed it nor said anything since.
func (c *conn) isAlive() bool {
	sys, ok := c.Conn.(syscall.Conn)
	if !ok || c.in.Buffered() > 0 {
		return false
	}
	raw, err := sys.SyscallConn()
	if err != nil {
		return false
	}
	var peeked error
	err = raw.Read(func(fd uintptr) bool {
		_, _, peeked = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return true
	})
	return err == nil && peeked == unix.EAGAIN //nolint:errorlint // an errno as it came
}

// add puts a packet behind those that wait.
func (c *conn) add(command byte, parts ...[]byte) {
	size := 1
	for _, p := range parts {
		size += len(p)
	}
	c.out = binary.BigEndian.AppendUint32(c.out, uint32(size))
	c.out = append(c.out, command)
	for _, p := range parts {
		c.out = append(c.out, p...)
	}
}

// flush sends what waits, in its time.
func (c *conn) flush(ctx context.Context) error {
	if err := c.SetWriteDeadline(c.until(ctx)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { c.SetWriteDeadline(time.Unix(1, 0)) }) //nolint:errcheck // a closed connection ends the wait as well
	defer stop()
	_, err := c.Write(c.out)
	if c.out = c.out[:0]; cap(c.out) > 2*maxChunk {
		c.out = nil
	}
	return err
}

// until is when something must have been done.
func (c *conn) until(ctx context.Context) time.Time {
	end := time.Now().Add(c.timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(end) {
		return d
	}
	return end
}

// next reads an answer, in its time.
func (c *conn) next(ctx context.Context) (packet, error) {
	if err := ctx.Err(); err != nil {
		return packet{}, err
	}
	if err := c.SetReadDeadline(c.until(ctx)); err != nil {
		return packet{}, err
	}
	stop := context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) }) //nolint:errcheck // a closed connection ends the wait as well
	defer stop()
	return readPacket(c.in)
}

// packet is an answer.
type packet struct {
	kind byte
	data []byte
}

// readPacket reads an answer of a length that can be.
func readPacket(r io.Reader) (packet, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return packet{}, fmt.Errorf("milter: %w", err)
	}
	size := binary.BigEndian.Uint32(head[:])
	if size == 0 || size > maxPacket {
		return packet{}, fmt.Errorf("%w: an answer of %d octets", ErrProtocol, size)
	}
	p := packet{kind: head[4], data: make([]byte, size-1)}
	if _, err := io.ReadFull(r, p.data); err != nil {
		return packet{}, fmt.Errorf("milter: %w", err)
	}
	return p, nil
}

// negotiate offers all we can do, and learns what the filter wants.
func (c *conn) negotiate(ctx context.Context) error {
	var offer []byte
	for _, n := range []uint32{version, actionsOffers, protocolOffers} {
		offer = binary.BigEndian.AppendUint32(offer, n)
	}
	c.add(cmdNegotiate, offer)
	if err := c.flush(ctx); err != nil {
		return err
	}
	p, err := c.next(ctx)
	if err != nil {
		return err
	}
	if p.kind != cmdNegotiate || len(p.data) < len(offer) {
		return fmt.Errorf("%w: no answer to the negotiation", ErrProtocol)
	}
	var actions uint32
	c.version, actions, c.protocol = binary.BigEndian.Uint32(p.data), binary.BigEndian.Uint32(p.data[4:]), binary.BigEndian.Uint32(p.data[8:])
	if c.version < minVersion || c.version > version || actions&^actionsOffers != 0 || c.protocol&^protocolOffers != 0 {
		return fmt.Errorf("%w: it wants version %d, actions %#x, protocol %#x", ErrProtocol, c.version, actions, c.protocol)
	}
	return nil
}

// quit ends a message or a session, behind what waits: a filter that does not answer to the greeting must have heard of it all the same.
func (c *conn) quit(command byte) error {
	c.add(command)
	ctx, cancel := context.WithTimeout(context.Background(), quitTime)
	defer cancel()
	return c.flush(ctx)
}

func (c *conn) sends(command byte) bool {
	return c.protocol&silences[command].unsent == 0 && (command != cmdData || c.version >= dataVersion)
}

func (c *conn) answers(command byte) bool { return c.protocol&silences[command].unanswered == 0 }
