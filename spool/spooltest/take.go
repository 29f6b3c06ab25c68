package spooltest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing/synctest"
	"time"

	"posthouse/mail"
	"posthouse/spool"
)

func jobsByDestination(h *house) {
	h.put("body", "a@one.test", "b@two.test", "c@one.test")
	got := make(map[string]int)
	for _, j := range h.take(2, spool.Want{}) {
		for _, r := range j.Recipients {
			if r.Address.Domain() != j.Destination || r.State != spool.Leased {
				h.Errorf("%+v in a job for %s", r, j.Destination)
			}
			got[r.Address.Local()] = r.N
		}
	}
	if fmt.Sprint(got) != "map[a:0 b:1 c:2]" {
		h.Error(got)
	}
	h.take(0, spool.Want{})
}

// taker waits for jobs; what it got is in its channel when it is done.
func (h *house) taker(ctx context.Context, w spool.Want) <-chan []spool.Job {
	w.Limit, w.Lease = 10, time.Hour
	c := make(chan []spool.Job, 1)
	go func() {
		jobs, err := h.Take(ctx, w)
		if err != nil && ctx.Err() == nil && !errors.Is(err, spool.ErrClosed) {
			h.Error(err)
		}
		c <- jobs
	}()
	synctest.Wait()
	return c
}

// waiting tells whether a taker got nothing yet.
func waiting(c <-chan []spool.Job) bool {
	synctest.Wait()
	return len(c) == 0
}

func takeWaits(h *house) {
	first, second := h.taker(h.Context(), spool.Want{}), h.taker(h.Context(), spool.Want{})
	if !waiting(first) || !waiting(second) {
		h.Fatal("a taker did not wait")
	}
	h.put("body", "bob@south.test")
	synctest.Wait()
	if len(first)+len(second) != 1 {
		h.Fatal("one message, and not one taker got it")
	}
	h.put("body", "bob@south.test")
	if len(<-first) != 1 || len(<-second) != 1 {
		h.Error("each was to get one")
	}

	ctx, cancel := context.WithCancel(h.Context())
	third := h.taker(ctx, spool.Want{})
	cancel()
	if jobs := <-third; jobs != nil {
		h.Error(jobs)
	}
}

func takeWaitsForRetry(h *house) {
	h.put("body", "bob@south.test")
	start := time.Now()
	j := h.take(1, spool.Want{})[0]
	h.settle(j.Lease, spool.Outcome{N: 0, Result: spool.Retry, Due: start.Add(10 * time.Minute), Reply: "450 4.2.0 later", Warned: true})
	h.take(0, spool.Want{})
	j = h.take(1, spool.Want{})[0]
	if waited := time.Since(start); waited < 10*time.Minute || waited > 10*time.Minute+time.Second {
		h.Errorf("taken after %v", waited)
	}
	r := j.Recipients[0]
	if r.Attempts != 1 || r.LastReply != "450 4.2.0 later" || !r.Warned || !r.LastAttempt.Equal(start) || !r.Since.Equal(start) {
		h.Errorf("%+v", r)
	}
}

// asleepDuringSettle: who waits already when a recipient is put off, or a lease begins, is woken when the time comes.
func asleepDuringSettle(h *house) {
	h.put("body", "bob@south.test")
	j := h.take(1, spool.Want{Lease: time.Hour})[0]
	taker := h.taker(h.Context(), spool.Want{})
	h.settle(j.Lease, spool.Outcome{N: 0, Result: spool.Retry, Due: time.Now().Add(10 * time.Minute)})
	start := time.Now()
	if jobs := <-taker; len(jobs) != 1 || time.Since(start) > 11*time.Minute {
		h.Errorf("%d jobs after %v", len(jobs), time.Since(start))
	}
	taker = h.taker(h.Context(), spool.Want{}) // until the lease of the other ends, which is an hour
	start = time.Now()
	jobs := <-taker
	if len(jobs) != 1 || time.Since(start) > time.Hour+time.Minute {
		h.Fatalf("%d jobs after %v", len(jobs), time.Since(start))
	}

	taker = h.taker(h.Context(), spool.Want{})
	start = time.Now()
	h.settle(jobs[0].Lease) // names nobody
	jobs = <-taker
	h.settle(jobs[0].Lease, spool.Outcome{N: 0, Result: spool.Retry, Due: start.Add(time.Hour)})
	taker = h.taker(h.Context(), spool.Want{})
	h.change(1, spool.Filter{}, spool.RetryNow)
	if jobs = <-taker; len(jobs) != 1 || !time.Now().Equal(start) {
		h.Errorf("%d jobs after %v", len(jobs), time.Since(start))
	}
}

