package link

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Why a session cannot be, or not any more.
var (
	ErrClosing     = errors.New("link: shutting down")
	ErrFull        = errors.New("link: too many sessions")
	ErrNetworkFull = errors.New("link: too many sessions of a network")
	ErrUserFull    = errors.New("link: too many sessions of a user")
)

// refusalTime is how long a client that is turned away may take to be told so.
const refusalTime = time.Second

// Limits are how many sessions there may be.
type Limits struct {
	Sessions   int // in all
	PerNetwork int // of one IPv4 address or IPv6 /64
	PerUser    int
}

// Rest is how a session goes on; nil: it has ended. It gets a goroutine of its own: the stack of one that has run commands is several times
// as large as one that waits needs.
type Rest func() Rest

// Observer is told what metrics count. Its functions may be nil, and are called from many goroutines.
type Observer struct {
	Connected     func(refused bool)
	Ended         func()
	Authenticated func(mechanism string, err error)
	Command       func(name string, status string, took time.Duration)
}

// Options are what a Hub is made of.
type Options struct {
	Limits Limits
	Times  Times
	// Session is a session from its beginning to its end, when it closes the link; or to where it may wait for hours, and what it returns is
	// how it goes on.
	Session func(ctx context.Context, l *Link) Rest
	// Refusal is what a client is told that is turned away, for an error of this package.
	Refusal func(error) string
	Observe Observer
	Log     *slog.Logger
}

// Hub has the sessions of a server, on any number of listeners, and knows whose they are. Users are whatever tells one from another.
type Hub[U comparable] struct {
	opts   Options
	ctx    context.Context //nolint:containedctx // the life of the sessions; cancel ends what they wait for
	cancel context.CancelFunc
	wg     sync.WaitGroup // of sessions

	mu        sync.Mutex
	closing   bool
	listeners map[net.Listener]bool
	sessions  map[*Link]netip.Prefix // and from where
	networks  map[netip.Prefix]int
	of        map[*Link]U // those that are a user's
	users     map[U]map[*Link]bool
}

// NewHub makes a Hub without sessions.
func NewHub[U comparable](o Options) *Hub[U] {
	ctx, cancel := context.WithCancel(context.Background())
	return &Hub[U]{
		opts: o, ctx: ctx, cancel: cancel, listeners: make(map[net.Listener]bool), sessions: make(map[*Link]netip.Prefix),
		networks: make(map[netip.Prefix]int), of: make(map[*Link]U), users: make(map[U]map[*Link]bool),
	}
}

// Serve accepts connections until Shutdown, and then returns nil. A listener of implicit TLS is one of package tls.
func (h *Hub[U]) Serve(l net.Listener) error {
	if !h.register(l) {
		return l.Close()
	}
	for pause := time.Duration(0); ; {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			h.Admit(conn)
		case h.ctx.Err() != nil || h.isClosing():
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default: // As a rule too many open files: others will end.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			h.opts.Log.Warn("cannot accept", "err", err, "pause", pause)
			select {
			case <-time.After(pause):
			case <-h.ctx.Done():
			}
		}
	}
}

func (h *Hub[U]) register(l net.Listener) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners[l] = true
	return !h.closing
}

func (h *Hub[U]) isClosing() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closing
}

// Admit starts a session, or turns the connection away; Serve does so with each that it accepts.
func (h *Hub[U]) Admit(conn net.Conn) {
	l, err := h.Enter(conn)
	if h.opts.Observe.Connected != nil {
		h.opts.Observe.Connected(err != nil)
	}
	if err == nil {
		go h.run(l, func() Rest { return h.opts.Session(h.ctx, l) })
		return
	}
	if l = New(conn, h.opts.Times); !l.Secure() { // A handshake is not worth it.
		conn.SetWriteDeadline(time.Now().Add(refusalTime)) //nolint:errcheck // it is closed in any case
		conn.Write([]byte(h.opts.Refusal(err)))            //nolint:errcheck // likewise
	}
	conn.Close() //nolint:errcheck // nothing depends on it
}

func (h *Hub[U]) run(l *Link, part Rest) {
	if rest := part(); rest != nil {
		go h.run(l, rest)
		return
	}
	h.Leave(l)
}

// Enter counts a connection in, as a session. ErrClosing, ErrFull or ErrNetworkFull: there cannot be one.
func (h *Hub[U]) Enter(conn net.Conn) (*Link, error) {
	l := New(conn, h.opts.Times)
	network := l.network()
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closing:
		return nil, ErrClosing
	case len(h.sessions) >= h.opts.Limits.Sessions:
		return nil, ErrFull
	case h.networks[network] >= h.opts.Limits.PerNetwork:
		return nil, ErrNetworkFull
	}
	h.sessions[l] = network
	h.networks[network]++
	h.wg.Add(1)
	return l, nil
}

// Leave counts a session out that has ended.
func (h *Hub[U]) Leave(l *Link) {
	h.mu.Lock()
	network := h.sessions[l]
	delete(h.sessions, l)
	if h.networks[network]--; h.networks[network] == 0 {
		delete(h.networks, network)
	}
	h.forget(l)
	h.mu.Unlock()
	if h.opts.Observe.Ended != nil {
		h.opts.Observe.Ended()
	}
	h.wg.Done()
}

// EnterUser counts a session as one of a user; ErrUserFull: there are too many.
func (h *Hub[U]) EnterUser(l *Link, u U) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.users[u]) >= h.opts.Limits.PerUser {
		return ErrUserFull
	}
	if h.users[u] == nil {
		h.users[u] = make(map[*Link]bool)
	}
	h.users[u][l] = true
	h.of[l] = u
	return nil
}

// LeaveUser counts a session no more as one of its user.
func (h *Hub[U]) LeaveUser(l *Link) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.forget(l)
}

// forget is LeaveUser; mu is held.
func (h *Hub[U]) forget(l *Link) {
	u, known := h.of[l]
	if !known {
		return
	}
	delete(h.of, l)
	delete(h.users[u], l)
	if len(h.users[u]) == 0 {
		delete(h.users, u)
	}
}

// Disconnect ends the sessions of a user after the commands they run.
func (h *Hub[U]) Disconnect(u U) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.users[u] {
		l.Stop()
	}
}

// Shutdown ends the sessions after the commands they run, and waits for them; when ctx ends it cuts off those that are left.
func (h *Hub[U]) Shutdown(ctx context.Context) error {
	h.mu.Lock()
	h.closing = true
	for l := range h.listeners {
		l.Close() //nolint:errcheck // it accepts nothing more
	}
	for l := range h.sessions {
		l.Stop()
	}
	h.mu.Unlock()

	ended := make(chan struct{})
	go func() {
		h.wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		h.cancel()
		return nil
	case <-ctx.Done():
	}
	h.cancel()
	h.mu.Lock()
	for l := range h.sessions {
		l.Close() //nolint:errcheck // it is to end
	}
	h.mu.Unlock()
	<-ended
	return ctx.Err()
}
