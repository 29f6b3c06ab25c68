package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
	h := s.spool.leases.find(s.lease)
	if h == nil {
		return ErrLeaseLost
	}
	places, err := s.places(tx, h)
	if err != nil {
		return err
	}
	forgotten, full := s.endLease(tx, h)
	now := time.Now()
	events, settled, err := s.settle(places, now)
	if err != nil {
		return err
	}
	for _, n := range s.notices {
		if err := n.insert(tx); err != nil {
			return err
		}
		if n.earlier == 0 {
			events = append(events, Event{now, eventNoticed, wholeMessage, n.id.String()})
		}
	}
	if len(settled) < len(places) && !h.ended {
		s.spool.lanes.lookAgain(h.lane)
		tx.OnCommit(s.spool.bell.ring)
	}
	if s.file, err = s.write(tx, h, settled, events); err != nil || !full {
		return err
	}
	return s.spool.updateDue(tx, forgotten)
}

// places are the recipients of the lease as they stand, by number. Of a lease whose time has passed they are those that are ready and
// that nobody took since; without one it was lost.
func (s *settlement) places(tx *db.Tx, h *holding) (map[int]Recipient, error) {
	places := make(map[int]Recipient, len(h.recipients))
	if !h.ended {
		for _, r := range h.recipients {
			places[r.N] = r
		}
		return places, nil
	}
	q := prepare(tx.Conn, "SELECT "+recipientColumns+" FROM recipient WHERE message = ? AND state = 0").int(int64(h.ID))
	for q.next() {
		_, r, err := scanRecipient(q.stmt)
		if err != nil {
			return nil, errors.Join(err, q.done())
		}
		if s.spool.leases.lateFor(h, r.N) {
			places[r.N] = r
		}
	}
	if err := q.done(); err != nil || len(places) > 0 {
		return places, err
	}
	return nil, ErrLeaseLost
}

// endLease takes the lease back; it tells which lane is forgotten with it, if one is.
func (s *settlement) endLease(tx *db.Tx, h *holding) (forgotten lane, ok bool) {
	s.spool.leases.revoke(h)
	tx.OnAbort(func() { s.spool.leases.restore(h) })
	if h.ended {
		return lane{}, false
	}
	tx.OnAbort(func() { s.spool.lanes.undoEnd(h.lane, len(h.recipients)) })
	return s.spool.lanes.end(h.lane, len(h.recipients))
}

// settle applies the outcomes to the places of their recipients.
func (s *settlement) settle(places map[int]Recipient, now time.Time) (events []Event, settled []Recipient, err error) {
	events = make([]Event, 0, len(s.outcomes)+len(s.notices))
	named := make(map[int]bool, len(s.outcomes))
	for i := range s.outcomes {
		o := &s.outcomes[i]
		r, ok := places[o.N]
		if !ok || named[o.N] {
			return nil, nil, fmt.Errorf("%w: recipient %d of %v is not of the lease, or was named twice", ErrLeaseLost, o.N, s.lease.ID)
		}
		named[o.N] = true
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
		events, settled = append(events, o.event(now)), append(settled, r)
	}
	return events, settled, nil
}

// write writes where the recipients stand now. Those of a message that leaves with them go without being written once more.
func (s *settlement) write(tx *db.Tx, h *holding, settled []Recipient, events []Event) (file bool, err error) {
	if h.whole && !h.ended && len(settled) == len(h.recipients) && !slices.ContainsFunc(settled, func(r Recipient) bool { return r.State != Done }) {
		return s.spool.leave(tx, h.ID, h.departing, events)
	}
	for i := range settled {
		if err := s.record(tx, h.lane, &settled[i]); err != nil {
			return false, err
		}
	}
	return s.spool.conclude(tx, h.ID, events)
}

// record writes one recipient's place.
func (s *settlement) record(tx *db.Tx, l lane, r *Recipient) error {
	if r.State == Ready {
		if err := s.retry(tx, l, r.Due); err != nil {
			return err
		}
	}
	return prepare(tx.Conn, `UPDATE recipient SET state = ?, due = ?, attempts = ?, last_attempt = ?, warned = ?, last_reply = ?, sum = ?
		WHERE message = ? AND n = ?`).
		int(int64(r.State)).int(nanos(r.Due)).int(int64(r.Attempts)).int(nanos(r.LastAttempt)).int(bit(r.Warned)).text(r.LastReply).
		sum(r.sum(s.lease.ID)).int(int64(s.lease.ID)).int(int64(r.N)).run()
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
	if err != nil || pending != 0 && len(events) == 0 {
		return false, err
	}
	if pending == 0 {
		var d departing
		if err := readDeparting(tx.Conn, id, &d); err != nil {
			return false, err
		}
		return s.leave(tx, id, d, events)
	}
	text, err := json.Marshal(events)
	if err != nil {
		return false, err
	}
	now := time.Now().UnixNano()
	return false, prepare(tx.Conn, "INSERT INTO history(message, time, events, sum) VALUES(?, ?, CAST(? AS TEXT), ?)").
		int(int64(id)).int(now).blob(text).sum(historySum([]int64{int64(id), now, 0}, nil, text)).run()
}

// leave ends a message: its history has its envelope from now on.
func (s *SQLite) leave(tx *db.Tx, id mail.ID, d departing, events []Event) (file bool, err error) {
	text, err := json.Marshal(events)
	if err != nil {
		return false, err
	}
	now := time.Now().UnixNano()
	err = prepare(tx.Conn, `INSERT INTO history(message, time, size, envelope, events, sum)
		VALUES(?, ?, ?, CAST(? AS TEXT), CAST(? AS TEXT), ?)`).
		int(int64(id)).int(now).int(d.size).blob(d.envelope).blob(text).sum(historySum([]int64{int64(id), now, d.size}, d.envelope, text)).run()
	if err != nil {
		return false, err
	}
	return d.large, s.remove(tx, id)
}

// remove deletes a message.
func (s *SQLite) remove(tx *db.Tx, id mail.ID) error {
	tx.OnCommit(func() { s.recent.drop(id) })
	return deleteMessage(tx, id)
}

// deleteMessage deletes a message's rows.
func deleteMessage(tx *db.Tx, id mail.ID) error {
	for _, sql := range []string{
		"DELETE FROM recipient WHERE message = ?", "DELETE FROM body WHERE message = ?", "DELETE FROM message WHERE id = ?",
	} {
		if err := prepare(tx.Conn, sql).int(int64(id)).run(); err != nil {
			return err
		}
	}
	return nil
}

// Extend is Spool.
func (s *SQLite) Extend(_ context.Context, l Lease, d time.Duration) error {
	until := time.Now().Add(d)
	if !s.leases.extend(l, until) {
		return ErrLeaseLost
	}
	s.bell.ringAt(until)
	return nil
}
