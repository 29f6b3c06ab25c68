// Package spooltest is what every Spool must do, as tests: an implementation runs Run in its own tests.
//
// It knows no implementation. Each case is a function of its own, by what it checks; Random compares long random histories with a
// small model. Time is that of testing/synctest, so that leases end and due times come without waiting.
package spooltest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"posthouse/mail"
	"posthouse/spool"
)

// Opener opens the spool of a directory, again after Close. Its destinations are the recipients' domains, and its times to keep are
// two weeks, that of Envelope.Once a day.
type Opener func(t testing.TB, dir string) spool.Spool

// Run runs the whole suite.
func Run(t *testing.T, open Opener) {
	for _, c := range []struct {
		name string
		run  func(*house)
	}{
		{"Life", life},
		{"DraftIsInvisible", draftIsInvisible},
		{"DraftReadsBack", draftReadsBack},
		{"DraftRefuses", draftRefuses},
		{"IDsAscend", idsAscend},
		{"JobsByDestination", jobsByDestination},
		{"TakeWaits", takeWaits},
		{"TakeWaitsForRetry", takeWaitsForRetry},
		{"AsleepDuringSettle", asleepDuringSettle},
		{"TakeSkips", takeSkips},
		{"SkippedWorkGoesToAnother", skippedWorkGoesToAnother},
		{"TakeOfDestination", takeOfDestination},
		{"GreaterPriorityFirst", greaterPriorityFirst},
		{"NotBefore", notBefore},
		{"Scheduled", scheduled},
		{"OwnCopy", ownCopy},
		{"Once", once},
		{"OnceAtTheSameTime", onceAtTheSameTime},
		{"UnnamedAreReleased", unnamedAreReleased},
		{"LeaseEnds", leaseEnds},
		{"SettledLate", settledLate},
		{"ExtendKeeps", extendKeeps},
		{"SettleFences", settleFences},
		{"DeadKeepsItsMessage", deadKeepsItsMessage},
		{"NoticesAreAtomic", noticesAreAtomic},
		{"Verbs", verbs},
		{"Filters", filters},
		{"Counts", counts},
		{"Stories", stories},
		{"ReopenKeepsAndEndsLeases", reopenKeepsAndEndsLeases},
		{"CloseWakesTakers", closeWakesTakers},
		{"ManyAtOnce", manyAtOnce},
		{"Random", random},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // they wait for the disk
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				h := &house{T: t, dir: dir, opener: open}
				h.Spool = open(t, dir)
				c.run(h)
				h.check(h.Close())
			})
		})
	}
}

// house is a spool under test.
type house struct {
	*testing.T
	spool.Spool
	dir    string
	opener Opener
}

