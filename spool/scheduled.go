package spool

import (
	"context"
	"errors"
	"time"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
	"posthouse/mail"
)

// Schedule is what an account submitted for later and nothing of which was tried yet.
type Schedule struct {
	Since    time.Time // when the numbers began; those of another time are of other messages
	Next     int64     // above all numbers given so far
	Messages []Scheduled
}

// Scheduled is one message of a Schedule.
type Scheduled struct {
	Entry
	N int64 // ascends in the order in which they came, and is not given again
}

// forgetScheduled forgets a few whose time has come with each new one.
const forgetScheduled = "DELETE FROM scheduled WHERE seq IN (SELECT seq FROM scheduled ORDER BY until LIMIT 4) AND until <= ?"

// schedule notes that an account's message waits for its time.
func (r *sealed) schedule(tx *db.Tx, now time.Time) error {
	account := r.env.Origin.Account
	if account == "" {
		return nil
	}
	err := errors.Join(
		prepare(tx.Conn, "INSERT INTO scheduled(account, message, until) VALUES(?, ?, ?)").
			text(string(account)).int(int64(r.id)).int(r.env.NotBefore.UnixNano()).run(),
		prepare(tx.Conn, forgetScheduled).int(now.UnixNano()).run())
	tx.OnCommit(func() { r.spool.rescheduled(account) })
	return err
}

// rescheduled tells that what is scheduled for an account changed.
func (s *SQLite) rescheduled(account mail.AccountID) {
	if s.opts.Rescheduled != nil {
		s.opts.Rescheduled(account)
	}
}

// Scheduled is Spool.
func (s *SQLite) Scheduled(ctx context.Context, account mail.AccountID) (schedule Schedule, err error) {
	err = s.db.Read(ctx, func(c *sqlite.Conn) error {
		since, _, err := prepare(c, "SELECT value FROM meta WHERE name = 'scheduled_since'").number()
		if err != nil {
			return err
		}
		last, _, err := prepare(c, "SELECT seq FROM sqlite_sequence WHERE name = 'scheduled'").number()
		if err != nil {
			return err
		}
		schedule = Schedule{Since: time.Unix(since, 0), Next: last + 1}
		var all []Scheduled
		q := prepare(c, "SELECT seq, message FROM scheduled WHERE account = ? AND until > ? ORDER BY seq").
			text(string(account)).int(time.Now().UnixNano())
		for q.next() {
			all = append(all, Scheduled{N: q.stmt.ColumnInt64(0), Entry: Entry{Envelope: mail.Envelope{ID: mail.ID(q.stmt.ColumnInt64(1))}}})
		}
		if err := q.done(); err != nil {
			return err
		}
		for _, m := range all {
			e, err := s.untried(c, m.ID)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			schedule.Messages = append(schedule.Messages, Scheduled{e, m.N})
		}
		return nil
	})
	return schedule, translate(err)
}

// untried is a message all of whose recipients wait for their first attempt; else ErrNotFound.
func (s *SQLite) untried(c *sqlite.Conn, id mail.ID) (Entry, error) {
	e, err := readMessage(c, id)
	if err != nil {
		return e, err
	}
	all, err := (&Filter{ID: id, States: []State{Ready, Leased, Held, Dead, Done}}).matcher(time.Now())
	if err != nil {
		return e, err
	}
	page, _, err := s.find(c, all, 0)
	if err != nil {
		return e, err
	}
	for _, f := range page {
		e.Recipients = f.recipients
	}
	now := time.Now()
	for _, r := range e.Recipients {
		if r.State != Ready && r.State != Held || r.Attempts > 0 || !r.Due.After(now) {
			return e, ErrNotFound
		}
	}
	return e, nil
}

// byItsSender is the text of the event by which the story of a message ends whose sender thought better of it.
const byItsSender = "by its sender"

// Cancel is Spool.
func (s *SQLite) Cancel(ctx context.Context, account mail.AccountID, id mail.ID) error {
	removed := false // a file is to be
	err := s.write(ctx, func(tx *db.Tx) error {
		_, is, err := prepare(tx.Conn, "SELECT seq FROM scheduled WHERE account = ? AND message = ?").text(string(account)).int(int64(id)).number()
		if err == nil && !is {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		e, err := s.untried(tx.Conn, id)
		if err != nil {
			return err
		}
		changed, file, err := s.applyVerb(tx, &e, Drop.verb(), byItsSender)
		switch {
		case err != nil:
			return err
		case changed != len(e.Recipients): // a worker has just taken it
			return ErrNotFound
		}
		removed = file
		tx.OnCommit(func() { s.rescheduled(account) })
		return prepare(tx.Conn, "DELETE FROM scheduled WHERE message = ?").int(int64(id)).run()
	})
	if err == nil && removed {
		s.removeLarge(id)
	}
	return translate(err)
}
