package spool

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"posthouse/mail"
)

// pageSize is how many messages List reads at a time: a slow reader of the list holds no transaction open.
const pageSize = 256

// Show is Spool.
func (s *SQLite) Show(ctx context.Context, id mail.ID) (e Entry, err error) {
	err = s.db.Read(ctx, func(c *sqlite.Conn) (err error) {
		e, err = s.show(c, id)
		return err
	})
	return e, translate(err)
}

// show reads one message with all its recipients.
func (s *SQLite) show(c *sqlite.Conn, id mail.ID) (Entry, error) {
	e, err := readMessage(c, id)
	if err != nil {
		return Entry{}, err
	}
	q := prepare(c, "SELECT "+recipientColumns+" FROM recipient WHERE message = ? ORDER BY n").int(int64(id))
	for q.next() {
		_, r, err := scanRecipient(q.stmt)
		if err != nil {
			return Entry{}, errors.Join(err, q.done())
		}
		r.State = s.stateOf(id, r.N, r.State)
		e.Recipients = append(e.Recipients, r)
	}
	return e, q.done()
}

// stateOf is where a recipient stands whose row says state: that of a leased one says ready.
func (s *SQLite) stateOf(id mail.ID, n int, state State) State {
	if state == Ready && s.leases.leased(id, n) {
		return Leased
	}
	return state
}

// readMessage reads one message without its recipients.
func readMessage(c *sqlite.Conn, id mail.ID) (e Entry, err error) {
	q := prepare(c, "SELECT size, envelope FROM message WHERE id = ?").int(int64(id))
	if !q.next() {
		if err := q.done(); err != nil {
			return Entry{}, err
		}
		return Entry{}, ErrNotFound
	}
	e.Size = q.stmt.ColumnInt64(0)
	err = decodeEnvelope(q.stmt.ColumnText(1), &e.Envelope)
	return e, errors.Join(err, q.done())
}

func decodeEnvelope(text string, e *mail.Envelope) error {
	if err := json.Unmarshal([]byte(text), e); err != nil {
		return fmt.Errorf("spool: an envelope cannot be read: %w", err)
	}
	e.To = nil
	return nil
}

// List is Spool.
func (s *SQLite) List(ctx context.Context, f Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		m, err := f.matcher(time.Now())
		if err != nil {
			yield(Entry{}, err)
			return
		}
		listed, after := 0, mail.ID(0)
		for {
			page, last, err := s.page(ctx, m, after)
			if err != nil {
				yield(Entry{}, translate(err))
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
				if listed++; listed == f.Limit {
					return
				}
			}
			if last == 0 {
				return
			}
			after = last
		}
	}
}

// page reads the next messages that match after an ID, and the ID to go on after; 0: that was the end.
func (s *SQLite) page(ctx context.Context, m *matcher, after mail.ID) (page []Entry, last mail.ID, err error) {
	err = s.db.Read(ctx, func(c *sqlite.Conn) error {
		page, last = nil, 0
		found, end, err := s.find(c, m, after)
		if err != nil {
			return err
		}
		last = end
		for _, f := range found {
			e, err := readMessage(c, f.id)
			if err != nil {
				return err
			}
			if m.message(&e.Envelope) {
				e.Recipients = f.recipients
				page = append(page, e)
			}
		}
		return nil
	})
	return page, last, err
}

// matcher is a Filter made ready.
type matcher struct {
	Filter
	states [Done + 1]bool
	before time.Time
}

func (f Filter) matcher(now time.Time) (*matcher, error) {
	m := &matcher{Filter: f}
	for _, pattern := range []string{f.To, f.From} {
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, fmt.Errorf("spool: the pattern %q: %w", pattern, err)
		}
	}
	m.To, m.From, m.Reply = strings.ToLower(f.To), strings.ToLower(f.From), strings.ToLower(f.Reply)
	states := f.States
	if len(states) == 0 {
		states = []State{Ready, Leased, Held}
	}
	for _, s := range states {
		if s <= Done {
			m.states[s] = true
		}
	}
	if f.Older > 0 {
		m.before = now.Add(-f.Older)
	}
	return m, nil
}

// found is a message and its recipients that match.
type found struct {
	id         mail.ID
	recipients []Recipient
}

