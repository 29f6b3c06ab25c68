package imapd

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// errClosing is what reading gives between commands when the server shuts down.
var errClosing = errors.New("imapd: shutting down")

// link is a session's connection: its deadlines, its TLS, and how it is told to end between commands and not in the middle of one.
type link struct {
	limits *Limits
	// beforeRead is called when all input is used up: what has been answered is sent then. Nil: not while another goroutine writes.
	beforeRead func() error
	until      time.Time // the end of all reading: of the time for logging in, or of what the client logged in by; zero: none
	deflated   *deflated // nil: nothing is compressed

	mu      sync.Mutex
	conn    net.Conn
	waiting bool      // for a command, nothing of which has come
	closing time.Time // when it was told to end; zero: it was not
}

// await says that the next octet will be a command's first. It is false if there shall be no more commands.
func (l *link) await() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = true
	return l.closing.IsZero()
}

// begin says that a command is being read or run.
func (l *link) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = false
}

// stop has the session end after the command that runs, if one does and takes no longer than lastCommand: a client that reads slowly
// would go on for as long as it likes.
func (l *link) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing.IsZero() {
		l.closing = time.Now()
	}
	if l.waiting {
		l.conn.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // a connection that fails has ended
	} else {
		l.conn.SetDeadline(l.closing.Add(lastCommand)) //nolint:errcheck // likewise
	}
}

// inTime is a deadline, or the session's end if that comes before it; mu is held.
func (l *link) inTime(deadline time.Time) time.Time {
	if end := l.closing.Add(lastCommand); !l.closing.IsZero() && end.Before(deadline) {
		return end
	}
	return deadline
}

// stopping tells whether stop was called.
func (l *link) stopping() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closing.IsZero()
}

// Read reads with the deadline of what is awaited.
func (l *link) Read(p []byte) (int, error) {
	if l.beforeRead != nil {
		if err := l.beforeRead(); err != nil {
			return 0, err
		}
	}
	read := l.readPlain
	if l.deflated != nil {
		read = l.deflated.in.Read
	}
	n, err := read(p)
	if n > 0 {
		l.begin()
	}
	return n, err
}

// readPlain reads what comes over the connection. Compressed, it need not be of a command.
func (l *link) readPlain(p []byte) (int, error) {
	conn, err := l.armed()
	if err != nil {
		return 0, err
	}
	return conn.Read(p)
}

func (l *link) armed() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closing.IsZero() && l.waiting {
		return nil, errClosing
	}
	limit := l.limits.CommandTime
	if l.waiting {
		limit = l.limits.IdleTime
	}
	deadline := time.Now().Add(limit)
	if !l.until.IsZero() && l.until.Before(deadline) {
		deadline = l.until
	}
	return l.conn, l.conn.SetReadDeadline(l.inTime(deadline))
}

// Write writes; a client that takes nothing ends the session.
func (l *link) Write(p []byte) (int, error) {
	if l.deflated != nil {
		return l.deflated.Write(p)
	}
	return l.writePlain(p)
}

// writePlain writes to the connection.
func (l *link) writePlain(p []byte) (int, error) {
	if err := l.allowWrite(); err != nil {
		return 0, err
	}
	return l.conn.Write(p)
}

func (l *link) allowWrite() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn.SetWriteDeadline(l.inTime(time.Now().Add(l.limits.WriteTime)))
}

// startTLS does the server's handshake: on the connection as it is, or with a configuration on top of it.
func (l *link) startTLS(ctx context.Context, config *tls.Config) error {
	conn, isTLS := l.conn.(*tls.Conn)
	if !isTLS {
		conn = tls.Server(l.conn, config)
	}
	ctx, cancel := context.WithDeadline(ctx, l.until)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn = conn
	return nil
}

// secure tells whether nobody else can read what is said.
func (l *link) secure() bool {
	_, isTLS := l.conn.(*tls.Conn)
	return isTLS
}

// linger reads on for a moment after our last word: a connection that is closed with unread octets is reset, and the client may lose
// what it has not read yet.
func (l *link) linger() {
	half, ok := l.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || l.conn.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	io.CopyN(io.Discard, l.conn, maxLinger) //nolint:errcheck // it ends one way or another
}

func (l *link) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn.Close()
}
