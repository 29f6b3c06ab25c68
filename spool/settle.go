package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"posthouse/internal/db"
	"posthouse/mail"
)

// Kinds of events.
const (
	eventReceived  = "received"
	eventDelivered = "delivered"
	eventRetry     = "retry"
	eventFailed    = "failed"
	eventHeld      = "held"
	eventReleased  = "released"
	eventRequeued  = "requeued"
	eventDropped   = "dropped"
	eventNoticed   = "noticed"
)

// wholeMessage is the Event.Recipient of what concerns all of them.
const wholeMessage = -1

// Settle is Spool.
func (s *SQLite) Settle(ctx context.Context, l Lease, outcomes []Outcome, drafts ...Draft) error {
	st := settlement{spool: s, lease: l, outcomes: outcomes}
	for _, d := range drafts {
		notice, ok := d.(*draft)
		if !ok || notice.spool != s {
			return ErrDraft
		}
		row, err := notice.seal()
		if err != nil {
			return err
		}
		st.notices = append(st.notices, row)
	}
	if err := s.write(ctx, st.run); err != nil {
		return err
	}
	if st.file {
		s.removeLarge(l.ID)
	}
	for _, n := range st.notices {
		if _, err := n.finish(); err != nil && !errors.Is(err, ErrRepeated) {
			return err
		}
	}
	return nil
}

// settlement is one Settle's part of a transaction.
type settlement struct {
	spool    *SQLite
	lease    Lease
	outcomes []Outcome
	notices  []*sealed
	file     bool // of a large body, to be removed
}

func (s *settlement) run(tx *db.Tx) error {
	from, leased, err := s.endLease(tx)
	if err != nil {
		return err
	}
	now := time.Now()
	places, err := s.places(tx)
	if err != nil {
		return err
	}
	events := make([]Event, 0, len(s.outcomes)+len(s.notices))
	for i := range s.outcomes {
		o := &s.outcomes[i]
		if err := s.record(tx, places, o, now); err != nil {
			return err
		}
		if o.Result == Retry {
			if err := s.retry(tx, from, o.Due); err != nil {
				return err
			}
		}
		events = append(events, o.event(now))
	}
	if len(s.outcomes) < leased {
		if err := s.giveBack(tx, from); err != nil {
			return err
		}
		tx.OnCommit(s.spool.bell.ring)
	}
	for _, n := range s.notices {
		if err := n.insert(tx); err != nil {
			return err
		}
		if n.earlier == 0 {
			events = append(events, Event{now, eventNoticed, wholeMessage, n.id.String()})
		}
	}
	s.file, err = s.spool.conclude(tx, s.lease.ID, events)
	return err
}

// endLease takes the lease back; it tells its lane and how many recipients it has.
func (s *settlement) endLease(tx *db.Tx) (from lane, recipients int, err error) {
	q := prepare(tx.Conn, "SELECT destination, priority, recipients FROM lease WHERE epoch = ? AND message = ?").
		int(s.lease.Epoch).int(int64(s.lease.ID))
	if !q.next() {
		if err := q.done(); err != nil {
			return lane{}, 0, err
		}
		return s.ended(tx)
	}
	from, recipients = lane{q.stmt.ColumnText(0), mail.Priority(q.stmt.ColumnInt(1))}, q.stmt.ColumnInt(2)
	if err := q.done(); err != nil {
		return lane{}, 0, err
	}
	return from, recipients, prepare(tx.Conn, "DELETE FROM lease WHERE epoch = ?").int(s.lease.Epoch).run()
}

// ended is endLease for a lease of this run whose time has passed: what nobody took since is still the lease's to settle.
func (s *settlement) ended(tx *db.Tx) (from lane, recipients int, err error) {
	if s.lease.Epoch>>epochBits != s.spool.epoch.Load()>>epochBits {
		return lane{}, 0, ErrLeaseLost
	}
	q := prepare(tx.Conn, "SELECT destination, priority FROM recipient WHERE message = ? AND state = 0 AND epoch = ?").
		int(int64(s.lease.ID)).int(s.lease.Epoch)
	for q.next() {
		from = lane{q.stmt.ColumnText(0), mail.Priority(q.stmt.ColumnInt(1))}
		recipients++
	}
	if err := q.done(); err != nil || recipients > 0 {
		return from, recipients, err
	}
	return lane{}, 0, ErrLeaseLost
}

// giveBack makes the recipients that no outcome names ready again; the lease has no more say in them.
func (s *settlement) giveBack(tx *db.Tx, to lane) error {
	if err := s.spool.release(tx, s.lease, to); err != nil {
		return err
	}
	return prepare(tx.Conn, "UPDATE recipient SET epoch = 0 WHERE message = ? AND epoch = ?").
		int(int64(s.lease.ID)).int(s.lease.Epoch).run()
}

// places are the recipients of the lease as they stand, by number.
func (s *settlement) places(tx *db.Tx) (map[int]Recipient, error) {
	places := make(map[int]Recipient, len(s.outcomes))
	q := prepare(tx.Conn, "SELECT "+recipientColumns+" FROM recipient WHERE message = ? AND state IN (0, 1) AND epoch = ?").
		int(int64(s.lease.ID)).int(s.lease.Epoch)
	for q.next() {
		_, r, err := scanRecipient(q.stmt)
		if err != nil {
			return nil, errors.Join(err, q.done())
		}
		places[r.N] = r
	}
	return places, q.done()
}

