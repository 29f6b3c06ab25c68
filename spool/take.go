package spool

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
	"posthouse/mail"
)

// Take is Spool.
func (s *SQLite) Take(ctx context.Context, w Want) ([]Job, error) {
	for {
		heard := s.bell.heard()
		jobs, err := s.lease(ctx, w)
		if err != nil || len(jobs) == w.Limit || len(w.Skip) > 0 {
			s.bell.pass() // what is due may not be for this taker, or more than it may have
		}
		if err != nil || len(jobs) > 0 || w.Destination != "" {
			return jobs, err
		}
		if err := s.bell.wait(ctx, heard); err != nil {
			return nil, err
		}
	}
}

// lease takes what is due now. It needs the writers' turn, and writes only where a lane's row is wrong.
func (s *SQLite) lease(ctx context.Context, w Want) ([]Job, error) {
	t := taking{spool: s, want: w}
	if err := s.write(ctx, t.run); err != nil {
		return nil, err
	}
	jobs := make([]Job, 0, len(t.jobs))
	for i, j := range t.jobs {
		h := t.leased[i]
		if j.Envelope.ID == 0 { // it is not in memory
			if err := json.Unmarshal(t.envelopes[i], &j.Envelope); err != nil {
				// It stays leased, and the others are not kept waiting for it.
				s.opts.Log.Error("spool: a message's envelope cannot be read", "mid", h.ID, "err", err)
				continue
			}
		}
		h.whole = len(j.To) == len(j.Recipients)
		j.To = nil
		jobs = append(jobs, j)
	}
	return jobs, nil
}

// taking is one Take's part of a transaction.
type taking struct {
	spool     *SQLite
	want      Want
	tx        *db.Tx
	now       int64
	until     int64
	jobs      []Job
	leased    []*holding // of each job
	envelopes [][]byte   // of each job, since its lease forgets it when it ends
}

func (t *taking) run(tx *db.Tx) error {
	now := time.Now()
	t.tx, t.now, t.until, t.jobs, t.leased, t.envelopes = tx, now.UnixNano(), now.Add(t.want.Lease).UnixNano(), nil, nil, nil
	if err := t.spool.expire(tx, t.now); err != nil {
		return err
	}
	tx.OnAbort(t.giveBack)
	take := t.takeAny
	if t.want.Destination != "" {
		take = t.takeThere
	}
	for p := range t.spool.priorities.descending() {
		if err := take(p); err != nil {
			return err
		}
	}
	return t.spool.ringAtNext(tx, t.now)
}

// giveBack undoes what was granted.
func (t *taking) giveBack() {
	for _, h := range t.leased {
		t.spool.leases.revoke(h)
		t.spool.lanes.undoLease(h.lane, len(h.recipients))
	}
}

func (t *taking) room() int { return t.want.Limit - len(t.jobs) }

// takeThere takes from the destination that is wanted.
func (t *taking) takeThere(p mail.Priority) error {
	_, err := t.takeFrom(lane{t.want.Destination, p})
	return err
}