func (h *house) check(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// wants checks for an error.
func (h *house) wants(err, want error) {
	h.Helper()
	if !errors.Is(err, want) {
		h.Fatalf("%v, want %v", err, want)
	}
}

func (h *house) reopen() {
	h.Helper()
	h.check(h.Close())
	h.Spool = h.opener(h.T, h.dir)
}

func (h *house) address(s string) mail.Address {
	h.Helper()
	a, err := mail.ParseAddress(s)
	h.check(err)
	return a
}

func (h *house) envelope(to ...string) mail.Envelope {
	h.Helper()
	env := mail.Envelope{From: h.address("alice@north.test"), MessageID: "1@north.test"}
	for _, s := range to {
		env.To = append(env.To, mail.Recipient{Address: h.address(s)})
	}
	return env
}

// draft writes a body, not committed.
func (h *house) draft(body string, to ...string) spool.Draft {
	h.Helper()
	d, err := h.Create(h.Context(), h.envelope(to...))
	h.check(err)
	_, err = io.WriteString(d, body)
	h.check(err)
	return d
}

// put commits a message.
func (h *house) put(body string, to ...string) mail.ID {
	h.Helper()
	id, err := h.draft(body, to...).Commit(h.Context())
	h.check(err)
	return id
}

// take takes what is due; there must be n jobs.
func (h *house) take(n int, w spool.Want) []spool.Job {
	h.Helper()
	if w.Lease == 0 {
		w.Lease = time.Minute
	}
	if w.Limit == 0 {
		w.Limit = 100
	}
	ctx, cancel := context.WithTimeout(h.Context(), time.Nanosecond)
	defer cancel()
	if n > 0 {
		ctx = h.Context()
	}
	jobs, err := h.Take(ctx, w)
	if err != nil && (n > 0 || !errors.Is(err, context.DeadlineExceeded)) {
		h.Fatal(err)
	}
	if len(jobs) != n {
		h.Fatalf("%d jobs, want %d", len(jobs), n)
	}
	return jobs
}

// read reads a message; "" if there is none.
func (h *house) read(id mail.ID) string {
	h.Helper()
	c, err := h.Open(h.Context(), id)
	if errors.Is(err, spool.ErrNotFound) {
		return ""
	}
	h.check(err)
	defer c.Close()
	b, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
	h.check(err)
	return string(b)
}

// list is what a filter selects.
func (h *house) list(f spool.Filter) (entries []spool.Entry) {
	h.Helper()
	for e, err := range h.List(h.Context(), f) {
		h.check(err)
		entries = append(entries, e)
	}
	return entries
}

func (h *house) settle(l spool.Lease, outcomes ...spool.Outcome) {
	h.Helper()
	h.check(h.Settle(h.Context(), l, outcomes))
}

func delivered(n int) spool.Outcome {
	return spool.Outcome{N: n, Result: spool.Delivered, Reply: "250 2.0.0 ok", Via: "mx.south.test"}
}

func life(h *house) {
	for _, size := range []int{0, 100, 300_000} {
		body := string(bytes.Repeat([]byte("x"), size))
		d := h.draft(body, "bob@south.test")
		d.Prepend([]byte("B: 2\r\n"))
		d.Prepend([]byte("A: 1\r\n"))
		id, err := d.Commit(h.Context())
		h.check(err)
		h.check(d.Abort()) // after Commit it does nothing
		j := h.take(1, spool.Want{})[0]
		want := "A: 1\r\nB: 2\r\n" + body
		if j.Envelope.ID != id || j.Lease.ID != id || j.Destination != "south.test" || j.Size != int64(len(want)) ||
			j.From != h.address("alice@north.test") || len(j.Recipients) != 1 || j.Recipients[0].Address != h.address("bob@south.test") {
			h.Fatalf("%+v", j)
		}
		if h.read(id) != want {
			h.Error("another content")
		}
		h.settle(j.Lease, delivered(0))
		if _, err := h.Show(h.Context(), id); !errors.Is(err, spool.ErrNotFound) || h.read(id) != "" {
			h.Errorf("still there: %v", err)
		}
	}
}

func draftIsInvisible(h *house) {
	for _, size := range []int{10, 300_000} {
		d := h.draft(string(bytes.Repeat([]byte("x"), size)), "bob@south.test")
		h.take(0, spool.Want{})
		if len(h.list(spool.Filter{})) != 0 {
			h.Error("a draft is listed")
		}
		h.check(d.Abort())
		h.check(d.Abort())
		_, err := d.Commit(h.Context())
		if err == nil {
			h.Error("an aborted draft was committed")
		}
	}
	h.take(0, spool.Want{})
}

func draftReadsBack(h *house) {
	for _, size := range []int{10, 300_000} {
		body := bytes.Repeat([]byte("0123456789"), size/10)
		d := h.draft(string(body), "bob@south.test")
		d.Prepend([]byte("A: 1\r\n"))
		if d.Size() != int64(len(body)) {
			h.Errorf("size %d", d.Size())
		}
		got, err := io.ReadAll(io.NewSectionReader(d, 0, d.Size()))
		if err != nil || !bytes.Equal(got, body) {
			h.Errorf("read back %d octets, %v", len(got), err)
		}
		if n, err := d.ReadAt(make([]byte, 2), d.Size()-1); n != 1 || err != io.EOF {
			h.Errorf("at the end: %d, %v", n, err)
		}
		h.check(d.Abort())
	}
}

func draftRefuses(h *house) {
	if _, err := h.draft("body").Commit(h.Context()); err == nil {
		h.Error("a message without recipients was committed")
	}
	d := h.draft("body", "bob@south.test")
	_, err := d.Commit(h.Context())
	h.check(err)
	if _, err := d.Commit(h.Context()); err == nil {
		h.Error("committed twice")
	}
	if _, err := io.WriteString(d, "more"); err == nil {
		h.Error("written after Commit")
	}
	if n := len(h.list(spool.Filter{})); n != 1 {
		h.Errorf("%d messages", n)
	}
}

func idsAscend(h *house) {
	var ids []mail.ID
	for range 3 {
		for range 5 {
			ids = append(ids, h.put("body", "bob@south.test"))
		}
		d := h.draft("body", "bob@south.test")
		ids = append(ids, d.Envelope().ID)
		h.check(d.Abort())
		h.reopen()
	}
	if !slices.IsSorted(ids) || len(slices.Compact(ids)) != 18 {
		h.Error(ids)
	}
}

func reopenKeepsAndEndsLeases(h *house) {
	small, large := "small", string(bytes.Repeat([]byte("large"), 100_000))
	bodies := map[mail.ID]string{h.put(small, "bob@south.test"): small, h.put(large, "bob@south.test", "carol@south.test"): large}
	lost := h.take(2, spool.Want{Lease: time.Hour})
	h.reopen()
	for i, j := range h.take(2, spool.Want{Lease: time.Hour}) {
		if j.Epoch <= lost[i].Epoch || h.read(j.Lease.ID) != bodies[j.Lease.ID] || j.Recipients[0].Attempts != 0 {
			h.Errorf("%+v", j)
		}
		h.wants(h.Settle(h.Context(), lost[i].Lease, []spool.Outcome{delivered(0)}), spool.ErrLeaseLost)
		h.wants(h.Extend(h.Context(), lost[i].Lease, time.Hour), spool.ErrLeaseLost)
	}
}