// record writes one recipient's outcome.
func (s *settlement) record(tx *db.Tx, places map[int]Recipient, o *Outcome, now time.Time) error {
	r, ok := places[o.N]
	if !ok {
		return fmt.Errorf("%w: recipient %d of %v is not of the lease, or was named twice", ErrLeaseLost, o.N, s.lease.ID)
	}
	delete(places, o.N)
	r.State, r.Due = Done, time.Time{}
	switch o.Result {
	case Retry:
		r.State, r.Due = Ready, o.Due
	case Failed:
		r.State, r.Due = Dead, now.Add(s.spool.opts.KeepDead)
	}
	r.Attempts++
	r.LastAttempt, r.LastReply = now, o.Reply
	r.Warned = r.Warned || o.Warned
	return prepare(tx.Conn, `UPDATE recipient SET state = ?, due = ?, epoch = 0, attempts = ?, last_attempt = ?, warned = ?, last_reply = ?,
		sum = ? WHERE message = ? AND n = ?`).
		int(int64(r.State)).int(nanos(r.Due)).int(int64(r.Attempts)).int(nanos(r.LastAttempt)).int(bit(r.Warned)).text(r.LastReply).
		sum(r.sum(s.lease.ID)).int(int64(s.lease.ID)).int(int64(o.N)).run()
}

func (s *settlement) retry(tx *db.Tx, to lane, due time.Time) error {
	tx.OnCommit(func() { s.spool.bell.ringAt(due) })
	return s.spool.markDue(tx, to, nanos(due))
}

var resultEvents = [...]string{Delivered: eventDelivered, Retry: eventRetry, Failed: eventFailed}

func (o *Outcome) event(now time.Time) Event {
	e := Event{now, resultEvents[o.Result], o.N, o.Reply}
	if o.Via != "" {
		e.Text += " (" + o.Via + ")"
	}
	return e
}

// conclude writes what happened to a message, and drops the message if its last recipient is done. It tells whether a file is to be
// removed after the commit.
func (s *SQLite) conclude(tx *db.Tx, id mail.ID, events []Event) (file bool, err error) {
	pending, _, err := prepare(tx.Conn, "SELECT EXISTS(SELECT 1 FROM recipient WHERE message = ? AND state < 4)").int(int64(id)).number()
	if err != nil {
		return false, err
	}
	if pending != 0 && len(events) == 0 {
		return false, nil
	}
	text, err := json.Marshal(events)
	if err != nil {
		return false, err
	}
	now := time.Now().UnixNano()
	if pending != 0 {
		return false, prepare(tx.Conn, "INSERT INTO history(message, time, events, sum) VALUES(?, ?, CAST(? AS TEXT), ?)").
			int(int64(id)).int(now).blob(text).sum(historySum([]int64{int64(id), now, 0}, nil, text)).run()
	}
	return s.leave(tx, id, text)
}

// leave ends a message: its history has its envelope from now on.
func (s *SQLite) leave(tx *db.Tx, id mail.ID, events []byte) (file bool, err error) {
	q := prepare(tx.Conn, "SELECT size, large, envelope FROM message WHERE id = ?").int(int64(id))
	if !q.next() {
		return false, errors.Join(q.done(), fmt.Errorf("%w: recipients without their message %v", ErrFailed, id))
	}
	size, large, envelope := q.stmt.ColumnInt64(0), q.stmt.ColumnInt64(1) != 0, q.bytes(2)
	if err := q.done(); err != nil {
		return false, err
	}
	now := time.Now().UnixNano()
	err = prepare(tx.Conn, `INSERT INTO history(message, time, size, envelope, events, sum)
		VALUES(?, ?, ?, CAST(? AS TEXT), CAST(? AS TEXT), ?)`).
		int(int64(id)).int(now).int(size).blob(envelope).blob(events).sum(historySum([]int64{int64(id), now, size}, envelope, events)).run()
	if err != nil {
		return false, err
	}
	return large, s.remove(tx, id)
}

// remove deletes a message's rows.
func (s *SQLite) remove(tx *db.Tx, id mail.ID) error {
	for _, sql := range []string{
		"DELETE FROM recipient WHERE message = ?", "DELETE FROM body WHERE message = ?", "DELETE FROM message WHERE id = ?",
	} {
		if err := prepare(tx.Conn, sql).int(int64(id)).run(); err != nil {
			return err
		}
	}
	tx.OnCommit(func() { s.recent.drop(id) })
	return nil
}

// Extend is Spool.
func (s *SQLite) Extend(ctx context.Context, l Lease, d time.Duration) error {
	return s.write(ctx, func(tx *db.Tx) error {
		until := time.Now().Add(d).UnixNano()
		err := prepare(tx.Conn, "UPDATE lease SET until = ? WHERE epoch = ? AND message = ?").
			int(until).int(l.Epoch).int(int64(l.ID)).run()
		if err != nil {
			return err
		}
		if tx.Changes() == 0 {
			return ErrLeaseLost
		}
		s.noteExpiry(until)
		tx.OnCommit(func() { s.bell.ringAt(timeOf(until)) })
		return nil
	})
}
