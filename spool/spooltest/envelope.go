package spooltest

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"posthouse/mail"
	"posthouse/spool"
)

// commit commits a message whose envelope is changed before.
func (h *house) commit(body, to string, change func(*mail.Envelope)) (mail.ID, error) {
	h.Helper()
	d := h.draft(body, to)
	change(d.Envelope())
	return d.Commit(h.Context())
}

// greaterPriorityFirst: among what is due the greater priority goes first, also between destinations: RFC 6710 §5.1.
func greaterPriorityFirst(h *house) {
	for _, p := range []mail.Priority{0, -3, 9, 4, 0, 4} {
		for _, to := range []string{"a@one.test", "b@two.test"} {
			_, err := h.commit("body", to, func(e *mail.Envelope) { e.Priority = p })
			h.check(err)
			time.Sleep(time.Second)
		}
	}
	_, err := h.commit("body", "a@one.test", func(e *mail.Envelope) { e.Priority, e.NotBefore = 9, time.Now().Add(time.Hour) })
	h.check(err)
	order := func(n int, w spool.Want) string {
		var got []string
		for _, j := range h.take(n, w) {
			got = append(got, fmt.Sprintf("%d %s", j.Priority, j.Destination))
		}
		return strings.Join(got, ", ")
	}
	if got := order(3, spool.Want{Limit: 3}); got != "9 one.test, 9 two.test, 4 one.test" {
		h.Error(got)
	}
	if got := order(2, spool.Want{Destination: "two.test", Limit: 2}); got != "4 two.test, 4 two.test" {
		h.Error(got)
	}
	j := h.take(1, spool.Want{Limit: 1})[0] // put off: it does not go before what is due
	h.settle(j.Lease, spool.Outcome{N: 0, Result: spool.Retry, Due: time.Now().Add(time.Minute)})
	h.reopen()
	h.change(1, spool.Filter{Destination: "two.test", Limit: 1}, spool.Hold)
	h.change(1, spool.Filter{Destination: "two.test"}, spool.Release)
	got := strings.Split(order(11, spool.Want{}), ", ")
	if !strings.HasPrefix(got[0], "9") || !strings.HasPrefix(got[2], "4") || !strings.HasPrefix(got[5], "0") || !strings.HasPrefix(got[10], "-3") {
		h.Error(got)
	}
}

// ownCopy: which recipient is the sender's own copy is known as long as the message is.
func ownCopy(h *house) {
	id, err := h.commit("body", "a@one.test", func(e *mail.Envelope) {
		e.To = append(e.To, mail.Recipient{Address: e.To[0].Address, Own: true})
	})
	h.check(err)
	h.reopen()
	j := h.take(1, spool.Want{})[0]
	if len(j.Recipients) != 2 || j.Recipients[0].Own || !j.Recipients[1].Own {
		h.Errorf("%+v", j.Recipients)
	}
	e, err := h.Show(h.Context(), id)
	h.check(err)
	if len(e.Recipients) != 2 || e.Recipients[0].Own || !e.Recipients[1].Own {
		h.Errorf("%+v", e.Recipients)
	}
}

// notBefore: held until then, by whatever way it would be taken: RFC 4865.
func notBefore(h *house) {
	start := time.Now()
	id, err := h.commit("body", "a@one.test", func(e *mail.Envelope) { e.NotBefore = start.Add(time.Hour) })
	h.check(err)
	taker := h.taker(h.Context(), spool.Want{})
	if !waiting(taker) {
		h.Fatal("taken too early")
	}
	time.Sleep(30 * time.Minute)
	if !waiting(taker) {
		h.Fatal("taken too early")
	}
	jobs := <-taker
	if len(jobs) != 1 || jobs[0].Lease.ID != id || time.Since(start) < time.Hour || time.Since(start) > time.Hour+time.Second {
		h.Fatalf("%+v after %v", jobs, time.Since(start))
	}
	if r := jobs[0].Recipients[0]; !r.Since.Equal(start.Add(time.Hour)) {
		h.Errorf("its schedule began at %v", r.Since)
	}
	h.settle(jobs[0].Lease, delivered(0))
	_, err = h.commit("body", "a@one.test", func(e *mail.Envelope) { e.NotBefore = time.Now().Add(time.Hour) })
	h.check(err)
	h.reopen()
	h.take(0, spool.Want{})
	h.change(1, spool.Filter{}, spool.RetryNow)
	h.settle(h.take(1, spool.Want{})[0].Lease, delivered(0))
	_, err = h.commit("body", "a@one.test", func(e *mail.Envelope) { e.NotBefore = time.Now().Add(-time.Hour) })
	h.check(err)
	h.take(1, spool.Want{})
}

