package spool

import (
	"iter"

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

// markDue has a lane's row say that something is due there at due, or earlier.
func (s *SQLite) markDue(tx *db.Tx, l lane, due int64) error {
	s.priorities.add(l.priority)
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

// nextDue is when a lane comes due that is not now.
func (s *SQLite) nextDue(tx *db.Tx, now int64) (next int64, ok bool, err error) {
	for p := range s.priorities.descending() {
		due, found, err := prepare(tx.Conn, "SELECT due FROM destination WHERE priority = ? AND due > ? ORDER BY due LIMIT 1").
			int(int64(p)).int(now).number()
		if err != nil {
			return 0, false, err
		}
		if found && (!ok || due < next) {
			next, ok = due, true
		}
	}
	return next, ok, nil
}
