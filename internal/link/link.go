package link

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"posthouse/internal/limit"
)

// Times are how long a session waits for its client.
type Times struct {
	Login   time.Duration // from the beginning to the end of all reading, unless Until is set to another
	Idle    time.Duration // between commands
	Command time.Duration // for the next octets of a command that has begun
	Write   time.Duration // for the client to take what is written at once
}

const (
	// lastCommand is for the command that runs when a session is to end: its account is disabled, or the server shuts down.
	lastCommand = 30 * time.Second

	maxLinger  = 64 << 10    // octets read after our last word
	lingerTime = time.Second // for which they are read
)

// Link is a session's connection: its deadlines, its TLS, and how it is told to end between commands and not in the middle of one. One
// goroutine reads, and one writes; Stop, Stopping and Close may be called from any.
type Link struct {
	ID string // names the session in the log
	// BeforeRead is called when all input is used up: what has been answered is sent then. Nil: not while another goroutine writes.
	BeforeRead func() error
	// Until is the end of all reading: of the time for logging in, or of what the client logged in by; zero: none.
	Until time.Time

	times Times
	over  io.ReadWriter // a layer over the connection; nil: none

	mu      sync.Mutex
	conn    net.Conn
	waiting bool      // for a command, nothing of which has come
	closing time.Time // when it was told to end; zero: it was not
	spoken  bool      // our last word is: Linger
}

// New makes a link of a connection, or of one of package tls, whose handshake StartTLS does.
func New(conn net.Conn, times Times) *Link {
	return &Link{ID: rand.Text()[:12], Until: time.Now().Add(times.Login), times: times, conn: conn}
}

// Remote is the other end.
func (l *Link) Remote() net.Addr { return l.conn.RemoteAddr() }

// Client is the address of the other end; not valid if it has none.
func (l *Link) Client() netip.Addr {
	addr := l.Remote()
	if addr == nil {
		return netip.Addr{}
	}
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// network is what sessions are counted by: an IPv4 address or an IPv6 /64, which is what one subscriber has.
func (l *Link) network() netip.Prefix { return limit.Network(l.Client()) }

// Await says that the next octet will be a command's first. It is false if there shall be no more commands.
func (l *Link) Await() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = true
	return l.closing.IsZero()
}

// Begin says that a command is being read or run.
func (l *Link) Begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = false
}

// Stop has the session end after the command that runs, if one does and takes no longer than lastCommand: a client that reads slowly
// would go on for as long as it likes.
func (l *Link) Stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing.IsZero() {
		l.closing = time.Now()
	}
	switch {
	case l.spoken: // It ends soon.
	case l.waiting:
		l.conn.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // a connection that fails has ended
	default:
		l.conn.SetDeadline(l.closing.Add(lastCommand)) //nolint:errcheck // likewise
	}
}

// inTime is a deadline, or the session's end if that comes before it; mu is held.
func (l *Link) inTime(deadline time.Time) time.Time {
	if end := l.closing.Add(lastCommand); !l.closing.IsZero() && end.Before(deadline) {
		return end
	}
	return deadline
}

// Stopping tells whether Stop was called.
func (l *Link) Stopping() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closing.IsZero()
}

// Layer puts something between the connection and who reads and writes, as compression. What comes over the connection is then not a
// command's yet: Await lasts until the layer gives an octet.
func (l *Link) Layer(over func(below io.ReadWriter) io.ReadWriter) { l.over = over(below{l}) }

// Layered tells whether there is a layer.
func (l *Link) Layered() bool { return l.over != nil }

// below is a link below its layer.
type below struct{ link *Link }

func (b below) Read(p []byte) (int, error) {
	conn, err := b.link.armed()
	if err != nil {
		return 0, err
	}
	return conn.Read(p)
}

func (b below) Write(p []byte) (int, error) {
	if err := b.link.allowWrite(); err != nil {
		return 0, err
	}
	return b.link.conn.Write(p)
}

// Read reads with the deadline of what is awaited; ErrClosing if it is a command and there shall be none.
func (l *Link) Read(p []byte) (int, error) {
	if l.BeforeRead != nil {
		if err := l.BeforeRead(); err != nil {
			return 0, err
		}
	}
	n, err := l.top().Read(p)
	if n > 0 {
		l.Begin()
	}
	return n, err
}

// Write writes; a client that takes nothing ends the session.
func (l *Link) Write(p []byte) (int, error) { return l.top().Write(p) }

func (l *Link) top() io.ReadWriter {
	if l.over != nil {
		return l.over
	}
	return below{l}
}

func (l *Link) armed() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closing.IsZero() && l.waiting {
		return nil, ErrClosing
	}
	limit := l.times.Command
	if l.waiting {
		limit = l.times.Idle
	}
	deadline := time.Now().Add(limit)
	if !l.Until.IsZero() && l.Until.Before(deadline) {
		deadline = l.Until
	}
	return l.conn, l.conn.SetReadDeadline(l.inTime(deadline))
}

func (l *Link) allowWrite() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn.SetWriteDeadline(l.inTime(time.Now().Add(l.times.Write)))
}

// StartTLS does the server's handshake: on the connection as it is, or with a configuration on top of it. It ends with Until.
func (l *Link) StartTLS(ctx context.Context, config *tls.Config) error {
	conn, isTLS := l.conn.(*tls.Conn)
	if !isTLS {
		conn = tls.Server(l.conn, config)
	}
	ctx, cancel := context.WithDeadline(ctx, l.Until)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn = conn
	return nil
}

// Secure tells whether nobody else can read what is said.
func (l *Link) Secure() bool {
	_, isTLS := l.conn.(*tls.Conn)
	return isTLS
}

// TLS is what is known of the handshake; nil: there is no TLS.
func (l *Link) TLS() *tls.ConnectionState {
	conn, isTLS := l.conn.(*tls.Conn)
	if !isTLS {
		return nil
	}
	state := conn.ConnectionState()
	return &state
}

// Linger reads on for a moment after our last word: a connection that is closed with unread octets is reset, and the client may lose
// what it has not read yet.
func (l *Link) Linger() {
	half, ok := l.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || l.lastDeadline() != nil {
		return
	}
	io.CopyN(io.Discard, l.conn, maxLinger) //nolint:errcheck // it ends one way or another
}

// lastDeadline is the one that nothing puts off.
func (l *Link) lastDeadline() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spoken = true
	return l.conn.SetReadDeadline(time.Now().Add(lingerTime))
}

// Close closes the connection.
func (l *Link) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn.Close()
}
