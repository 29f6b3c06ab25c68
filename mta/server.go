package mta

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"posthouse/directory/sasl"
	"posthouse/internal/limit"
	"posthouse/mail"
	"posthouse/mail/smtp"
	"posthouse/mta/stage"
)

// Server receives mail on any number of listeners of one kind.
type Server struct {
	opts       Options
	traits     traits
	extensions []extension
	verbs      map[string]entry
	strangers  *list // the stages for mail from outside
	users      *list // those for mail of our users, and from RelayFrom
	buffers    buffers
	tarpit     chan struct{} // a place for each session that may wait in it; nil: none
	metrics    Metrics
	told       *limit.Rate[struct{}] // refused connections that the log tells an operator of; a flood would fill it
	broken     atomic.Bool           // the spool failed: no mail is taken until a restart

	ctx    context.Context // ends when Shutdown has no more patience
	cancel context.CancelFunc
	done   sync.WaitGroup // sessions

	mu        sync.Mutex
	closing   bool
	closed    chan struct{} // with closing
	listeners []net.Listener
	sessions  map[*session]struct{}
	networks  map[netip.Prefix]int // sessions of each client network
}

// entry is a verb in the server's table, with the extension that brings it; nil: none does.
type entry struct {
	verb
	extension *extension
}

// ErrOptions is what NewServer answers to options that cannot be.
var ErrOptions = errors.New("mta: bad options")

// NewServer makes a server; Serve starts it.
func NewServer(o Options) (*Server, error) {
	if _, err := mail.ParseDomain(o.Hostname); err != nil || o.Spool == nil || o.Directory == nil || int(o.Kind) >= len(kinds) {
		return nil, fmt.Errorf("%w: a host name, a spool and a directory are needed", ErrOptions)
	}
	if kinds[o.Kind].implicitTLS && o.TLS == nil {
		return nil, fmt.Errorf("%w: %s needs TLS", ErrOptions, o.Kind)
	}
	if err := errors.Join(CheckStrangers(o.Admission.Strangers), CheckStages(o.Admission.Users)); err != nil {
		return nil, err
	}
	if o.Auth == nil {
		o.Auth = sasl.New(sasl.Options{Directory: o.Directory})
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.TLS != nil {
		o.TLS = o.TLS.Clone() // session tickets of one server are none of another
	}
	if kinds[o.Kind].lmtp { // the server beside us has asked already, and comes as often as there is mail
		o.Clients, o.Tarpit = nil, Tarpit{}
	}
	o.Limits = o.Limits.withDefaults()
	s := &Server{
		opts:       o,
		traits:     kinds[o.Kind],
		extensions: extensions(),
		verbs:      map[string]entry{},
		closed:     make(chan struct{}),
		told:       limit.NewRate[struct{}](maxTold, time.Minute, 1),
		sessions:   map[*session]struct{}{},
		networks:   map[netip.Prefix]int{},
	}
	if o.Tarpit.Sessions > 0 {
		s.tarpit = make(chan struct{}, o.Tarpit.Sessions)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for _, v := range verbs(s.traits) {
		s.verbs[v.name] = entry{v, nil}
	}
	for i := range s.extensions {
		e := &s.extensions[i]
		for _, v := range e.verbs {
			s.verbs[v.name] = entry{v, e}
		}
	}
	s.strangers, s.users = lists(&o)
	s.metrics.judged.of(s.strangers, s.users)
	return s, nil
}

// Metrics are the server's counters.
func (s *Server) Metrics() *Metrics { return &s.metrics }

// Serve accepts connections until the listener fails, or Shutdown closes it: then it returns nil.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return l.Close()
	}
	s.listeners = append(s.listeners, l)
	s.mu.Unlock()
	for delay := time.Duration(0); ; {
		conn, err := l.Accept()
		switch {
		case err == nil:
			delay = 0
			s.accept(conn)
		case s.isClosing():
			return nil
		case !isPassing(err):
			return err
		default: // out of descriptors, say: wait for some to come back
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			s.opts.Log.Warn("cannot accept", "kind", s.opts.Kind, "err", err, "again in", delay)
			select {
			case <-time.After(delay):
			case <-s.closed:
			}
		}
	}
}

