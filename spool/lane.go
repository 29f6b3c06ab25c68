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

// descending yields the greatest first: RFC 6710 §5.1.
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

// maxIdleLanes bounds the lanes that are remembered though none of their recipients is leased.
const maxIdleLanes = 64

// lanes are those that are in use: their rows say that something is due, and these say how much of it is taken. A lane that was worked
// off is remembered for a while with its row, which then costs the next message there nothing. Writers use them, in their turn.
type lanes struct {
	known map[lane]*progress
	idle  int // of those known

	corrections int // of rows, so far
}

// progress is how far a lane was taken.
type progress struct {
	leased int
	after  spot  // every recipient up to here is leased, or gone
	row    int64 // its row's due, or later
	next   int64 // when the first that is not leased is due, or earlier
}

// took notes that a lane was taken up to a spot, after which the next is due at next. The first that was taken was due at first.
func (l *lanes) took(from lane, first int64, after spot, next int64) {
	p := l.known[from]
	if p == nil {
		p = &progress{row: first}
		l.known[from] = p
		l.idle++
	}
	p.after, p.next = after, next
}

// lease notes that n recipients of a known lane are leased.
func (l *lanes) lease(from lane, n int) {
	p := l.known[from]
	if p.leased == 0 {
		l.idle--
	}
	p.leased += n
}

// remember makes a lane known whose row says due. It may be one of several that one transaction, or those that share it, wrote.
func (l *lanes) remember(to lane, due int64) {
	if p := l.known[to]; p != nil {
		p.next = min(p.next, due)
	} else if l.idle < maxIdleLanes {
		l.known[to] = &progress{row: due, next: due}
		l.idle++
	}
}

// end notes that n recipients of a lane are leased no more. If that makes too many idle lanes, one is forgotten, whose row is to be set
// right; it would be by the next Take, but that has nothing else to write.
func (l *lanes) end(from lane, n int) (forgotten lane, ok bool) {
	p := l.known[from]
	if p.leased -= n; p.leased > 0 {
		return lane{}, false
	}
	if l.idle++; l.idle <= maxIdleLanes {
		return lane{}, false
	}
	for other, p := range l.known {
		if p.leased == 0 && other != from {
			delete(l.known, other)
			l.idle--
			return other, true
		}
	}
	return lane{}, false
}

// undoEnd takes an end back.
func (l *lanes) undoEnd(from lane, n int) {
	if l.known[from] == nil {
		l.took(from, forever, spot{}, 0)
	}
	l.lease(from, n)
	l.lookAgain(from)
}

// undoLease takes a lease back. The lane's row may be undone with it, and so the lane is not remembered without one.
func (l *lanes) undoLease(from lane, n int) {
	p := l.known[from]
	if p.leased -= n; p.leased == 0 {
		delete(l.known, from)
		return
	}
	l.lookAgain(from)
}

// lookAgain has a lane be looked at from its beginning: something in it was given back.
func (l *lanes) lookAgain(from lane) {
	if p := l.known[from]; p != nil {
		p.after, p.next = spot{}, 0
	}
}

// isDue notes that something comes due in a lane. It tells whether the lane's row says so already.
func (l *lanes) isDue(to lane, due int64) (known bool) {
	p := l.known[to]
	if p == nil {
		return false
	}
	p.next = min(p.next, due)
	if due <= p.after.due {
		p.after = spot{}
	}
	return due >= p.row
}

// markDue has a lane's row say that something is due there at due, or earlier.
func (s *SQLite) markDue(tx *db.Tx, l lane, due int64) error {
	s.priorities.add(l.priority)
	if s.lanes.isDue(l, due) {
		return nil
	}
	row, _, err := prepare(tx.Conn, `INSERT INTO destination(name, priority, due) VALUES(?, ?, ?)
		ON CONFLICT(name, priority) DO UPDATE SET due = min(due, excluded.due) RETURNING due`).
		text(l.destination).int(int64(l.priority)).int(due).number()
	corrections := s.lanes.corrections
	tx.OnCommit(func() {
		if s.lanes.corrections == corrections { // else it may be this row that was changed since
			s.lanes.remember(l, row)
		}
	})
	return err
}

// updateDue sets a lane's row to what its first ready recipient says.
func (s *SQLite) updateDue(tx *db.Tx, l lane) error {
	s.lanes.corrections++
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
	for _, p := range s.lanes.known {
		if p.next > now {
			next = min(next, p.next)
		}
	}
	return next, nil
}
