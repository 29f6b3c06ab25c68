package spool

import (
	"context"
	"encoding/json"
	"fmt"
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

// lease takes what is due now.
func (s *SQLite) lease(ctx context.Context, w Want) ([]Job, error) {
	t := taking{spool: s, want: w}
	if err := s.write(ctx, t.run); err != nil {
		return nil, err
	}
	jobs := make([]Job, 0, len(t.leased))
	for _, l := range t.leased {
		if err := json.Unmarshal(l.envelope, &l.job.Envelope); err != nil {
			// It stays leased, and the others are not kept waiting for it.
			s.opts.Log.Error("spool: a message's envelope cannot be read", "mid", l.job.Lease.ID, "err", err)
			continue
		}
		l.job.To = nil
		jobs = append(jobs, l.job)
	}
	return jobs, nil
}

// taking is one Take's part of a transaction.
type taking struct {
	spool  *SQLite
	want   Want
	tx     *db.Tx
	now    int64
	until  int64
	leased []*leased
}

type leased struct {
	job      Job
	envelope []byte
}

func (t *taking) run(tx *db.Tx) error {
	now := time.Now()
	t.tx, t.now, t.until, t.leased = tx, now.UnixNano(), now.Add(t.want.Lease).UnixNano(), nil
	if err := t.spool.expire(tx, t.now); err != nil {
		return err
	}
	take := t.takeAny
	if t.want.Destination != "" {
		take = t.takeThere
	}
	for p := range t.spool.priorities.descending() {
		if err := take(p); err != nil {
			return err
		}
	}
	if len(t.leased) > 0 {
		t.spool.noteExpiry(t.until)
	}
	return t.spool.ringAtNext(tx, t.now)
}

// takeThere takes from the destination that is wanted.
func (t *taking) takeThere(p mail.Priority) error { return t.takeFrom(lane{t.want.Destination, p}) }

// takeAny takes from the destinations that are due, the longest due first.
func (t *taking) takeAny(p mail.Priority) error {
	var skip map[string]bool
	if len(t.want.Skip) > 0 {
		skip = make(map[string]bool, len(t.want.Skip))
		for _, name := range t.want.Skip {
			skip[name] = true
		}
	}
	for len(t.leased) < t.want.Limit {
		lanes, err := t.due(p, skip)
		if err != nil || len(lanes) == 0 {
			return err
		}
		for _, l := range lanes {
			if err := t.takeFrom(l); err != nil {
				return err
			}
		}
	}
	return nil
}

// due is the next lanes to take from. Once taken from, a lane's row is gone, or due later, or the limit is reached.
func (t *taking) due(p mail.Priority, skip map[string]bool) (lanes []lane, err error) {
	q := prepare(t.tx.Conn, "SELECT name FROM destination WHERE priority = ? AND due <= ? ORDER BY due").int(int64(p)).int(t.now)
	for len(lanes) < t.want.Limit-len(t.leased) && q.next() {
		if name := q.stmt.ColumnText(0); !skip[name] {
			lanes = append(lanes, lane{name, p})
		}
	}
	return lanes, q.done()
}

// takeFrom leases what is due in one lane, as far as the limit allows, and sets the lane's due time right.
func (t *taking) takeFrom(from lane) error {
	jobs, err := t.collect(from)
	if err != nil || len(jobs) == 0 && t.want.Limit == len(t.leased) {
		return err
	}
	for _, l := range jobs {
		if err := t.grant(l, from); err != nil {
			return err
		}
	}
	t.leased = append(t.leased, jobs...)
	return updateDue(t.tx, from)
}

// collect reads the recipients that are due in a lane and puts those of a message with the same due time together.
func (t *taking) collect(from lane) ([]*leased, error) {
	var jobs []*leased
	room := t.want.Limit - len(t.leased)
	if room == 0 {
		return nil, nil
	}
	// The "+" keeps the planner from looking at the value: with it, SQLite would prepare the statement anew for each one.
	q := prepare(t.tx.Conn, "SELECT "+recipientColumns+" FROM recipient INDEXED BY recipient_ready"+
		" WHERE state = 0 AND destination = +? AND priority = +? AND due <= +? ORDER BY due, message, n").
		text(from.destination).int(int64(from.priority)).int(t.now)
	for q.next() {
		id, r, err := scanRecipient(q.stmt)
		if err != nil {
			return nil, err
		}
		if len(jobs) == 0 || jobs[len(jobs)-1].job.Lease.ID != id {
			if len(jobs) == room {
				break
			}
			jobs = append(jobs, &leased{job: Job{Lease: Lease{ID: id}, Destination: from.destination}})
		}
		r.State = Leased
		job := &jobs[len(jobs)-1].job
		job.Recipients = append(job.Recipients, r)
	}
	return jobs, q.done()
}

// grant writes one lease and reads its message.
func (t *taking) grant(l *leased, from lane) error {
	l.job.Epoch = t.spool.epoch.Add(1)
	c, id := t.tx.Conn, int64(l.job.Lease.ID)
	err := prepare(c, "INSERT INTO lease(epoch, message, destination, priority, recipients, until) VALUES(?, ?, ?, ?, ?, ?)").
		int(l.job.Epoch).int(id).text(from.destination).int(int64(from.priority)).int(int64(len(l.job.Recipients))).int(t.until).run()
	if err != nil {
		return err
	}
	for _, r := range l.job.Recipients {
		err := prepare(c, "UPDATE recipient SET state = 1, epoch = ? WHERE message = ? AND n = ?").
			int(l.job.Epoch).int(id).int(int64(r.N)).run()
		if err != nil {
			return err
		}
	}
	q := prepare(c, "SELECT size, envelope FROM message WHERE id = ?").int(id)
	if !q.next() {
		return fmt.Errorf("%w: recipients without their message %v (%w)", ErrFailed, l.job.Lease.ID, q.done())
	}
	l.job.Size = q.stmt.ColumnInt64(0)
	l.envelope = q.bytes(1)
	return q.done()
}

// ringAtNext has the bell ring when something comes due that is not now: a destination, or the end of a lease. Every look at the queue
// sets it anew, since the bell forgets what it rang for.
func (s *SQLite) ringAtNext(tx *db.Tx, now int64) error {
	next, ok, err := s.nextDue(tx, now)
	if err != nil {
		return err
	}
	if s.firstExpiry != 0 && (!ok || s.firstExpiry < next) {
		next, ok = s.firstExpiry, true
	}
	if ok {
		tx.OnCommit(func() { s.bell.ringAt(timeOf(next)) })
	}
	return nil
}

// noteExpiry remembers that a lease ends at until.
func (s *SQLite) noteExpiry(until int64) {
	if s.firstExpiry == 0 || until < s.firstExpiry {
		s.firstExpiry = until
	}
}

// expire makes the recipients of leases that ended ready again.
func (s *SQLite) expire(tx *db.Tx, now int64) error {
	if s.firstExpiry == 0 || now < s.firstExpiry {
		return nil
	}
	tx.OnAbort(func() { s.firstExpiry = 1 }) // look again
	if err := s.endLeases(tx, now); err != nil {
		return err
	}
	first, ok, err := prepare(tx.Conn, "SELECT min(until) FROM lease").number()
	s.firstExpiry = 0
	if err == nil && ok {
		s.noteExpiry(first)
	}
	return err
}

// endLeases ends the leases that lasted until now at most. Their recipients keep the epoch: what comes late can still be settled.
func (s *SQLite) endLeases(tx *db.Tx, now int64) error {
	type ended struct {
		Lease
		lane
	}
	var all []ended
	q := prepare(tx.Conn, "SELECT epoch, message, destination, priority FROM lease WHERE until <= ?").int(now)
	for q.next() {
		l := Lease{ID: mail.ID(q.stmt.ColumnInt64(1)), Epoch: q.stmt.ColumnInt64(0)}
		all = append(all, ended{l, lane{q.stmt.ColumnText(2), mail.Priority(q.stmt.ColumnInt(3))}})
	}
	if err := q.done(); err != nil {
		return err
	}
	for _, l := range all {
		if err := s.release(tx, l.Lease, l.lane); err != nil {
			return err
		}
		if err := prepare(tx.Conn, "DELETE FROM lease WHERE epoch = ?").int(l.Epoch).run(); err != nil {
			return err
		}
	}
	return nil
}

// release makes those recipients of a lease that are still leased ready again, as they were.
func (s *SQLite) release(tx *db.Tx, l Lease, to lane) error {
	due, ok, err := prepare(tx.Conn, "SELECT min(due) FROM recipient WHERE message = ? AND state = 1 AND epoch = ?").
		int(int64(l.ID)).int(l.Epoch).number()
	if err != nil || !ok {
		return err
	}
	err = prepare(tx.Conn, "UPDATE recipient SET state = 0 WHERE message = ? AND state = 1 AND epoch = ?").
		int(int64(l.ID)).int(l.Epoch).run()
	if err != nil {
		return err
	}
	return s.markDue(tx, to, due)
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
