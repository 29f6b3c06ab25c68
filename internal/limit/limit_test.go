package limit

import (
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var began = time.Unix(1_000_000, 0)

func at(d time.Duration) time.Time { return began.Add(d) }

func TestNetwork(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7": "192.0.2.7/32", "::ffff:192.0.2.7": "192.0.2.7/32", "2001:db8:1:2:3::4": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := Network(netip.MustParseAddr(in)); got.String() != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	if got := Network(netip.Addr{}); got.IsValid() {
		t.Error(got)
	}
}

func TestWindow(t *testing.T) {
	w := NewWindow[string](time.Hour, 2)
	for _, step := range []struct {
		key  string
		n    int
		at   time.Duration
		want int
	}{
		{"a", 1, 0, 1},
		{"a", 2, 59 * time.Minute, 3},
		{"b", 1, 59 * time.Minute, 1},
		{"a", -1, 59 * time.Minute, 2},
		{"a", 1, time.Hour, 1}, // the window is over
		{"c", 1, time.Hour, 1}, // b was used least recently, and goes
		{"b", 1, time.Hour, 1},
	} {
		if got := w.Add(step.key, step.n, at(step.at)); got != step.want {
			t.Errorf("%+v: %d", step, got)
		}
	}
	if got := w.Count("c", at(90*time.Minute)); got != 1 {
		t.Error(got)
	}
	if got := w.Count("c", at(2*time.Hour)); got != 0 {
		t.Error(got)
	}
}

func TestRate(t *testing.T) {
	r := NewRate[string](60, time.Minute, 10)
	for i := range 60 {
		if wait := r.Take("a", 1, at(0)); wait != 0 {
			t.Fatalf("event %d of the burst waits %s", i, wait)
		}
	}
	if wait := r.Take("a", 1, at(0)); wait != time.Second {
		t.Errorf("after the burst: %s", wait)
	}
	if wait := r.Take("a", 1, at(time.Second)); wait != 0 {
		t.Errorf("a second later: %s", wait)
	}
	if wait := r.Take("a", 5, at(2*time.Second)); wait != 4*time.Second {
		t.Errorf("five, with room for one: %s", wait)
	}
	if wait := r.Take("a", 60, at(time.Hour)); wait != 0 {
		t.Errorf("a bucket is full again: %s", wait)
	}
	if wait := r.Take("b", 61, at(0)); wait == 0 {
		t.Error("more than a burst was taken")
	}
}

func TestBackoff(t *testing.T) {
	b := NewBackoff[string](Patience{Free: 2, First: time.Second, Most: 5 * time.Second, Forget: time.Minute}, 10)
	for i := range 3 {
		if wait := b.Try("a", at(0)); wait != 0 {
			t.Fatalf("attempt %d waits %s", i, wait)
		}
	}
	now := time.Duration(0)
	for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second} {
		if wait := b.Wait("a", at(now)); wait != want {
			t.Errorf("failure %d: %s, want %s", i, wait, want)
		}
		if wait := b.Try("a", at(now+want-1)); wait != 1 {
			t.Errorf("failure %d: too early, and waits %s", i, wait)
		}
		now += want
		if wait := b.Try("a", at(now)); wait != 0 {
			t.Errorf("failure %d: in time, and waits %s", i, wait)
		}
	}
	if wait := b.Wait("a", at(now+time.Minute)); wait != 0 {
		t.Errorf("after a minute of quiet: %s", wait)
	}
	for i := range 100 {
		if wait := b.Try("b", at(0)); wait != 0 {
			t.Fatalf("success %d waits %s", i, wait)
		}
		b.Undo("b")
	}
	for range 4 {
		b.Try("d", at(0))
	}
	b.Try("d", at(time.Second))
	b.Undo("d")
	if wait := b.Wait("d", at(time.Second)); wait != 0 {
		t.Errorf("after a success that had its time, another waits %s", wait)
	}
	for range 3 {
		b.Try("c", at(0))
	}
	b.Forget("c")
	if wait := b.Wait("c", at(0)); wait != 0 {
		t.Error(wait)
	}
}

// Attempts under way count: a thousand at once are no way around the wait.
func TestBackoffAtOnce(t *testing.T) {
	b := NewBackoff[string](Patience{Free: 3, First: time.Minute, Most: time.Hour, Forget: 24 * time.Hour}, 10)
	var begun atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if b.Try("a", at(0)) == 0 {
					begun.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if begun.Load() != 4 {
		t.Errorf("%d attempts began", begun.Load())
	}
}

func TestLongWaitsDoNotOverflow(t *testing.T) {
	b := NewBackoff[string](Patience{First: time.Hour, Most: 300 * 24 * time.Hour, Forget: 400 * 24 * time.Hour}, 10)
	now := time.Duration(0)
	for range 40 {
		if wait := b.Try("a", at(now)); wait != 0 {
			t.Fatal(wait)
		}
		wait := b.Wait("a", at(now))
		if wait <= 0 || wait > b.patience.Most {
			t.Fatal(wait)
		}
		now += wait
	}
}

func TestBans(t *testing.T) {
	b := NewBans[string](10)
	b.Add("a", Ban{"guessing", at(0), at(time.Hour)})
	b.Add("a", Ban{"noise", at(1), at(time.Minute)}) // shorter
	b.Add("b", Ban{"noise", at(0), at(time.Minute)})
	if ban, ok := b.Find("a", at(59*time.Minute)); !ok || ban.Why != "guessing" {
		t.Error(ban, ok)
	}
	if got := maps.Collect(b.All(at(2 * time.Minute))); len(got) != 1 || got["a"].Why != "guessing" {
		t.Error(got)
	}
	if _, ok := b.Find("a", at(time.Hour)); ok {
		t.Error("a ban does not end")
	}
	b.Add("c", Ban{"noise", at(0), at(time.Hour)})
	b.Lift("c")
	if _, ok := b.Find("c", at(0)); ok {
		t.Error("a ban was not lifted")
	}
}