func takeSkips(h *house) {
	for range 3 {
		h.put("body", "a@one.test")
		h.put("body", "b@two.test")
	}
	for _, j := range h.take(3, spool.Want{Skip: []string{"one.test", "none.test"}}) {
		if j.Destination != "two.test" {
			h.Error(j.Destination)
		}
	}
	h.take(0, spool.Want{Skip: []string{"one.test"}})
	h.take(2, spool.Want{Limit: 2})
	h.take(1, spool.Want{Limit: 2})
}

// skippedWorkGoesToAnother: a wake-up that is of no use to the one it wakes is handed on.
func skippedWorkGoesToAnother(h *house) {
	ctx, cancel := context.WithCancel(h.Context())
	defer cancel()
	picky := h.taker(ctx, spool.Want{Skip: []string{"one.test"}})
	any := h.taker(ctx, spool.Want{})
	h.put("body", "a@one.test")
	if waiting(any) || !waiting(picky) {
		h.Error("the taker that could have it did not get it")
	}
	leaving, stop := context.WithCancel(h.Context())
	h.taker(leaving, spool.Want{Skip: []string{"two.test"}})
	stop()
	h.put("body", "b@two.test")
	if waiting(picky) {
		h.Error("the wake-up was lost with the taker that left")
	}
}

func takeOfDestination(h *house) {
	h.take(0, spool.Want{Destination: "one.test"})
	h.put("body", "a@one.test", "b@two.test")
	if j := h.take(1, spool.Want{Destination: "one.test"})[0]; j.Recipients[0].N != 0 {
		h.Errorf("%+v", j)
	}
	h.take(0, spool.Want{Destination: "one.test"})
	h.take(1, spool.Want{})
}

func closeWakesTakers(h *house) {
	t := h.taker(h.Context(), spool.Want{})
	h.check(h.Close())
	if jobs := <-t; jobs != nil {
		h.Error(jobs)
	}
	_, err := h.Create(h.Context(), h.envelope("bob@south.test"))
	if err == nil {
		_, err = h.Take(h.Context(), spool.Want{Limit: 1, Lease: time.Minute})
	}
	h.wants(err, spool.ErrClosed)
	_, err = h.Show(h.Context(), 1)
	h.wants(err, spool.ErrClosed)
	h.Spool = h.opener(h.T, h.dir)
}

// manyAtOnce: everything that many sessions commit is taken once, whatever many workers do at the same time.
func manyAtOnce(h *house) {
	const sessions, messages, workers = 8, 40, 6
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(h.Context())
	seen := make(chan mail.ID, sessions*messages*2)
	for w := range workers {
		wg.Go(func() { h.work(ctx, w, seen) })
	}
	for s := range sessions {
		wg.Go(func() {
			for m := range messages {
				h.put("body", fmt.Sprintf("a@d%d.test", (s+m)%3), fmt.Sprintf("b@d%d.test", (s+m)%5))
			}
		})
	}
	count := make(map[mail.ID]int)
	for total := 0; total < sessions*messages*2; total++ {
		count[<-seen]++
	}
	cancel()
	wg.Wait()
	for id, n := range count {
		if n != 2 {
			h.Errorf("%v: %d recipients delivered", id, n)
		}
	}
	if left := h.list(spool.Filter{}); len(left) > 0 {
		h.Errorf("%d messages left", len(left))
	}
}

// work takes jobs until ctx ends. It delivers, except that every fifth job is put off at first.
func (h *house) work(ctx context.Context, worker int, seen chan<- mail.ID) {
	for n := worker; ; n++ {
		w := spool.Want{Limit: 1 + n%7, Lease: time.Minute}
		if n%4 == 0 {
			w.Skip = []string{"d1.test"}
		}
		jobs, err := h.Take(ctx, w)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			h.Error(err)
			return
		}
		for _, j := range jobs {
			var outcomes []spool.Outcome
			for _, r := range j.Recipients {
				o := delivered(r.N)
				if n%5 == 0 && r.Attempts == 0 {
					o.Result, o.Due = spool.Retry, time.Now().Add(time.Duration(n)*time.Second)
				} else {
					seen <- j.Lease.ID
				}
				outcomes = append(outcomes, o)
			}
			if err := h.Settle(context.WithoutCancel(ctx), j.Lease, outcomes); err != nil {
				h.Error(err)
			}
		}
	}
}
