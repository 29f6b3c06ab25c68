package spooltest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"posthouse/mail"
	"posthouse/mail/mailtest"
	"posthouse/spool"
)

// change applies a verb, which must change n recipients.
func (h *house) change(n int, f spool.Filter, c spool.Change) {
	h.Helper()
	got, err := h.Change(h.Context(), f, c)
	h.check(err)
	if got != n {
		h.Errorf("%d recipients changed, want %d", got, n)
	}
}

func verbs(h *house) {
	id := h.put("body", "a@one.test", "b@two.test")
	leased := h.take(1, spool.Want{Destination: "one.test"})[0]
	h.change(1, spool.Filter{ID: id}, spool.Hold) // not the leased one
	h.take(0, spool.Want{})
	h.change(0, spool.Filter{ID: id}, spool.RetryNow) // held is not ready
	h.change(1, spool.Filter{ID: id, States: []spool.State{spool.Held}}, spool.Release)
	j := h.take(1, spool.Want{})[0]
	h.settle(j.Lease, spool.Outcome{N: 1, Result: spool.Retry, Due: time.Now().Add(time.Hour)})
	h.take(0, spool.Want{})
	h.change(1, spool.Filter{ID: id}, spool.RetryNow)
	j = h.take(1, spool.Want{})[0]
	if j.Recipients[0].Attempts != 1 {
		h.Errorf("%+v", j.Recipients[0])
	}
	h.settle(j.Lease, spool.Outcome{N: 1, Result: spool.Failed, Warned: true})
	time.Sleep(time.Hour)
	now := time.Now()
	h.change(1, spool.Filter{States: []spool.State{spool.Dead}}, spool.RetryNow)
	j = h.take(2, spool.Want{})[1]
	if r := j.Recipients[0]; r.Attempts != 0 || r.Warned || !r.Since.Equal(now) {
		h.Errorf("back from the dead: %+v", r)
	}
	h.settle(j.Lease)
	h.change(1, spool.Filter{To: "*@two.test"}, spool.Drop)
	h.wants(h.Settle(h.Context(), leased.Lease, nil), spool.ErrLeaseLost)
	h.reopen()
	h.change(1, spool.Filter{ID: id}, spool.Drop)
	_, err := h.Show(h.Context(), id)
	h.wants(err, spool.ErrNotFound)
}

func filters(h *house) {
	var ids []mail.ID
	for i := range 600 { // more than any page
		ids = append(ids, h.put("body", fmt.Sprintf("r%d@d%d.test", i, i%3), "X/y@other.test"))
		if i == 299 {
			time.Sleep(time.Hour)
		}
	}
	for _, j := range h.take(200, spool.Want{Destination: "d1.test", Limit: 1000}) {
		h.settle(j.Lease, spool.Outcome{N: 0, Result: spool.Retry, Due: time.Now().Add(time.Hour), Reply: "450 4.2.1 Greylisted"})
	}
	all := func(mail.ID, int) bool { return true }
	for _, c := range []struct {
		filter spool.Filter
		want   func(id mail.ID, i int) bool
		to     int // recipients of each
	}{
		{spool.Filter{}, all, 2},
		{spool.Filter{ID: ids[7]}, func(id mail.ID, _ int) bool { return id == ids[7] }, 2},
		{spool.Filter{To: "*@D2.test"}, func(_ mail.ID, i int) bool { return i%3 == 2 }, 1},
		{spool.Filter{To: "x*@other.*"}, all, 1},
		{spool.Filter{From: "bob@*"}, func(mail.ID, int) bool { return false }, 0},
		{spool.Filter{From: "ALICE@*"}, all, 2},
		{spool.Filter{Destination: "d0.test"}, func(_ mail.ID, i int) bool { return i%3 == 0 }, 1},
		{spool.Filter{Reply: "greylisted"}, func(_ mail.ID, i int) bool { return i%3 == 1 }, 1},
		{spool.Filter{Older: time.Minute}, func(_ mail.ID, i int) bool { return i < 300 }, 2},
		{spool.Filter{Limit: 5}, func(_ mail.ID, i int) bool { return i < 5 }, 2},
		{spool.Filter{States: []spool.State{spool.Held}}, func(mail.ID, int) bool { return false }, 0},
	} {
		var want, got []mail.ID
		for i, id := range ids {
			if c.want(id, i) {
				want = append(want, id)
			}
		}
		for _, e := range h.list(c.filter) {
			got = append(got, e.ID)
			if len(e.Recipients) != c.to {
				h.Errorf("%+v: %d recipients, want %d", c.filter, len(e.Recipients), c.to)
				break
			}
		}
		if !slices.Equal(got, want) {
			h.Errorf("%+v: %d messages, want %d", c.filter, len(got), len(want))
		}
	}
	for _, err := range h.List(h.Context(), spool.Filter{To: "["}) {
		if err == nil {
			h.Error("a bad pattern was taken")
		}
	}
	h.change(400, spool.Filter{To: "*@other.test", Limit: 400}, spool.Hold)
	h.change(200, spool.Filter{To: "*@other.test"}, spool.Hold)
}