// takeAny takes from the destinations that are due, the longest due first.
func (t *taking) takeAny(p mail.Priority) error {
	skip := make(map[string]bool, len(t.want.Skip))
	for _, name := range t.want.Skip {
		skip[name] = true
	}
	for t.room() > 0 {
		lanes, err := t.due(p, skip)
		if err != nil || len(lanes) == 0 {
			return err
		}
		for _, l := range lanes {
			n, err := t.takeFrom(l.lane)
			if err == nil && n == 0 && t.room() > 0 && t.spool.lanes.known[l.lane] == nil {
				err = t.spool.updateDue(t.tx, l.lane) // its row is not right any more
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

type dueLane struct {
	lane
	due int64
}

// due is the next lanes to take from: those whose row says so, and the known ones, which know better. Once taken from, a lane is due
// later, or the limit is reached.
func (t *taking) due(p mail.Priority, skip map[string]bool) (lanes []dueLane, err error) {
	q := prepare(t.tx.Conn, "SELECT name, due FROM destination WHERE priority = ? AND due <= ? ORDER BY due").int(int64(p)).int(t.now)
	for len(lanes) < t.room() && q.next() {
		l := lane{q.stmt.ColumnText(0), p}
		if !skip[l.destination] && t.spool.lanes.known[l] == nil {
			lanes = append(lanes, dueLane{l, q.stmt.ColumnInt64(1)})
		}
	}
	if err := q.done(); err != nil {
		return nil, err
	}
	for l, known := range t.spool.lanes.known {
		if l.priority == p && known.next <= t.now && !skip[l.destination] {
			lanes = append(lanes, dueLane{l, known.next})
		}
	}
	slices.SortStableFunc(lanes, func(a, b dueLane) int {
		return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.destination, b.destination))
	})
	return lanes[:min(len(lanes), t.room())], nil
}

// takeFrom leases what is due in one lane, as far as the limit allows, and tells how many jobs that are.
func (t *taking) takeFrom(from lane) (int, error) {
	if t.room() == 0 {
		return 0, nil
	}
	var after spot
	known := t.spool.lanes.known[from]
	if known != nil {
		after = known.after
	}
	jobs, after, next, err := t.collect(from, after)
	if err != nil {
		return 0, err
	}
	if len(jobs) > 0 {
		t.spool.lanes.took(from, nanos(jobs[0].Recipients[0].Due), after, next)
	} else if known != nil {
		known.after, known.next = after, next
	}
	for i := range jobs {
		if err := t.grant(&jobs[i], from); err != nil {
			return 0, err
		}
	}
	return len(jobs), nil
}

// collect reads the recipients that are due in a lane after a spot, but for those that are leased, and puts those of a message with the
// same due time together. It tells up to which spot all are taken then, and when the next one is due.
func (t *taking) collect(from lane, start spot) (jobs []Job, after spot, next int64, err error) {
	after, next = start, forever
	// The "+" keeps the planner from looking at the value: with it, SQLite would prepare the statement anew for each one.
	q := prepare(t.tx.Conn, "SELECT "+recipientColumns+" FROM recipient INDEXED BY recipient_ready"+
		" WHERE state = 0 AND destination = +? AND priority = +? AND (due, message, n) > (+?, +?, +?) ORDER BY due, message, n").
		text(from.destination).int(int64(from.priority)).int(start.due).int(int64(start.id)).int(int64(start.n))
	for q.next() {
		at := spot{q.stmt.ColumnInt64(3), mail.ID(q.stmt.ColumnInt64(0)), q.stmt.ColumnInt(1)}
		if !t.spool.leases.leased(at.id, at.n) {
			same := len(jobs) > 0 && jobs[len(jobs)-1].Lease.ID == at.id
			if at.due > t.now || !same && len(jobs) == t.room() {
				next = at.due
				break
			}
			_, r, err := scanRecipient(q.stmt)
			if err != nil { // it is damaged; the others are not kept waiting for it
				t.spool.opts.Log.Error("spool: a recipient cannot be read", "mid", at.id, "err", err)
				after = at
				continue
			}
			if !same {
				jobs = append(jobs, Job{Lease: Lease{ID: at.id}, Destination: from.destination})
			}
			jobs[len(jobs)-1].Recipients = append(jobs[len(jobs)-1].Recipients, r)
		}
		after = at
	}
	return jobs, after, next, q.done()
}

// grant makes a job of one message's recipients: it leases them, and reads the message unless it is in memory.
func (t *taking) grant(j *Job, from lane) error {
	j.Epoch = t.spool.epoch.Add(1)
	h := &holding{Lease: j.Lease, lane: from, recipients: slices.Clone(j.Recipients), until: t.until}
	for i := range j.Recipients {
		j.Recipients[i].State = Leased
	}
	t.spool.leases.grant(h)
	t.spool.lanes.lease(from, len(h.recipients))
	t.jobs, t.leased = append(t.jobs, *j), append(t.leased, h)
	job := &t.jobs[len(t.jobs)-1]
	if k := t.spool.recent.get(h.ID); k != nil {
		h.departing, job.Envelope = departing{int64(len(k.prefix) + len(k.body)), false, k.envelope}, k.env
	} else if err := readDeparting(t.tx.Conn, h.ID, &h.departing); err != nil {
		return err
	}
	job.Size, t.envelopes = h.size, append(t.envelopes, h.envelope)
	return nil
}

// readDeparting reads what a message's history will keep.
func readDeparting(c *sqlite.Conn, id mail.ID, d *departing) error {
	q := prepare(c, "SELECT size, large, envelope FROM message WHERE id = ?").int(int64(id))
	if !q.next() { // damage; who needs the envelope will see that there is none
		return q.done()
	}
	*d = departing{q.stmt.ColumnInt64(0), q.stmt.ColumnInt64(1) != 0, q.bytes(2)}
	return q.done()
}

// ringAtNext has the bell ring when something comes due that is not now: a lane, or the end of a lease. Every look at the queue sets it
// anew, since the bell forgets what it rang for.
func (s *SQLite) ringAtNext(tx *db.Tx, now int64) error {
	next, err := s.nextDue(tx, now)
	if err != nil {
		return err
	}
	if first := s.leases.expiry(); first != 0 {
		next = min(next, first)
	}
	if next != forever {
		tx.OnCommit(func() { s.bell.ringAt(timeOf(next)) })
	}
	return nil
}

// expire makes the recipients of leases that ended ready again.
func (s *SQLite) expire(tx *db.Tx, now int64) error {
	for _, h := range s.leases.expire(now) {
		forgotten, full := s.lanes.end(h.lane, len(h.recipients))
		if s.lanes.lookAgain(h.lane); full {
			if err := s.updateDue(tx, forgotten); err != nil {
				return err
			}
		}
	}
	return nil
}

const recipientColumns = "message, n, state, due, since, attempts, last_attempt, warned, notify, destination, address, original, last_reply, own"

// scanRecipient reads recipientColumns.
func scanRecipient(stmt *sqlite.Stmt) (mail.ID, Recipient, error) {
	id := mail.ID(stmt.ColumnInt64(0))
	r := Recipient{
		N:           stmt.ColumnInt(1),
		State:       State(stmt.ColumnInt(2)),
		Due:         timeOf(stmt.ColumnInt64(3)),
		Since:       timeOf(stmt.ColumnInt64(4)),
		Attempts:    stmt.ColumnInt(5),
		LastAttempt: timeOf(stmt.ColumnInt64(6)),
		Warned:      stmt.ColumnInt(7) != 0,
		Destination: stmt.ColumnText(9),
		LastReply:   stmt.ColumnText(12),
	}
	r.Notify = mail.Notify(stmt.ColumnInt(8))
	r.Original = stmt.ColumnText(11)
	r.Own = stmt.ColumnInt(13) != 0
	err := r.Address.UnmarshalText([]byte(stmt.ColumnText(10)))
	if err != nil {
		err = fmt.Errorf("spool: recipient %d of %v: %w", r.N, id, err)
	}
	return id, r, err
}
