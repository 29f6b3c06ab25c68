// Package milter is the mail server's side of the milter protocol, version 6, by which filters like rspamd and OpenDKIM take part in
// SMTP sessions. The protocol has no RFC; libmilter is what it is.
//
// It owns connections to filters and the protocol's octets. It must not know sessions, envelopes or what an answer means for the mail: a
// filter that is lost, is too late or talks nonsense is an error, and whoever asked decides; it is never taken for consent.
//
// The flow: Filter.Begin gives a Session, on a connection that another session left (QUIT_NC), or a new one with its options negotiated.
// Session.Connect and Hello, then for each message Mail, Rcpt, Data, Header, EndOfHeader, Body and EndOfMessage, which gives the changes
// the filter wants; Abort ends a message before, Close the session. What the filter did not want to hear of is not sent, and an answer that
// it said it would not give is not waited for.
//
// A Session belongs to one goroutine, a Filter to many. Every answer has a time, and a context bounds all of them.
package milter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Errors. ErrProtocol is a filter that does not keep to the protocol, ErrChange one that wants what cannot be done.
var (
	ErrProtocol = errors.New("milter: the filter does not keep to the protocol")
	ErrChange   = errors.New("milter: the filter wants a change that cannot be made")
)

const (
	maxIdle     = 20               // connections that are kept for the next session
	idleTime    = 30 * time.Second // and for how long
	dialTime    = 10 * time.Second
	defaultTime = 30 * time.Second
	quitTime    = time.Second // for the last word, to which there is no answer
)

// Options say where a filter is.
type Options struct {
	Network, Address string        // as of net.Dial: "tcp", "127.0.0.1:11332"; "unix", "/run/filter.sock"
	Timeout          time.Duration // of each answer; 0: 30 s
	// Reuse keeps a connection for the next session (QUIT_NC). Not every libmilter answers to CONNECT after that, so it is for filters of
	// which it is known: rspamd does.
	Reuse bool
}

// Filter is a milter that can be asked.
type Filter struct {
	opts Options

	mu     sync.Mutex
	idle   []idle // used last is last
	closed bool
}

// idle is a connection that waits for the next session.
type idle struct {
	*conn
	since time.Time
}

// New is a filter, to which nobody has connected yet.
func New(o Options) *Filter {
	if o.Timeout == 0 {
		o.Timeout = defaultTime
	}
	return &Filter{opts: o}
}

// Begin begins a session.
func (f *Filter) Begin(ctx context.Context) (*Session, error) {
	for {
		c := f.take()
		if c == nil {
			break
		}
		if c.isAlive() {
			return &Session{filter: f, conn: c}, nil
		}
		c.Close()
	}
	dialer := net.Dialer{Timeout: dialTime}
	raw, err := dialer.DialContext(ctx, f.opts.Network, f.opts.Address)
	if err != nil {
		return nil, fmt.Errorf("milter: %w", err)
	}
	c := newConn(raw, f.opts.Timeout)
	if err := c.negotiate(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return &Session{filter: f, conn: c}, nil
}

// take is a connection that is idle, the one used last; nil: there is none.
func (f *Filter) take() *conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.idle) - 1
	if n < 0 {
		return nil
	}
	c := f.idle[n].conn
	f.idle = f.idle[:n]
	return c
}

// put keeps a connection for the next session, if there is room, and lets go of those that waited long.
func (f *Filter) put(c *conn) {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.idle) > 0 && (len(f.idle) >= maxIdle || now.Sub(f.idle[0].since) > idleTime) {
		f.idle[0].Close()
		f.idle = f.idle[1:]
	}
	if f.closed {
		c.Close()
		return
	}
	f.idle = append(f.idle, idle{c, now})
}

// Close closes the connections that are idle, and those in use when their sessions end.
func (f *Filter) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for _, c := range f.idle {
		c.quit(cmdQuit)
		c.Close()
	}
	f.idle = nil
	return nil
}