func counts(h *house) {
	start := time.Now()
	for i := range 10 {
		h.put("body", "a@one.test", fmt.Sprintf("b@d%d.test", i))
		time.Sleep(time.Second)
	}
	h.take(2, spool.Want{Destination: "one.test", Limit: 2})
	h.change(1, spool.Filter{Destination: "d3.test"}, spool.Hold)
	h.settle(h.take(1, spool.Want{Destination: "d4.test"})[0].Lease, spool.Outcome{N: 1, Result: spool.Failed})
	st, err := h.Stats(h.Context(), 2)
	h.check(err)
	if fmt.Sprint(st.Recipients) != fmt.Sprint(map[spool.State]int64{spool.Ready: 16, spool.Leased: 2, spool.Held: 1, spool.Dead: 1}) {
		h.Error(st.Recipients)
	}
	if len(st.Destinations) != 2 {
		h.Fatal(st.Destinations)
	}
	first, second := st.Destinations[0], st.Destinations[1]
	if first.Destination != "one.test" || first.State != spool.Ready || first.Recipients != 8 || !first.Oldest.Equal(start.Add(2*time.Second)) ||
		second.State != spool.Leased || second.Recipients != 2 || !second.Oldest.Equal(start) {
		h.Error(st.Destinations)
	}
}

// story is one message's events, as text.
func (h *house) story(q spool.Query) string {
	h.Helper()
	q.Limit = 10
	var b strings.Builder
	for st, err := range h.Trace(h.Context(), q) {
		h.check(err)
		fmt.Fprintf(&b, "[%d", len(st.Recipients))
		for _, e := range st.Events {
			fmt.Fprintf(&b, " %s:%d:%s", e.Kind, e.Recipient, e.Text)
		}
		b.WriteString("]")
	}
	return b.String()
}

