package spool

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestWakeUpIsNotLost: if the one that is woken leaves at the same time, the next is woken in its place.
func TestWakeUpIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bell
		leaving := sleeper{b.heard(), make(chan struct{})}
		b.asleep = append(b.asleep, leaving)
		next := make(chan error, 1)
		go func() { next <- b.wait(t.Context(), b.heard()) }()
		synctest.Wait()
		b.ring()
		if synctest.Wait(); len(next) != 0 {
			t.Error("one ring woke two")
		}
		b.leave(leaving.woken)
		if err := <-next; err != nil {
			t.Error(err)
		}
	})
}

func TestRingsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bell
		start := time.Now()
		b.ringAt(start.Add(time.Hour))
		b.ringAt(start.Add(time.Minute))
		b.ringAt(start.Add(2 * time.Minute)) // later than what is set
		heard := b.heard()
		if err := b.wait(t.Context(), heard); err != nil || time.Since(start) != time.Minute {
			t.Error(err, time.Since(start))
		}
		if b.heard() != heard+1 {
			t.Error("it rang more than once")
		}
		b.ringAt(start) // in the past
		synctest.Wait()
		if err := b.wait(t.Context(), heard+1); err != nil {
			t.Error(err)
		}
		b.close()
		if err := b.wait(t.Context(), b.heard()); err != ErrClosed {
			t.Error(err)
		}
	})
}
