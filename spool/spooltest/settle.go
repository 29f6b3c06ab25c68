package spooltest

import (
	"time"

	"posthouse/spool"
)

func unnamedAreReleased(h *house) {
	id := h.put("body", "a@one.test", "b@one.test", "c@one.test")
	j := h.take(1, spool.Want{})[0]
	h.settle(j.Lease, delivered(1))
	again := h.take(1, spool.Want{})[0]
	if len(again.Recipients) != 2 || again.Recipients[0].N != 0 || again.Recipients[1].N != 2 || again.Recipients[0].Attempts != 0 {
		h.Fatalf("%+v", again.Recipients)
	}
	e, err := h.Show(h.Context(), id)
	h.check(err)
	if e.Recipients[1].State != spool.Done {
		h.Errorf("%+v", e.Recipients)
	}
	h.settle(again.Lease)
	h.settle(h.take(1, spool.Want{})[0].Lease, delivered(0), delivered(2))
	_, err = h.Show(h.Context(), id)
	h.wants(err, spool.ErrNotFound)
}

func leaseEnds(h *house) {
	h.put("body", "bob@south.test")
	start := time.Now()
	old := h.take(1, spool.Want{Lease: time.Minute})[0]
	j := h.take(1, spool.Want{Lease: time.Minute})[0] // waits for it
	if waited := time.Since(start); waited < time.Minute || waited > time.Minute+time.Second {
		h.Errorf("taken after %v", waited)
	}
	if j.Epoch <= old.Epoch {
		h.Error("the epoch did not grow")
	}
	h.wants(h.Settle(h.Context(), old.Lease, []spool.Outcome{delivered(0)}), spool.ErrLeaseLost)
	h.settle(j.Lease, delivered(0))
	h.wants(h.Settle(h.Context(), j.Lease, nil), spool.ErrLeaseLost)
}

func extendKeeps(h *house) {
	h.put("body", "bob@south.test")
	j := h.take(1, spool.Want{Lease: time.Minute})[0]
	start := time.Now()
	time.Sleep(50 * time.Second)
	h.check(h.Extend(h.Context(), j.Lease, time.Minute))
	second := h.take(1, spool.Want{Lease: time.Hour})[0]
	if waited := time.Since(start); waited < 110*time.Second || waited > 111*time.Second {
		h.Errorf("taken after %v", waited)
	}
	h.wants(h.Extend(h.Context(), j.Lease, time.Minute), spool.ErrLeaseLost)
	h.check(h.Extend(h.Context(), second.Lease, time.Second)) // sooner than it was
	start = time.Now()
	h.take(1, spool.Want{})
	if waited := time.Since(start); waited > 2*time.Second {
		h.Errorf("taken after %v", waited)
	}
}

// settleFences: a settle that names what is not of its lease changes nothing.
func settleFences(h *house) {
	h.put("body", "a@one.test", "b@two.test")
	for _, j := range h.take(2, spool.Want{}) {
		mine := j.Recipients[0].N
		for name, outcomes := range map[string][]spool.Outcome{
			"another's": {delivered(mine), delivered(1 - mine)},
			"twice":     {delivered(mine), delivered(mine)},
			"unknown":   {delivered(mine), delivered(7)},
		} {
			if err := h.Settle(h.Context(), j.Lease, outcomes); err == nil {
				h.Errorf("%s: taken", name)
			}
		}
		h.wants(h.Settle(h.Context(), spool.Lease{ID: j.Lease.ID, Epoch: j.Epoch + 100}, nil), spool.ErrLeaseLost)
		h.wants(h.Settle(h.Context(), spool.Lease{ID: j.Lease.ID + 1, Epoch: j.Epoch}, nil), spool.ErrLeaseLost)
		h.settle(j.Lease, delivered(mine))
	}
}

func deadKeepsItsMessage(h *house) {
	id := h.put("body", "a@one.test", "b@one.test")
	j := h.take(1, spool.Want{})[0]
	h.settle(j.Lease, delivered(0), spool.Outcome{N: 1, Result: spool.Failed, Reply: "550 5.1.1 no such user"})
	if h.read(id) != "body" {
		h.Error("a dead recipient does not keep its message")
	}
	dead := h.list(spool.Filter{States: []spool.State{spool.Dead}})
	if len(dead) != 1 || len(dead[0].Recipients) != 1 || dead[0].Recipients[0].LastReply != "550 5.1.1 no such user" {
		h.Fatalf("%+v", dead)
	}
	h.take(0, spool.Want{})
	time.Sleep(13 * 24 * time.Hour)
	if h.read(id) != "body" {
		h.Error("forgotten too early")
	}
	time.Sleep(25 * time.Hour)
	if h.read(id) != "" {
		h.Error("kept too long")
	}
}

// noticesAreAtomic: the notices of a settle are there if and only if it happened.
func noticesAreAtomic(h *house) {
	id := h.put("body", "a@one.test")
	old := h.take(1, spool.Want{})[0]
	j := h.take(1, spool.Want{})[0] // after the first lease ended
	lost := h.draft("never", "alice@north.test")
	h.wants(h.Settle(h.Context(), old.Lease, []spool.Outcome{{N: 0, Result: spool.Failed}}, lost), spool.ErrLeaseLost)
	h.check(lost.Abort())
	h.take(0, spool.Want{Destination: "north.test"})

	small, large := h.draft("bounce", "alice@north.test"), h.draft(string(make([]byte, 300_000)), "alice@north.test")
	h.check(h.Settle(h.Context(), j.Lease, []spool.Outcome{{N: 0, Result: spool.Failed}}, small, large))
	for i, n := range h.take(2, spool.Want{}) {
		if n.Lease.ID <= id || n.Destination != "north.test" || n.Size != []int64{6, 300_000}[i] {
			h.Errorf("%+v", n)
		}
	}
	if _, err := small.Commit(h.Context()); err == nil {
		h.Error("a notice was committed again")
	}
}
