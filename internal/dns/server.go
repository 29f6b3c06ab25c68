package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/miekg/dns"
)

// Server serves a Zone over UDP and TCP to others: resolvers of other programs in tests.
type Server struct {
	Addr     netip.AddrPort
	udp, tcp *dns.Server
	done     chan error
}

// Serve starts a server on an address of this machine; port 0 is a free one.
func Serve(z *Zone, at netip.AddrPort) (*Server, error) {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	at = netip.AddrPortFrom(at.Addr(), l.Addr().(*net.TCPAddr).AddrPort().Port())
	u, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s := &Server{Addr: at, done: make(chan error, 2)}
	started := make(chan struct{}, 2)
	s.udp = &dns.Server{PacketConn: u, Handler: z, NotifyStartedFunc: func() { started <- struct{}{} }}
	s.tcp = &dns.Server{Listener: l, Handler: z, NotifyStartedFunc: func() { started <- struct{}{} }}
	go func() { s.done <- s.udp.ActivateAndServe() }()
	go func() { s.done <- s.tcp.ActivateAndServe() }()
	for range 2 {
		select {
		case <-started:
		case err := <-s.done:
			return nil, fmt.Errorf("dns: %w", err)
		}
	}
	return s, nil
}

// Close stops the server and waits for it.
func (s *Server) Close() error {
	ctx := context.Background()
	err := errors.Join(s.udp.ShutdownContext(ctx), s.tcp.ShutdownContext(ctx))
	return errors.Join(err, <-s.done, <-s.done)
}

// ServeDNS makes a Zone a handler of the DNS library.
func (z *Zone) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	r := new(dns.Msg)
	if len(q.Question) != 1 {
		w.WriteMsg(r.SetRcode(q, dns.RcodeFormatError))
		return
	}
	rrs, rcode := z.answer(owner(q.Question[0].Name), q.Question[0].Qtype)
	r.SetRcode(q, rcode)
	r.RecursionAvailable, r.Compress, r.Answer = true, true, rrs
	size := dns.MinMsgSize
	if opt := q.IsEdns0(); opt != nil {
		size = int(opt.UDPSize())
		r.SetEdns0(maxUDP, false)
	}
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		r.Truncate(size)
	}
	w.WriteMsg(r) // a client that went away needs no answer
}
