package testkit

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"
)

// Log shows a server's log: its errors, and with -v everything.
func Log(t testing.TB) *slog.Logger {
	level := slog.LevelError
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level}))
}

// Listen is a loopback port.
func Listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// server is one of a line protocol.
type server interface {
	Serve(l net.Listener) error
	Shutdown(ctx context.Context) error
}

// Serve has a server serve until the test ends; every session must have ended soon after.
func Serve(t testing.TB, s server, l net.Listener) {
	t.Helper()
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
}

// Conn is a connection without a network: its other side says what In has, and then nothing more, and takes everything.
type Conn struct {
	net.Conn
	In    io.Reader // nil: it says nothing
	Out   io.Writer // gets what is written; nil: nobody does
	Taken int64     // octets that were written
}

func (c *Conn) Read(p []byte) (int, error) {
	if c.In == nil {
		return 0, io.EOF
	}
	return c.In.Read(p)
}

func (c *Conn) Write(p []byte) (int, error) {
	c.Taken += int64(len(p))
	if c.Out == nil {
		return len(p), nil
	}
	return c.Out.Write(p)
}

// The rest of net.Conn does nothing.
func (c *Conn) Close() error                     { return nil }
func (c *Conn) SetDeadline(time.Time) error      { return nil }
func (c *Conn) SetReadDeadline(time.Time) error  { return nil }
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }
func (c *Conn) RemoteAddr() net.Addr             { return nil }
