package imapd

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"posthouse/directory/sasl"
	"posthouse/internal/limit"
	"posthouse/mail"
	"posthouse/mailbox"
)

// Options are what a server is made of.
type Options struct {
	Hostname string // of the greeting
	Store    mailbox.Store
	Auth     *sasl.Authenticator // lets accounts in; shared with the other fronts of a house
	// TLS is offered by STARTTLS. Nil: it is not. Listeners of implicit TLS bring their own.
	TLS *tls.Config
	// AllowPlaintextAuth takes passwords without TLS: on loopback, for development.
	AllowPlaintextAuth bool
	Limits             Limits
	Log                *slog.Logger // nil: nothing is logged
	Observe            Observer
}

// Observer is told what metrics count. Its functions may be nil, and are called from many goroutines.
type Observer struct {
	Connected     func(refused bool)
	Ended         func()
	Authenticated func(mechanism string, err error)
	Command       func(name string, status string, took time.Duration)
}

// Server serves IMAP on any number of listeners.
type Server struct {
	opts   Options
	table  *table
	ctx    context.Context //nolint:containedctx // the life of the sessions; cancel ends what they wait for
	cancel context.CancelFunc
	wg     sync.WaitGroup // of sessions

	mu        sync.Mutex
	closing   bool
	listeners map[net.Listener]bool
	sessions  map[*session]bool
	networks  map[netip.Prefix]int
	accounts  map[mail.AccountID]map[*session]bool
}

// NewServer makes a server.
func NewServer(o Options) *Server {
	o.Limits = o.Limits.withDefaults()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Server{
		opts: o, table: newTable(extensions(&o.Limits)), ctx: ctx, cancel: cancel,
		listeners: make(map[net.Listener]bool), sessions: make(map[*session]bool),
		networks: make(map[netip.Prefix]int), accounts: make(map[mail.AccountID]map[*session]bool),
	}
}

// Serve accepts connections until Shutdown, and then returns nil. A listener of implicit TLS is one of package tls.
func (s *Server) Serve(l net.Listener) error {
	if !s.register(l) {
		return l.Close()
	}
	for pause := time.Duration(0); ; {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.admit(conn)
		case s.ctxDone() || s.isClosing():
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default: // As a rule too many open files: others will end.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.opts.Log.Warn("cannot accept", "err", err, "pause", pause)
			select {
			case <-time.After(pause):
			case <-s.ctx.Done():
			}
		}
	}
}

func (s *Server) register(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners[l] = true
	return !s.closing
}

func (s *Server) ctxDone() bool { return s.ctx.Err() != nil }

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// admit starts a session, or turns the connection away.
func (s *Server) admit(conn net.Conn) {
	network := networkOf(conn.RemoteAddr())
	c := newSession(s, conn, network)
	refusal := s.enter(c)
	if s.opts.Observe.Connected != nil {
		s.opts.Observe.Connected(refusal != "")
	}
	if refusal == "" {
		go c.serve(s.ctx)
		return
	}
	if !c.link.secure() { // A handshake is not worth it.
		conn.SetWriteDeadline(time.Now().Add(time.Second)) //nolint:errcheck // it is closed in any case
		conn.Write([]byte(refusal))                        //nolint:errcheck // likewise
	}
	conn.Close() //nolint:errcheck // nothing depends on it
}

// enter counts a session in. What it returns is said to a client that is turned away.
func (s *Server) enter(c *session) (refusal string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		return "* BYE [UNAVAILABLE] Closing; try again later\r\n"
	case len(s.sessions) >= s.opts.Limits.Sessions:
		return "* BYE [UNAVAILABLE] Too many sessions; try again later\r\n"
	case s.networks[c.network] >= s.opts.Limits.SessionsPerNetwork:
		return "* BYE [LIMIT] Too many sessions from your network\r\n"
	}
	s.sessions[c] = true
	s.networks[c.network]++
	s.wg.Add(1)
	return ""
}

// leave counts a session out.
func (s *Server) leave(c *session) {
	s.mu.Lock()
	delete(s.sessions, c)
	if s.networks[c.network]--; s.networks[c.network] == 0 {
		delete(s.networks, c.network)
	}
	s.forgetAccount(c)
	s.mu.Unlock()
	if s.opts.Observe.Ended != nil {
		s.opts.Observe.Ended()
	}
	s.wg.Done()
}

// leaveAccount counts a session no more as one of its account.
func (s *Server) leaveAccount(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetAccount(c)
}

// forgetAccount is leaveAccount; mu is held.
func (s *Server) forgetAccount(c *session) {
	of := s.accounts[c.who.ID]
	delete(of, c)
	if len(of) == 0 {
		delete(s.accounts, c.who.ID)
	}
}

// enterAccount counts a session as one of an account.
func (s *Server) enterAccount(c *session, id mail.AccountID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.accounts[id]) >= s.opts.Limits.SessionsPerAccount {
		return errAccountLimit
	}
	if s.accounts[id] == nil {
		s.accounts[id] = make(map[*session]bool)
	}
	s.accounts[id][c] = true
	return nil
}

// Disconnect ends the sessions of an account after the commands they run: it was disabled or removed.
func (s *Server) Disconnect(id mail.AccountID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.accounts[id] {
		c.link.stop()
	}
}

// Shutdown ends the sessions after the commands they run, and waits for them; when ctx ends it cuts off those that are left.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for l := range s.listeners {
		l.Close() //nolint:errcheck // it accepts nothing more
	}
	for c := range s.sessions {
		c.link.stop()
	}
	s.mu.Unlock()

	ended := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		s.cancel()
		return nil
	case <-ctx.Done():
	}
	s.cancel()
	s.mu.Lock()
	for c := range s.sessions {
		c.link.close() //nolint:errcheck // it is to end
	}
	s.mu.Unlock()
	<-ended
	return ctx.Err()
}

// networkOf is what sessions are counted by: an IPv4 address or an IPv6 /64, which is what one subscriber has.
func networkOf(addr net.Addr) netip.Prefix { return limit.Network(addressOf(addr)) }

// addressOf is a client's address; not valid if it has none.
func addressOf(addr net.Addr) netip.Addr {
	if addr == nil {
		return netip.Addr{}
	}
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// newSessionID names a session in the log.
func newSessionID() string { return rand.Text()[:12] }