// once: what came under a name is not stored again within a day, also after a restart and after the message left.
func once(h *house) {
	named := func(body string) (mail.ID, error) {
		return h.commit(body, "a@one.test", func(e *mail.Envelope) { e.Once = "name" })
	}
	_, err := h.Earlier(h.Context(), "name")
	h.wants(err, spool.ErrNotFound)
	first, err := named("body")
	h.check(err)
	for _, body := range []string{"body", strings.Repeat("x", spoolLarge)} {
		d := h.draft(body, "a@one.test")
		d.Envelope().Once = "name"
		id, err := d.Commit(h.Context())
		h.wants(err, spool.ErrRepeated)
		if id != first {
			h.Errorf("%v, want %v", id, first)
		}
		h.check(d.Abort())
		if h.read(d.Envelope().ID) != "" {
			h.Error("the repetition was stored")
		}
	}
	h.settle(h.take(1, spool.Want{})[0].Lease, delivered(0))
	time.Sleep(20 * time.Hour)
	h.reopen()
	if id, err := named("body"); id != first || !errors.Is(err, spool.ErrRepeated) {
		h.Error(id, err)
	}
	if id, err := h.Earlier(h.Context(), "name"); id != first || err != nil {
		h.Error(id, err)
	}
	_, err = h.commit("body", "a@one.test", func(e *mail.Envelope) { e.Once = "another" })
	h.check(err)
	time.Sleep(5 * time.Hour)
	_, err = h.Earlier(h.Context(), "name")
	h.wants(err, spool.ErrNotFound)
	second, err := named("body")
	h.check(err)
	if second == first {
		h.Error("the earlier ID")
	}
	if id, err := named("body"); id != second || !errors.Is(err, spool.ErrRepeated) {
		h.Error(id, err)
	}
	h.take(2, spool.Want{})
}

// onceAtTheSameTime: of many at the same moment one is stored, and all are told its ID.
func onceAtTheSameTime(h *house) {
	const many = 20
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids, stored := make(map[mail.ID]int), 0
	for range many {
		wg.Go(func() {
			id, err := h.commit("body", "a@one.test", func(e *mail.Envelope) { e.Once = "name" })
			if err != nil && !errors.Is(err, spool.ErrRepeated) {
				h.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			ids[id]++
			if err == nil {
				stored++
			}
		})
	}
	wg.Wait()
	if len(ids) != 1 || stored != 1 {
		h.Errorf("%v, %d stored", ids, stored)
	}
	if j := h.take(1, spool.Want{})[0]; ids[j.Lease.ID] != many {
		h.Errorf("%v was taken", j.Lease.ID)
	}
}

// settledLate: a lease whose time has passed is still good for what nobody took since.
func settledLate(h *house) {
	id := h.put("body", "a@one.test", "b@one.test")
	late := h.take(1, spool.Want{})[0]
	time.Sleep(time.Hour)
	h.take(0, spool.Want{Destination: "two.test"}) // looks at the leases
	h.settle(late.Lease, delivered(0))
	h.wants(h.Settle(h.Context(), late.Lease, []spool.Outcome{delivered(1)}), spool.ErrLeaseLost)
	j := h.take(1, spool.Want{})[0]
	if len(j.Recipients) != 1 || j.Recipients[0].N != 1 {
		h.Fatalf("%+v", j.Recipients)
	}
	time.Sleep(time.Hour)
	second := h.take(1, spool.Want{})[0]
	h.wants(h.Settle(h.Context(), j.Lease, []spool.Outcome{delivered(1)}), spool.ErrLeaseLost)
	h.settle(second.Lease, delivered(1))
	_, err := h.Show(h.Context(), id)
	h.wants(err, spool.ErrNotFound)
	if n, err := io.WriteString(h.draft("", "a@one.test"), "x"); n != 1 || err != nil { // and the spool goes on
		h.Error(n, err)
	}
}
