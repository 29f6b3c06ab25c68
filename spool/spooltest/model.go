package spooltest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"posthouse/mail"
	"posthouse/spool"
)

// randomSteps is the length of a random history.
const randomSteps = 300

// model is a spool as simple as it can be said: what each recipient's state must be.
type model struct {
	*house
	seed     uint64
	rand     *rand.Rand
	bodies   map[mail.ID]string
	messages map[mail.ID][]recipient
	names    []name  // those given lately
	leases   []lease // those not settled and not known to have ended
	ended    []lease // those whose time has passed, not settled
}

type recipient struct {
	destination string
	state       spool.State
	due         time.Time
	epoch       int64 // of the last lease
	holder      int64 // the epoch of the lease that may settle it, also after its time; 0: none
	attempts    int
	priority    mail.Priority
}

// name is an Envelope.Once.
type name struct {
	text string
	id   mail.ID
	at   time.Time
}

type lease struct {
	spool.Lease
	until time.Time
}

// random compares short random histories with the model.
func random(h *house) {
	for seed := range uint64(2) {
		h.random(seed, randomSteps)
	}
}

// Random compares one random history with the model: creates, takes, settles in time and late, extensions, operators, time and restarts.
// The same seed makes the same history.
func Random(t *testing.T, open Opener, seed uint64, steps int) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := &house{T: t, dir: dir, opener: open}
		h.Spool = open(t, dir)
		h.random(seed, steps)
		h.check(h.Close())
	})
}

func (h *house) random(seed uint64, steps int) {
	m := &model{house: h, seed: seed, rand: rand.New(rand.NewPCG(seed, 1)), bodies: make(map[mail.ID]string), messages: make(map[mail.ID][]recipient)}
	all := []func(){m.create, m.create, m.create, m.takeSome, m.takeSome, m.takeSome, m.settleOne, m.settleOne, m.settleOne,
		m.extendOne, m.operate, m.wait, m.restart}
	for range steps {
		all[m.rand.IntN(len(all))]()
	}
	m.compare()
	m.change(m.count(spool.Leased), spool.Filter{States: []spool.State{spool.Leased}}, spool.Drop)
	h.reopen()
	for _, f := range []spool.State{spool.Ready, spool.Held, spool.Dead} {
		_, err := h.Change(h.Context(), spool.Filter{States: []spool.State{f}}, spool.Drop)
		h.check(err)
	}
	if left := h.list(spool.Filter{States: []spool.State{spool.Ready, spool.Leased, spool.Held, spool.Dead, spool.Done}}); len(left) > 0 {
		h.Errorf("%d messages left", len(left))
	}
}

// count is zero for Leased: nothing can be done to those.
func (m *model) count(state spool.State) (n int) {
	if state == spool.Leased {
		return 0
	}
	for _, rs := range m.messages {
		for _, r := range rs {
			if r.state == state {
				n++
			}
		}
	}
	return n
}

func (m *model) create() {
	body := fmt.Sprintf("body %d", m.rand.Uint64())
	if m.rand.IntN(10) == 0 {
		body += string(make([]byte, spoolLarge))
	}
	env := m.envelope()
	if m.rand.IntN(3) == 0 {
		env.Priority = mail.Priority(m.rand.IntN(4) - 1)
	}
	due := time.Now()
	if m.rand.IntN(4) == 0 {
		env.NotBefore = due.Add(time.Duration(m.rand.IntN(200)) * time.Second)
		due = env.NotBefore
	}
	if m.rand.IntN(3) == 0 {
		env.Once = fmt.Sprintf("name %d of %d", m.rand.IntN(30), m.seed)
	}
	var rs []recipient
	for n := range 1 + m.rand.IntN(4) {
		domain := fmt.Sprintf("d%d.test", m.rand.IntN(4))
		env.To = append(env.To, mail.Recipient{Address: m.address(fmt.Sprintf("r%d@%s", n, domain))})
		rs = append(rs, recipient{destination: domain, due: due, priority: env.Priority})
	}
	d, err := m.Create(m.Context(), env)
	m.check(err)
	_, err = io.WriteString(d, body)
	m.check(err)
	id, err := d.Commit(m.Context())
	if earlier := m.earlier(env.Once); earlier != 0 {
		m.wants(err, spool.ErrRepeated)
		if id != earlier {
			m.Fatalf("%v, the model has %v", id, earlier)
		}
		return
	}
	m.check(err)
	m.bodies[id], m.messages[id] = body, rs
	m.names = append(m.names, name{env.Once, id, time.Now()})
}

// earlier is the message that was stored under a name within a day; 0: none.
func (m *model) earlier(text string) mail.ID {
	for _, n := range m.names {
		if text != "" && n.text == text && time.Since(n.at) < 24*time.Hour {
			return n.id
		}
	}
	return 0
}

// spoolLarge is more than any spool keeps beside its rows.
const spoolLarge = 300_000

