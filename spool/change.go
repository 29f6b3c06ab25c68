package spool

import (
	"context"
	"slices"
	"time"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
	"posthouse/mail"
)

// verb is what a Change does to a recipient in one of the states from.
type verb struct {
	from  []State
	event string
	apply func(r *Recipient, now time.Time)
}

func (c Change) verb() verb {
	return [...]verb{
		RetryNow: {[]State{Ready, Dead}, eventRequeued, func(r *Recipient, now time.Time) {
			if r.State == Dead {
				r.Since, r.Attempts, r.Warned = now, 0, false
			}
			r.State, r.Due = Ready, now
		}},
		Hold:    {[]State{Ready}, eventHeld, func(r *Recipient, _ time.Time) { r.State = Held }},
		Release: {[]State{Held}, eventReleased, func(r *Recipient, _ time.Time) { r.State = Ready }},
		Drop:    {[]State{Ready, Held, Dead}, eventDropped, func(r *Recipient, _ time.Time) { r.State = Done }},
	}[c]
}

// byOperator is the text of an operator's events.
const byOperator = "by an operator"

// Change is Spool.
func (s *SQLite) Change(ctx context.Context, f Filter, c Change) (int, error) {
	v := c.verb()
	m, err := f.matcher(time.Now())
	if err != nil {
		return 0, err
	}
	for state := range m.states {
		m.states[state] = m.states[state] && slices.Contains(v.from, State(state))
	}
	changed, messages, after := 0, 0, mail.ID(0)
	for {
		page, last, err := s.page(ctx, m, after)
		if err != nil {
			return changed, translate(err)
		}
		if f.Limit > 0 {
			page = page[:min(len(page), f.Limit-messages)]
		}
		n, err := s.changePage(ctx, page, v)
		changed, messages = changed+n, messages+len(page)
		if err != nil || last == 0 || messages == f.Limit && f.Limit > 0 {
			return changed, err
		}
		after = last
	}
}

// changePage applies a verb to what a page lists and did not change meanwhile, in one transaction.
func (s *SQLite) changePage(ctx context.Context, page []Entry, v verb) (changed int, err error) {
	if len(page) == 0 {
		return 0, nil
	}
	var files []mail.ID
	err = s.write(ctx, func(tx *db.Tx) error {
		changed, files = 0, nil
		for i := range page {
			n, file, err := s.applyVerb(tx, &page[i], v, byOperator)
			if err != nil {
				return err
			}
			changed += n
			if file {
				files = append(files, page[i].ID)
			}
		}
		tx.OnCommit(s.bell.ring)
		return nil
	})
	if err != nil {
		return 0, err
	}
	s.removeLarge(files...)
	return changed, nil
}

// applyVerb does it to what e has of a message; by says in its story who asked for it.
func (s *SQLite) applyVerb(tx *db.Tx, e *Entry, v verb, by string) (changed int, file bool, err error) {
	now := time.Now()
	var events []Event
	for _, before := range e.Recipients {
		if s.leases.leased(e.ID, before.N) {
			continue
		}
		after := before
		v.apply(&after, now)
		if after.State == Ready {
			after.Destination = s.opts.Destination(e.From, after.Recipient) // which may be another by now
		}
		ok, err := replace(tx.Conn, e.ID, before, after)
		if err != nil {
			return 0, false, err
		}
		if !ok {
			continue
		}
		events = append(events, Event{now, v.event, before.N, by})
		if after.State == Ready {
			if err := s.markDue(tx, lane{after.Destination, e.Priority}, nanos(after.Due)); err != nil {
				return 0, false, err
			}
		}
	}
	if len(events) == 0 {
		return 0, false, nil
	}
	file, err = s.conclude(tx, e.ID, events)
	return len(events), file, err
}

// replace writes a recipient's place in the queue if it is still where it was before.
func replace(c *sqlite.Conn, id mail.ID, before, after Recipient) (bool, error) {
	err := prepare(c, `UPDATE recipient SET state = ?, due = ?, since = ?, attempts = ?, last_attempt = ?, warned = ?, destination = ?, last_reply = ?,
		sum = ? WHERE message = ? AND n = ? AND state = ? AND due = ? AND attempts = ?`).
		int(int64(after.State)).int(nanos(after.Due)).int(nanos(after.Since)).int(int64(after.Attempts)).int(nanos(after.LastAttempt)).
		int(bit(after.Warned)).text(after.Destination).text(after.LastReply).sum(after.sum(id)).
		int(int64(id)).int(int64(before.N)).int(int64(before.State)).int(nanos(before.Due)).int(int64(before.Attempts)).run()
	return c.Changes() > 0, err
}
