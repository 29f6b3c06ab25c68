package delivery

import (
	"context"
	"testing"

	"posthouse/delivery/hop"
	"posthouse/mail"
)

// TestRoom: more than one worker for a destination only while half of all are free.
func TestRoom(t *testing.T) {
	s := newScheduler(&Mover{opts: Options{Workers: 20, PerDestination: 5}}, nil)
	for _, c := range []struct{ n, busy, want int }{
		{0, 0, 5}, {4, 4, 1}, {5, 5, 0}, {9, 0, 5}, {10, 0, 1}, {10, 1, 0}, {12, 3, -2}, {19, 0, 1}, {20, 0, 0},
	} {
		s.n = c.n
		if got := s.room(&line{destination: "x", workers: c.busy}); got != c.want {
			t.Errorf("%d workers, %d of them there: room for %d, want %d", c.n, c.busy, got, c.want)
		}
	}
}

func TestRoomForLocal(t *testing.T) {
	s := newScheduler(&Mover{opts: Options{Workers: 200, PerDestination: 5}}, nil)
	if got := s.room(s.line(localDestination)); got != localAtOnce {
		t.Errorf("room for %d", got)
	}
}

func TestWorkersFor(t *testing.T) {
	for _, c := range []struct{ jobs, room, want int }{{1, 5, 1}, {4, 5, 1}, {5, 5, 2}, {100, 5, 5}, {100, 2, 2}, {100, 0, 1}, {100, -3, 1}} {
		if got := workersFor(c.jobs, c.room); got != c.want {
			t.Errorf("%d jobs, room for %d: %d workers, want %d", c.jobs, c.room, got, c.want)
		}
	}
}

// TestTakeBeginsAnew: the Take under way ends when what it passes over has room again, and not before.
func TestTakeBeginsAnew(t *testing.T) {
	for _, c := range []struct {
		left    string
		n       int // workers before one leaves
		skipped map[string]bool
		want    bool
	}{
		{"x", 15, map[string]bool{"x": true}, true},
		{"y", 15, map[string]bool{"x": true}, false},
		{"y", 10, map[string]bool{"x": true}, true}, // half are free now
		{"y", 10, nil, false},
		{"y", 9, map[string]bool{"x": true}, false},
	} {
		s := newScheduler(&Mover{opts: Options{Workers: 20, PerDestination: 5}}, nil)
		again := false
		l := s.line(c.left)
		s.n, l.workers, s.skipped, s.again = c.n, 1, c.skipped, func() { again = true }
		s.leave(l)
		if again != c.want || len(s.lines) != 0 || s.n != c.n-1 {
			t.Errorf("%+v: %v", c, again)
		}
	}
}

type panicking struct{ hop.Transport }

func (panicking) Deliver(context.Context, hop.Hop, hop.Task) []hop.Result { panic("boom") }

// TestPanic: a message that makes a transport panic is put off, and nothing ends.
func TestPanic(t *testing.T) {
	s := &scheduler{Mover: &Mover{opts: withDefaults(Options{})}}
	task := hop.Task{Envelope: &mail.Envelope{}, Recipients: make([]mail.Recipient, 2)}
	results := s.guarded(panicking{}, hop.Hop{}, task)
	if len(results) != 2 || results[0].Status != hop.Temporary || results[1].Status != hop.Temporary {
		t.Errorf("%+v", results)
	}
}