// endLeases does what a Take may do first: leases whose time has passed end.
func (m *model) endLeases() {
	m.leases = slices.DeleteFunc(m.leases, func(l lease) bool {
		if l.until.After(time.Now()) {
			return false
		}
		m.release(l)
		m.ended = append(m.ended, l)
		return true
	})
}

func (m *model) release(l lease) {
	rs := m.messages[l.ID]
	for n := range rs {
		if rs[n].state == spool.Leased && rs[n].epoch == l.Epoch {
			rs[n].state = spool.Ready
		}
	}
}

// quit takes from a lease what it may settle.
func (m *model) quit(l lease) {
	m.release(l)
	rs := m.messages[l.ID]
	for n := range rs {
		if rs[n].holder == l.Epoch {
			rs[n].holder = 0
		}
	}
}

// due is how many jobs there are to take.
func (m *model) due(w spool.Want) int {
	type key struct {
		id          mail.ID
		destination string
	}
	jobs := make(map[key]bool)
	for id, rs := range m.messages {
		for _, r := range rs {
			if m.takeable(w, r) {
				jobs[key{id, r.destination}] = true
			}
		}
	}
	return len(jobs)
}

func (m *model) takeSome() {
	w := spool.Want{Limit: 1 + m.rand.IntN(5), Lease: time.Duration(1+m.rand.IntN(300)) * time.Second}
	switch m.rand.IntN(3) {
	case 0:
		w.Destination = fmt.Sprintf("d%d.test", m.rand.IntN(4))
	case 1:
		w.Skip = []string{"d0.test", fmt.Sprintf("d%d.test", m.rand.IntN(4))}
	}
	m.endLeases()
	due := m.due(w)
	ctx, cancel := context.WithTimeout(m.Context(), time.Nanosecond)
	defer cancel()
	if due > 0 {
		ctx = m.Context()
	}
	jobs, err := m.Take(ctx, w)
	if err != nil && !(due == 0 && errors.Is(err, context.DeadlineExceeded)) {
		m.Fatal(err)
	}
	// Recipients of a message that are due since different times may come in different jobs.
	if len(jobs) > w.Limit || (len(jobs) == 0) != (due == 0) || len(jobs) < min(due, w.Limit) {
		m.Fatalf("%d jobs, %d due, %+v", len(jobs), due, w)
	}
	for i, j := range jobs {
		m.taken(w, j)
		if i > 0 && j.Priority > jobs[i-1].Priority {
			m.Fatalf("priority %d after %d", j.Priority, jobs[i-1].Priority)
		}
	}
	if least := jobs[max(0, len(jobs)-1):]; len(least) > 0 && m.greatest(w) > least[0].Priority {
		m.Fatalf("priority %d was left behind, %d taken", m.greatest(w), least[0].Priority)
	}
	if len(jobs) < w.Limit && m.due(w) > 0 {
		m.Fatalf("%d jobs left behind", m.due(w))
	}
}

// taken notes a job, if it may be one.
func (m *model) taken(w spool.Want, j spool.Job) {
	rs := m.messages[j.Lease.ID]
	for _, got := range j.Recipients {
		r := &rs[got.N]
		if !m.takeable(w, *r) || r.destination != j.Destination || got.Attempts != r.attempts || r.priority != j.Priority {
			m.Fatalf("taken by %+v: %+v, %+v", w, got, r)
		}
		if r.epoch >= j.Epoch {
			m.Fatalf("epoch %d after %d", j.Epoch, r.epoch)
		}
		r.state, r.epoch, r.holder = spool.Leased, j.Epoch, j.Epoch
	}
	if m.rand.IntN(10) == 0 && m.read(j.Lease.ID) != m.bodies[j.Lease.ID] {
		m.Fatal("another body")
	}
	m.leases = append(m.leases, lease{j.Lease, time.Now().Add(w.Lease)})
}

// pick takes any lease out of the list, if there is one.
func (m *model) pick(leases *[]lease) (lease, bool) {
	if len(*leases) == 0 {
		return lease{}, false
	}
	i := m.rand.IntN(len(*leases))
	l := (*leases)[i]
	*leases = slices.Delete(*leases, i, i+1)
	return l, true
}

// greatest is the greatest priority of what could be taken.
func (m *model) greatest(w spool.Want) mail.Priority {
	p := mail.MinPriority
	for _, rs := range m.messages {
		for _, r := range rs {
			if m.takeable(w, r) {
				p = max(p, r.priority)
			}
		}
	}
	return p
}

func (m *model) takeable(w spool.Want, r recipient) bool {
	return r.state == spool.Ready && !r.due.After(time.Now()) && !slices.Contains(w.Skip, r.destination) &&
		(w.Destination == "" || w.Destination == r.destination)
}