// find reads the recipients that match, of the next messages after an ID: a page of them, and where it ended, 0 at the end of all.
func (s *SQLite) find(c *sqlite.Conn, m *matcher, after mail.ID) (page []found, last mail.ID, err error) {
	first, end := int64(after)+1, int64(1<<63-1)
	if m.ID != 0 {
		first, end = max(first, int64(m.ID)), int64(m.ID)
	}
	q := prepare(c, "SELECT "+recipientColumns+" FROM recipient WHERE message BETWEEN ? AND ? ORDER BY message, n").int(first).int(end)
	for q.next() {
		state := s.stateOf(mail.ID(q.stmt.ColumnInt64(0)), q.stmt.ColumnInt(1), State(q.stmt.ColumnInt(2)))
		if !m.states[state] {
			continue
		}
		id, r, err := scanRecipient(q.stmt)
		if err != nil {
			return nil, 0, errors.Join(err, q.done())
		}
		if r.State = state; !m.recipient(&r) {
			continue
		}
		if len(page) == 0 || page[len(page)-1].id != id {
			if len(page) == pageSize {
				return page, page[len(page)-1].id, q.done()
			}
			page = append(page, found{id: id})
		}
		f := &page[len(page)-1]
		f.recipients = append(f.recipients, r)
	}
	return page, 0, q.done()
}

func (m *matcher) recipient(r *Recipient) bool {
	return matchAddress(m.To, r.Address) &&
		(m.Destination == "" || m.Destination == r.Destination) &&
		(m.Reply == "" || strings.Contains(strings.ToLower(r.LastReply), m.Reply))
}

func (m *matcher) message(e *mail.Envelope) bool {
	return matchAddress(m.From, e.From) && (m.before.IsZero() || !e.Received.After(m.before))
}

// matchAddress tells whether an address matches a shell pattern in lower case. An address may hold "/", which path.Match keeps
// apart: neither side needs to.
func matchAddress(pattern string, a mail.Address) bool {
	if pattern == "" {
		return true
	}
	flat := strings.NewReplacer("/", "\x00")
	ok, err := path.Match(flat.Replace(pattern), flat.Replace(strings.ToLower(a.String())))
	return ok && err == nil
}

// Stats is Spool.
func (s *SQLite) Stats(ctx context.Context, limit int) (st Stats, err error) {
	err = s.db.Read(ctx, func(c *sqlite.Conn) error {
		st = Stats{Recipients: make(map[State]int64)}
		groups, err := s.groups(c)
		if err != nil {
			return err
		}
		for _, g := range groups {
			st.Recipients[g.State] += g.Recipients
		}
		slices.SortFunc(groups, func(a, b group) int {
			return cmp.Or(cmp.Compare(b.Recipients, a.Recipients), cmp.Compare(a.oldest, b.oldest), cmp.Compare(a.State, b.State))
		})
		for _, g := range groups[:min(len(groups), limit)] {
			e, err := readMessage(c, g.oldest)
			if err != nil && !errors.Is(err, ErrNotFound) { // a leased one may be settled
				return err
			}
			g.Oldest = e.Received
			st.Destinations = append(st.Destinations, g.DestinationStats)
		}
		return nil
	})
	return st, translate(err)
}

// group is the recipients of one state and destination.
type group struct {
	DestinationStats
	oldest mail.ID
}

// groups counts the recipients by state and destination, each state by the index that has it.
func (s *SQLite) groups(c *sqlite.Conn) (groups []group, err error) {
	leased := s.leases.byDestination()
	q := prepare(c, `SELECT 0, destination, count(*), min(message) FROM recipient INDEXED BY recipient_ready WHERE state = 0 GROUP BY destination
		UNION ALL
		SELECT state, destination, count(*), min(message) FROM recipient INDEXED BY recipient_parked WHERE state IN (2, 3)
			GROUP BY state, destination`)
	for q.next() {
		groups = append(groups, group{DestinationStats{State: State(q.stmt.ColumnInt(0)), Destination: q.stmt.ColumnText(1),
			Recipients: q.stmt.ColumnInt64(2)}, mail.ID(q.stmt.ColumnInt64(3))})
	}
	if err := q.done(); err != nil {
		return nil, err
	}
	for i := range groups {
		g := &groups[i]
		if l := leased[g.Destination]; l != nil && g.State == Ready {
			g.Recipients -= l.recipients
			if g.oldest, err = s.oldestReady(c, g.Destination, l.recipients); err != nil {
				return nil, err
			}
		}
	}
	groups = slices.DeleteFunc(groups, func(g group) bool { return g.Recipients <= 0 })
	for name, l := range leased {
		groups = append(groups, group{DestinationStats{State: Leased, Destination: name, Recipients: l.recipients}, l.oldest})
	}
	return groups, nil
}

// oldestReady is a destination's oldest message with a recipient that is not leased; so many are.
func (s *SQLite) oldestReady(c *sqlite.Conn, destination string, leased int64) (oldest mail.ID, err error) {
	q := prepare(c, `SELECT message, n FROM recipient INDEXED BY recipient_ready WHERE state = 0 AND destination = +?
		ORDER BY message, n LIMIT ?`).text(destination).int(leased + 1)
	for q.next() {
		if id := mail.ID(q.stmt.ColumnInt64(0)); oldest == 0 && !s.leases.leased(id, q.stmt.ColumnInt(1)) {
			oldest = id
		}
	}
	return oldest, q.done()
}
