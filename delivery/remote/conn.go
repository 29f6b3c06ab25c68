package remote

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"time"

	"posthouse/mail/smtp"
)

// Deadlines of each phase: RFC 5321 §4.5.3.2, but for those it does not name.
const (
	dialTime     = 30 * time.Second
	greetingTime = 5 * time.Minute // §4.5.3.2.1
	helloTime    = 5 * time.Minute
	tlsTime      = 2 * time.Minute
	mailTime     = 5 * time.Minute  // §4.5.3.2.2
	rcptTime     = 5 * time.Minute  // §4.5.3.2.3
	dataTime     = 2 * time.Minute  // §4.5.3.2.4
	chunkTime    = 3 * time.Minute  // §4.5.3.2.5
	endTime      = 10 * time.Minute // §4.5.3.2.6
	quitTime     = 5 * time.Second
	lastWordTime = 5 * time.Second // what is left to read after a write failed
)

// bufferSize is of each direction: one write carries a small message whole.
const bufferSize = 16 << 10

// conn is one connection after its greeting.
type conn struct {
	net.Conn
	r    *bufio.Reader
	w    *bufio.Writer
	peer peer
	via  string

	offered smtp.Extensions
	limit   int64         // of SIZE; 0: none was said
	plain   bool          // AUTH PLAIN is offered
	minBy   time.Duration // of DELIVERBY
	limits  limits
	domains map[string]struct{} // of the recipients so far, if limits has a bound for them

	opened  time.Time
	uses    int
	piece   []byte // of a message, on its way
	unclean bool   // a transaction may be open: RSET first
	closing bool   // the host said 421: RFC 5321 §3.8
	expiry  *time.Timer
}

// timed gives every write to the network its deadline.
type timed struct{ net.Conn }

func (t timed) Write(p []byte) (int, error) {
	if err := t.SetWriteDeadline(time.Now().Add(chunkTime)); err != nil {
		return 0, err
	}
	return t.Conn.Write(p)
}

func newConn(nc net.Conn, p peer) *conn {
	c := &conn{peer: p, opened: time.Now()}
	c.wrap(nc)
	return c
}

// wrap begins to speak over nc; what was received over the connection before is forgotten.
func (c *conn) wrap(nc net.Conn) {
	c.Conn, c.r, c.w = nc, bufio.NewReaderSize(nc, bufferSize), bufio.NewWriterSize(timed{nc}, bufferSize)
	c.via = c.peer.host.name + " [" + c.peer.address.address + "]"
	if t, ok := nc.(*tls.Conn); ok {
		c.via += " " + tls.VersionName(t.ConnectionState().Version)
	}
}

// tls tells whether the connection is encrypted.
func (c *conn) tls() bool {
	_, ok := c.Conn.(*tls.Conn)
	return ok
}

var errClosing = errors.New("the host said that it closes the connection")

// reply reads one reply within a time.
func (c *conn) reply(within time.Duration) (smtp.Reply, error) {
	if c.closing {
		return smtp.Reply{}, errClosing
	}
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		return smtp.Reply{}, err
	}
	r, err := smtp.ReadReply(c.r)
	c.closing = err == nil && r.Code == 421
	return r, err
}

// command sends one line and reads its reply.
func (c *conn) command(line string, within time.Duration) (smtp.Reply, error) {
	if _, err := c.w.WriteString(line + "\r\n"); err != nil {
		return smtp.Reply{}, err
	}
	if err := c.w.Flush(); err != nil {
		return smtp.Reply{}, err
	}
	return c.reply(within)
}

// step is a command and what its reply means. onReply tells whether it makes sense to go on.
type step struct {
	command []byte // with its CRLF
	within  time.Duration
	onReply func(smtp.Reply) bool
}

// steps runs commands: all in one write where PIPELINING is offered (RFC 2920), else one by one as long as it makes sense.
func (c *conn) steps(steps []step) error {
	pipelined := c.offered.Has(smtp.Pipelining)
	for i := range steps {
		if !pipelined {
			break
		}
		if _, err := c.w.Write(steps[i].command); err != nil {
			return err
		}
	}
	for i := range steps {
		s := &steps[i]
		if !pipelined {
			if _, err := c.w.Write(s.command); err != nil {
				return err
			}
		}
		if err := c.w.Flush(); err != nil { // with PIPELINING, there is something to flush only at first
			return err
		}
		r, err := c.reply(s.within)
		if err != nil {
			return err
		}
		if !s.onReply(r) && !pipelined {
			return nil
		}
	}
	return nil
}

// abortWith closes the connection when ctx ends, whatever waits for it; stop it by the function it returns.
func (c *conn) abortWith(ctx context.Context) (stop func() bool) {
	nc := c.Conn
	return context.AfterFunc(ctx, func() { nc.Close() })
}

// quit says goodbye and closes: RFC 5321 §4.1.1.10.
func (c *conn) quit() {
	if !c.closing && c.SetDeadline(time.Now().Add(quitTime)) == nil {
		// Nothing depends on the answer.
		_, _ = c.command("QUIT", quitTime)
	}
	c.Close()
}

// ioFailure says an error of the network in words that never hold a stranger's.
func ioFailure(err error, doing string) *failure {
	what := "the connection broke"
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) || isTimeout(err):
		what = "no answer in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		what = "the connection was refused"
	case isClosed(err):
		what = "the connection was closed"
	case errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH):
		what = "there is no way to it"
	case errors.Is(err, smtp.ErrReply):
		what = "its reply is not SMTP"
	case errors.Is(err, errClosing):
		what = "it closes the connection"
	}
	return trouble(smtp.Enhanced{4, 4, 2}, what+" while "+doing) // RFC 3463 §3.5: bad connection
}

func isClosed(err error) bool {
	return slices.ContainsFunc([]error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE},
		func(closed error) bool { return errors.Is(err, closed) })
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
