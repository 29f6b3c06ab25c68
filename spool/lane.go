package spool

import (
	"iter"
	"math"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
	"posthouse/mail"
)

// lane is where a recipient waits: those of one destination and one priority, in the order they are due.
type lane struct {
	destination string
	priority    mail.Priority
}

// priorities is a set of priorities. Nearly always only zero is in it, so that looking at each in turn costs nothing.
type priorities uint32

func (p *priorities) add(x mail.Priority) { *p |= 1 << (x - mail.MinPriority) }

// descending yields the greatest first: RFC 6710 §5.
func (p priorities) descending() iter.Seq[mail.Priority] {
	return func(yield func(mail.Priority) bool) {
		for x := mail.MaxPriority; x >= mail.MinPriority; x-- {
			if p&(1<<(x-mail.MinPriority)) != 0 && !yield(x) {
				return
			}
		}
	}
}

// readPriorities reads those of all lanes.
func readPriorities(c *sqlite.Conn) (p priorities, err error) {
	q := prepare(c, "SELECT DISTINCT priority FROM destination")
	for q.next() {
		p.add(mail.Priority(q.stmt.ColumnInt(0)))
	}
	return p, q.done()
}

// forever is later than anything is due.
const forever = math.MaxInt64

// spot is where a recipient lies in its lane: those of a lane are taken in this order.
type spot struct {
	due int64
	id  mail.ID
	n   int
}

// busy is what a lane with leased recipients is known by, since its row does not say that these are taken.
type busy struct {
	leased int
	after  spot  // every recipient up to here is leased
	row    int64 // its row's due, or later
	next   int64 // when the first that is not leased is due, or earlier
}

// occupy notes that recipients of a lane are taken, the first of them due at first: all up to a spot, after which the next is due at next.
func (s *SQLite) occupy(l lane, first int64, after spot, next int64) {
	b := s.busy[l]
	if b == nil {
		b = &busy{row: first}
		s.busy[l] = b
	}
	b.after, b.next = after, next
}

// reoccupy takes a vacate back.
func (s *SQLite) reoccupy(l lane, n int) {
	b := s.busy[l]
	if b == nil {
		b = &busy{row: forever}
		s.busy[l] = b
	}
	b.leased += n
	b.after, b.next = spot{}, 0
}

// vacate notes that recipients of a lane are leased no more; the last one sets the lane's row right.
func (s *SQLite) vacate(tx *db.Tx, l lane, n int) error {
	if !s.forget(l, n) {
		return nil
	}
	return updateDue(tx, l)
}

// forget is vacate without the row; it tells whether none is leased any more.
func (s *SQLite) forget(l lane, n int) bool {
	b := s.busy[l]
	if b == nil {
		return false
	}
	if b.leased -= n; b.leased > 0 {
		return false
	}
	delete(s.busy, l)
	return true
}

// lookAgain has a lane be looked at from its beginning: something in it was given back.
func (s *SQLite) lookAgain(l lane) {
	if b := s.busy[l]; b != nil {
		b.after, b.next = spot{}, 0
	}
}

// markDue has a lane's row say that something is due there at due, or earlier.
func (s *SQLite) markDue(tx *db.Tx, l lane, due int64) error {
	s.priorities.add(l.priority)
	if b := s.busy[l]; b != nil {
		b.next = min(b.next, due)
		if due <= b.after.due {
			b.after = spot{}
		}
		if due >= b.row {
			return nil
		}
	}
	return prepare(tx.Conn, `INSERT INTO destination(name, priority, due) VALUES(?, ?, ?)
		ON CONFLICT(name, priority) DO UPDATE SET due = excluded.due WHERE excluded.due < due`).
		text(l.destination).int(int64(l.priority)).int(due).run()
}

// updateDue sets a lane's row to what its first ready recipient says.
func updateDue(tx *db.Tx, l lane) error {
	due, ok, err := prepare(tx.Conn, `SELECT due FROM recipient INDEXED BY recipient_ready
		WHERE state = 0 AND destination = +? AND priority = +? ORDER BY due LIMIT 1`).text(l.destination).int(int64(l.priority)).number()
	if err != nil {
		return err
	}
	if !ok {
		return prepare(tx.Conn, "DELETE FROM destination WHERE name = ? AND priority = ?").text(l.destination).int(int64(l.priority)).run()
	}
	return prepare(tx.Conn, "UPDATE destination SET due = ? WHERE name = ? AND priority = ? AND due <> ?").
		int(due).text(l.destination).int(int64(l.priority)).int(due).run()
}

// nextDue is when a lane comes due that is not now; forever: none does.
func (s *SQLite) nextDue(tx *db.Tx, now int64) (next int64, err error) {
	next = forever
	for p := range s.priorities.descending() {
		due, ok, err := prepare(tx.Conn, "SELECT due FROM destination WHERE priority = ? AND due > ? ORDER BY due LIMIT 1").
			int(int64(p)).int(now).number()
		if err != nil {
			return 0, err
		}
		if ok {
			next = min(next, due)
		}
	}
	for _, b := range s.busy {
		if b.next > now {
			next = min(next, b.next)
		}
	}
	return next, nil
}