// isPassing tells errors of Accept after which it may work again.
func isPassing(err error) bool {
	passing, ok := err.(interface{ Temporary() bool }) //nolint:errorlint // only the outermost error knows
	return ok && passing.Temporary()
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// accept begins a session, or refuses the connection at once.
func (s *Server) accept(conn net.Conn) {
	sess := s.newSession(conn)
	var refusal smtp.Reply
	if !sess.isUnnamed() {
		refusal = s.opts.Clients.enter(sess.remote.Addr(), time.Now())
	}
	if refusal.Code == 0 {
		refusal = s.add(sess)
	}
	if refusal.Code != 0 {
		s.metrics.refused.add("connections")
		level := slog.LevelDebug
		if s.told.Take(struct{}{}, 1, time.Now()) == 0 {
			level = slog.LevelInfo
		}
		s.opts.Log.Log(s.ctx, level, "connection refused", "kind", s.opts.Kind, "stage", "connections", "remote", sess.remote, "reply", refusal.Text)
		s.refuseConn(conn, refusal.Append(nil))
		return
	}
	go s.serveConn(sess)
}

// refuseConn answers without a goroutine, so that a flood costs little; the few octets fit into the connection's buffer.
func (s *Server) refuseConn(conn net.Conn, reply []byte) {
	defer conn.Close()
	if s.traits.implicitTLS || conn.SetWriteDeadline(time.Now().Add(time.Millisecond)) != nil {
		return
	}
	conn.Write(reply) //nolint:errcheck // it is the last thing we say
}

func (s *Server) newSession(conn net.Conn) *session {
	sess := &session{server: s, raw: conn, conn: conn, id: strconv.FormatUint(rand.Uint64(), 36), peer: addrPort(conn.RemoteAddr())}
	sess.client = stage.Client{Session: sess.id, Local: addrPort(conn.LocalAddr())}
	sess.setRemote(sess.peer)
	return sess
}

// addrPort is the address of an end of a connection; zero if it has none.
func addrPort(a net.Addr) netip.AddrPort {
	addr, ok := a.(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return netip.AddrPort{}
	}
	ap := addr.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// serveConn is one session from its greeting to its end.
func (s *Server) serveConn(sess *session) {
	defer s.remove(sess)
	sess.log = s.logOf(sess)
	defer func() {
		if r := recover(); r != nil {
			sess.log.Error("session panicked", "panic", r, "stack", string(debug.Stack()))
		}
		sess.raw.Close()
	}()
	sess.log.Debug("session begins")
	sess.in.init(&s.buffers, sess.read)
	sess.serve(s.ctx)
}

// logOf is the log of a session.
func (s *Server) logOf(sess *session) *slog.Logger {
	return s.opts.Log.With("kind", s.opts.Kind.String(), "sid", sess.id, "remote", sess.remote)
}

// network is whose sessions are counted together: an IPv4 address, an IPv6 /64; zero for those that are not counted.
func (sess *session) network() netip.Prefix {
	addr := sess.remote.Addr()
	if !addr.IsValid() || sess.trusted || sess.server.opts.Clients.trusts(addr) {
		return netip.Prefix{}
	}
	return limit.Network(addr)
}

// add puts a session on the list if there is room for it.
func (s *Server) add(sess *session) (refusal smtp.Reply) {
	network := sess.network()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closing:
		return replyClosing
	case len(s.sessions) >= s.opts.Limits.Sessions:
		return replyBusy
	case network.IsValid() && s.networks[network] >= s.opts.Limits.SessionsPerNetwork:
		return replyBusyFrom
	}
	s.sessions[sess] = struct{}{}
	if network.IsValid() {
		s.networks[network]++
	}
	s.metrics.Sessions.Add(1)
	s.done.Add(1)
	return smtp.Reply{}
}

func (s *Server) remove(sess *session) {
	network := sess.network()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, sess)
	s.uncount(network)
	s.metrics.Sessions.Add(-1)
	s.done.Done()
}

// uncount takes a session off its network's; s.mu is held.
func (s *Server) uncount(network netip.Prefix) {
	if n := s.networks[network]; n > 1 {
		s.networks[network] = n - 1
	} else {
		delete(s.networks, network)
	}
}

// recount counts a session for another network, if there is room for it.
func (s *Server) recount(from, to netip.Prefix) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if to == from {
		return true
	}
	if to.IsValid() {
		if s.networks[to] >= s.opts.Limits.SessionsPerNetwork {
			return false
		}
		s.networks[to]++
	}
	s.uncount(from)
	return true
}

// Shutdown stops accepting, ends sessions that wait for a command with 421, and lets the others finish what they were sent. When ctx
// ends before they have, their connections are closed. It waits for all of them.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.closing {
		s.closing = true
		close(s.closed)
	}
	listeners := s.listeners
	s.listeners = nil
	for sess := range s.sessions {
		sess.shutDown()
	}
	s.mu.Unlock()
	var errs []error
	for _, l := range listeners {
		errs = append(errs, l.Close())
	}
	finished := make(chan struct{})
	go func() { s.done.Wait(); close(finished) }()
	select {
	case <-finished:
	case <-ctx.Done():
		errs = append(errs, ctx.Err())
		s.cancel()
		s.closeAll()
		<-finished
	}
	s.cancel()
	return errors.Join(errs...)
}

func (s *Server) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sess := range s.sessions {
		sess.raw.Close()
	}
}
