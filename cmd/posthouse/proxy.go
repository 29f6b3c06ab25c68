package main

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
)

// Limits of connections that may send a PROXY header.
const (
	proxyHeaderTime = 5 * time.Second
	proxyWaiting    = 256 // connections whose header has not come yet
)

// behindProxy believes the PROXY headers of some networks: sessions, limits and logs then see the real client. Of others a header is no
// header but a command nobody knows.
func behindProxy(l net.Listener, from []netip.Prefix) net.Listener {
	if len(from) == 0 {
		return l
	}
	headers := &proxyproto.Listener{Listener: l, ReadHeaderTimeout: proxyHeaderTime, ConnPolicy: func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
		peer, err := netip.ParseAddrPort(o.Upstream.String())
		if err != nil {
			return proxyproto.REJECT, err
		}
		if slices.ContainsFunc(from, func(p netip.Prefix) bool { return p.Contains(peer.Addr().Unmap()) }) {
			return proxyproto.USE, nil
		}
		return proxyproto.SKIP, nil
	}}
	return &headersFirst{Listener: headers, ready: make(chan accepted), slots: make(chan struct{}, proxyWaiting), closed: make(chan struct{})}
}

// headersFirst hands a connection on when its header has come, so that one that is silent does not keep the others waiting.
type headersFirst struct {
	net.Listener
	ready  chan accepted
	slots  chan struct{} // full while as many wait as may
	begin  sync.Once
	end    sync.Once
	closed chan struct{}
}

type accepted struct {
	conn net.Conn
	err  error
}

// Accept is net.Listener.
func (h *headersFirst) Accept() (net.Conn, error) {
	h.begin.Do(func() { go h.acceptAll() })
	select {
	case a := <-h.ready:
		return a.conn, a.err
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close is net.Listener. Connections that wait for their header end with it, at the latest when their time is over.
func (h *headersFirst) Close() error {
	h.end.Do(func() { close(h.closed) })
	return h.Listener.Close()
}

func (h *headersFirst) acceptAll() {
	for {
		conn, err := h.Listener.Accept()
		if err != nil {
			if !h.hand(accepted{err: err}) {
				return
			}
			continue
		}
		select {
		case h.slots <- struct{}{}:
		case <-h.closed:
			conn.Close()
			return
		}
		go func() {
			conn.RemoteAddr() // reads the header
			<-h.slots
			if !h.hand(accepted{conn: conn}) {
				conn.Close()
			}
		}()
	}
}

// hand gives what came to Accept; false: nobody accepts any more.
func (h *headersFirst) hand(a accepted) bool {
	select {
	case h.ready <- a:
		return true
	case <-h.closed:
		return false
	}
}
