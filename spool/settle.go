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
		n.release()
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
	destination, leased, err := endLease(tx, s.lease)
	if err != nil {
		return err
	}
	now := time.Now()
	events := make([]Event, 0, len(s.outcomes)+len(s.notices))
	for i := range s.outcomes {
		o := &s.outcomes[i]
		if err := s.record(tx, o, now); err != nil {
			return err
		}
		if o.Result == Retry {
			if err := s.retry(tx, destination, o.Due); err != nil {
				return err
			}
		}
		events = append(events, o.event(now))
	}
	if len(s.outcomes) < leased {
		if err := release(tx, s.lease, destination); err != nil {
			return err
		}
		tx.OnCommit(s.spool.bell.ring)
	}
	for _, n := range s.notices {
		if err := n.insert(tx); err != nil {
			return err
		}
		events = append(events, Event{now, eventNoticed, wholeMessage, n.id.String()})
	}
	s.file, err = s.spool.conclude(tx, s.lease.ID, events)
	return err
}

// endLease takes a lease back; it tells its destination and how many recipients it had.
func endLease(tx *db.Tx, l Lease) (destination string, recipients int, err error) {
	q := prepare(tx.Conn, "SELECT destination, recipients FROM lease WHERE epoch = ? AND message = ?").int(l.Epoch).int(int64(l.ID))
	if !q.next() {
		return "", 0, errors.Join(q.done(), ErrLeaseLost)
	}
	destination, recipients = q.stmt.ColumnText(0), q.stmt.ColumnInt(1)
	if err := q.done(); err != nil {
		return "", 0, err
	}
	return destination, recipients, prepare(tx.Conn, "DELETE FROM lease WHERE epoch = ?").int(l.Epoch).run()
}

// record writes one recipient's outcome.
func (s *settlement) record(tx *db.Tx, o *Outcome, now time.Time) error {
	state, due := Done, int64(0)
	switch o.Result {
	case Retry:
		state, due = Ready, nanos(o.Due)
	case Failed:
		state, due = Dead, now.Add(s.spool.opts.KeepDead).UnixNano()
	}
	warned := int64(0)
	if o.Warned {
		warned = 1
	}
	err := prepare(tx.Conn, `UPDATE recipient SET state = ?, due = ?, epoch = 0, attempts = attempts + 1, last_attempt = ?,
		last_reply = ?, warned = max(warned, ?) WHERE message = ? AND n = ? AND state = 1 AND epoch = ?`).
		int(int64(state)).int(due).int(now.UnixNano()).text(o.Reply).int(warned).
		int(int64(s.lease.ID)).int(int64(o.N)).int(s.lease.Epoch).run()
	if err != nil {
		return err
	}
	if tx.Changes() == 0 {
		return fmt.Errorf("%w: recipient %d of %v is not of the lease, or was named twice", ErrLeaseLost, o.N, s.lease.ID)
	}
	return nil
}

func (s *settlement) retry(tx *db.Tx, destination string, due time.Time) error {
	tx.OnCommit(func() { s.spool.bell.ringAt(due) })
	return markDue(tx, destination, nanos(due))
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
		return false, prepare(tx.Conn, "INSERT INTO history(message, time, events) VALUES(?, ?, CAST(? AS TEXT))").
			int(int64(id)).int(now).blob(text).run()
	}
	err = prepare(tx.Conn, `INSERT INTO history(message, time, size, envelope, events)
		SELECT id, ?, size, envelope, CAST(? AS TEXT) FROM message WHERE id = ?`).int(now).blob(text).int(int64(id)).run()
	if err != nil {
		return false, err
	}
	return s.remove(tx, id)
}

// remove deletes a message's rows.
func (s *SQLite) remove(tx *db.Tx, id mail.ID) (file bool, err error) {
	large, _, err := prepare(tx.Conn, "SELECT large FROM message WHERE id = ?").int(int64(id)).number()
	if err != nil {
		return false, err
	}
	for _, sql := range []string{
		"DELETE FROM recipient WHERE message = ?", "DELETE FROM body WHERE message = ?", "DELETE FROM message WHERE id = ?",
	} {
		if err := prepare(tx.Conn, sql).int(int64(id)).run(); err != nil {
			return false, err
		}
	}
	tx.OnCommit(func() { s.recent.drop(id) })
	return large != 0, nil
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