func (m *model) settleOne() {
	from := &m.leases
	if m.rand.IntN(5) == 0 {
		from = &m.ended
	}
	l, ok := m.pick(from)
	if !ok {
		return
	}
	rs := m.messages[l.ID]
	lost := !slices.ContainsFunc(rs, func(r recipient) bool { return r.holder == l.Epoch && r.state <= spool.Leased })
	var outcomes []spool.Outcome
	after := slices.Clone(rs)
	for n, r := range rs {
		if r.holder != l.Epoch || r.state > spool.Leased || m.rand.IntN(4) == 0 {
			continue
		}
		o := spool.Outcome{N: n, Result: spool.Result(m.rand.IntN(3))}
		if o.Result == spool.Retry {
			o.Due = time.Now().Add(time.Duration(m.rand.IntN(600)) * time.Second)
			after[n].due = o.Due
		}
		after[n].state = [...]spool.State{spool.Delivered: spool.Done, spool.Retry: spool.Ready, spool.Failed: spool.Dead}[o.Result]
		after[n].attempts++
		after[n].holder = 0
		outcomes = append(outcomes, o)
	}
	err := m.Settle(m.Context(), l.Lease, outcomes)
	if lost {
		m.wants(err, spool.ErrLeaseLost)
		return
	}
	m.check(err)
	m.messages[l.ID] = after
	m.quit(l)
	m.forget(l.ID)
	if m.rand.IntN(10) == 0 {
		m.wants(m.Settle(m.Context(), l.Lease, nil), spool.ErrLeaseLost)
	}
}

// forget drops a message whose last recipient is done.
func (m *model) forget(id mail.ID) {
	if !slices.ContainsFunc(m.messages[id], func(r recipient) bool { return r.state != spool.Done }) {
		delete(m.messages, id)
		delete(m.bodies, id)
	}
}

func (m *model) extendOne() {
	l, ok := m.pick(&m.leases)
	if !ok {
		return
	}
	d := time.Duration(1+m.rand.IntN(300)) * time.Second
	err := m.Extend(m.Context(), l.Lease, d)
	if errors.Is(err, spool.ErrLeaseLost) && !l.until.After(time.Now()) {
		m.release(l)
		return
	}
	m.check(err)
	l.until = time.Now().Add(d)
	m.leases = append(m.leases, l)
}

// operate applies a verb to what is at one destination.
func (m *model) operate() {
	m.endLeases()
	m.Take(m.Context(), spool.Want{Destination: "none.test", Limit: 1, Lease: time.Second}) // and so does the spool
	f := spool.Filter{Destination: fmt.Sprintf("d%d.test", m.rand.IntN(4))}
	verb := spool.Change(m.rand.IntN(4))
	from := [...][]spool.State{spool.RetryNow: {spool.Ready, spool.Dead}, spool.Hold: {spool.Ready}, spool.Release: {spool.Held},
		spool.Drop: {spool.Ready, spool.Held, spool.Dead}}[verb]
	f.States = from[m.rand.IntN(len(from)):]
	n := 0
	for id, rs := range m.messages {
		for i := range rs {
			r := &rs[i]
			if r.destination != f.Destination || !slices.Contains(f.States, r.state) {
				continue
			}
			n++
			if verb == spool.RetryNow {
				r.due = time.Now()
				if r.state == spool.Dead {
					r.attempts = 0
				}
			}
			r.state = [...]spool.State{spool.RetryNow: spool.Ready, spool.Hold: spool.Held, spool.Release: spool.Ready, spool.Drop: spool.Done}[verb]
		}
		m.forget(id)
	}
	m.change(n, f, verb)
}

func (m *model) wait() { time.Sleep(time.Duration(m.rand.IntN(120)) * time.Second) }

// restart reopens the spool, now and then, and compares everything.
func (m *model) restart() {
	if m.rand.IntN(4) > 0 {
		return
	}
	m.reopen()
	for _, l := range append(m.leases, m.ended...) {
		m.quit(l)
	}
	m.leases, m.ended = nil, nil
	m.compare()
}

// compare compares everything there is.
func (m *model) compare() {
	m.endLeases()
	m.Take(m.Context(), spool.Want{Destination: "none.test", Limit: 1, Lease: time.Second})
	entries := m.list(spool.Filter{States: []spool.State{spool.Ready, spool.Leased, spool.Held, spool.Dead, spool.Done}})
	if len(entries) != len(m.messages) {
		m.Fatalf("%d messages, the model has %d", len(entries), len(m.messages))
	}
	for _, e := range entries {
		rs := m.messages[e.ID]
		if len(rs) != len(e.Recipients) {
			m.Fatalf("%v: %d recipients, the model has %d", e.ID, len(e.Recipients), len(rs))
		}
		for n, got := range e.Recipients {
			if r := rs[n]; got.N != n || got.State != r.state || got.Attempts != r.attempts || r.state == spool.Ready && !got.Due.Equal(r.due) {
				m.Fatalf("%v: %+v, the model has %+v", e.ID, got, r)
			}
		}
		if m.read(e.ID) != m.bodies[e.ID] {
			m.Fatalf("%v: another body", e.ID)
		}
	}
}