func stories(h *house) {
	id := h.put("body", "a@one.test", "Bob@one.test")
	other := h.put("body", "b@two.test")
	j := h.take(1, spool.Want{Destination: "one.test"})[0]
	h.settle(j.Lease, delivered(0), spool.Outcome{N: 1, Result: spool.Retry, Due: time.Now(), Reply: "450 later"})
	want := "[2 received:-1:by  delivered:0:250 2.0.0 ok (mx.south.test) retry:1:450 later"
	if got := h.story(spool.Query{ID: id}); got != want+"]" {
		h.Error(got)
	}
	notice := h.draft("bounce", "alice@north.test")
	h.check(h.Settle(h.Context(), h.take(1, spool.Want{Destination: "one.test"})[0].Lease,
		[]spool.Outcome{{N: 1, Result: spool.Failed, Reply: "550 no"}}, notice))
	h.change(1, spool.Filter{ID: id, States: []spool.State{spool.Dead}}, spool.Drop)
	want += " failed:1:550 no noticed:-1:" + notice.Envelope().ID.String() + " dropped:1:by an operator]"
	for _, q := range []spool.Query{{ID: id}, {Address: h.address("bob@ONE.test")}} {
		if got := h.story(q); got != want {
			h.Errorf("it left, and its story is\n%s\nnot\n%s", got, want)
		}
	}
	for _, q := range []spool.Query{{MessageID: "1@north.test"}, {Address: h.address("alice@north.test")}} {
		if got := h.story(q); strings.Count(got, "received") != 3 || !strings.HasSuffix(got, want) {
			h.Errorf("not newest first: %s", got)
		}
	}
	var got []mail.ID
	for st, err := range h.Trace(h.Context(), spool.Query{Address: h.address("b@two.test"), Limit: 1}) {
		h.check(err)
		got = append(got, st.ID)
	}
	if !slices.Equal(got, []mail.ID{other}) {
		h.Error(got)
	}
	time.Sleep(15 * 24 * time.Hour)
	for _, err := range h.Trace(context.WithoutCancel(h.Context()), spool.Query{ID: id}) {
		h.wants(err, spool.ErrNotFound)
	}
}

// scheduled: an account sees what it submitted for later, and may take it back until its time has come.
func scheduled(h *house) {
	later := func(account mail.AccountID, body string) mail.ID {
		h.Helper()
		id, err := h.commit(body, "a@one.test", func(e *mail.Envelope) {
			e.Origin.Account, e.NotBefore = account, time.Now().Add(time.Hour)
			e.To = append(e.To, mail.Recipient{Address: mailtest.Address("b@two.test")})
		})
		h.check(err)
		return id
	}
	shows := func(account mail.AccountID, want ...mail.ID) []spool.Scheduled {
		h.Helper()
		schedule, err := h.Scheduled(h.Context(), account)
		h.check(err)
		all := schedule.Messages
		var got []mail.ID
		for i, m := range all {
			got = append(got, m.ID)
			if len(m.Recipients) != 2 || m.Size == 0 || m.N >= schedule.Next || schedule.Since.IsZero() || i > 0 && m.N <= all[i-1].N {
				h.Errorf("%+v", m)
			}
		}
		if !slices.Equal(got, want) {
			h.Errorf("%v, want %v", got, want)
		}
		return all
	}
	h.put("body", "a@one.test")
	first, second, other := later("alice", "first"), later("alice", strings.Repeat("x", spoolLarge)), later("bob", "other")
	n := shows("alice", first, second)
	shows("bob", other)
	shows("carol")
	shows("")
	h.reopen()
	h.wants(h.Cancel(h.Context(), "bob", first), spool.ErrNotFound)
	h.check(h.Cancel(h.Context(), "alice", second))
	h.wants(h.Cancel(h.Context(), "alice", second), spool.ErrNotFound)
	_, err := h.Show(h.Context(), second)
	h.wants(err, spool.ErrNotFound)
	shows("alice", first)
	if third := later("alice", "third"); shows("alice", first, third)[1].N <= n[1].N {
		h.Error("a number was given again")
	}
	h.change(1, spool.Filter{ID: first, To: "a@one.test"}, spool.Hold)
	h.check(h.Cancel(h.Context(), "alice", first)) // nobody has got it yet
	h.change(2, spool.Filter{ID: other}, spool.RetryNow)
	shows("bob")
	h.wants(h.Cancel(h.Context(), "bob", other), spool.ErrNotFound)
	time.Sleep(2 * time.Hour)
	shows("alice")
	if jobs := h.take(5, spool.Want{}); len(jobs) != 5 { // the first letter, bob's to two and alice's third to two
		h.Errorf("%d jobs", len(jobs))
	}
}
