package link

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// newHub is one whose sessions say hello and read until they may not, or to the end.
func newHub(l Limits) *Hub[string] {
	return NewHub[string](Options{
		Limits: l, Times: Times{Login: time.Hour, Idle: time.Hour, Command: time.Minute, Write: time.Minute}, Log: slog.New(slog.DiscardHandler),
		Refusal: func(err error) string { return "no: " + err.Error() + "\n" },
		Session: func(_ context.Context, l *Link) Rest {
			io.WriteString(l, "hello\n")
			return func() Rest {
				defer l.Close()
				for l.Await() {
					if _, err := l.Read(make([]byte, 1)); err != nil {
						break
					}
				}
				if l.Stopping() {
					io.WriteString(l, "bye\n")
				}
				return nil
			}
		},
	})
}

// connect is a client of a session, and what it is told first.
func connect(t *testing.T, h *Hub[string]) (net.Conn, string) {
	t.Helper()
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close() })
	said := make(chan string, 1)
	go func() {
		b := make([]byte, 100)
		n, _ := ours.Read(b)
		said <- string(b[:n])
	}()
	h.Admit(theirs)
	return ours, <-said
}

func TestHubCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(Limits{Sessions: 3, PerNetwork: 2, PerUser: 1})
		a, said := connect(t, h)
		if said != "hello\n" {
			t.Error(said)
		}
		connect(t, h)
		if _, said := connect(t, h); said != "no: link: too many sessions of a network\n" { // pipes have no addresses, and are one
			t.Error(said)
		}
		a.Close()
		synctest.Wait()
		if _, said := connect(t, h); said != "hello\n" {
			t.Error("who has left still counts:", said)
		}
		h.opts.Limits.Sessions = 2
		if _, said := connect(t, h); said != "no: link: too many sessions\n" {
			t.Error(said)
		}
		if err := h.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if _, said := connect(t, h); said != "no: link: shutting down\n" {
			t.Error(said)
		}
		if len(h.sessions)+len(h.networks)+len(h.users)+len(h.of) != 0 {
			t.Errorf("left: %v %v %v %v", h.sessions, h.networks, h.users, h.of)
		}
	})
}

func TestHubUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(Limits{Sessions: 9, PerNetwork: 9, PerUser: 1})
		a, _ := connect(t, h)
		b, _ := connect(t, h)
		var links []*Link
		for l := range h.sessions {
			links = append(links, l)
		}
		if err := h.EnterUser(links[0], "bob"); err != nil {
			t.Error(err)
		}
		if err := h.EnterUser(links[1], "bob"); !errors.Is(err, ErrUserFull) {
			t.Error(err)
		}
		h.LeaveUser(links[1]) // it is nobody's
		h.LeaveUser(links[0])
		if err := h.EnterUser(links[1], "bob"); err != nil {
			t.Error(err)
		}
		h.Disconnect("dave")
		synctest.Wait()
		if links[0].Stopping() || links[1].Stopping() {
			t.Error("a disconnect of somebody else ends it")
		}
		h.Disconnect("bob")
		said := make(chan string, 2)
		for _, c := range []net.Conn{a, b} {
			go func() {
				b, _ := io.ReadAll(c)
				said <- string(b)
			}()
		}
		if s := <-said; s != "bye\n" {
			t.Error(s)
		}
		synctest.Wait()
		if len(said) != 0 || len(h.users)+len(h.of) != 0 || len(h.sessions) != 1 {
			t.Error("the other has ended too, or it is counted still")
		}
		if err := h.Shutdown(t.Context()); err != nil || <-said != "bye\n" {
			t.Error(err)
		}
	})
}

// Who does not end in time is cut off, and still waited for.
func TestHubCutsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(Limits{Sessions: 9, PerNetwork: 9})
		connect(t, h) // and reads no farewell
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := h.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second || len(h.sessions) != 0 {
			t.Error(err, time.Since(began))
		}
	})
}
