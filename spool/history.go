package spool

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
	"posthouse/mail"
)

const (
	keepEvery  = 15 * time.Minute // how often what is too old is looked for
	pruneBatch = 500              // rows of history in one transaction
)

// keep removes what is too old, a little at a time, until ctx ends.
func (s *SQLite) keep(ctx context.Context) {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.bell.ring() // what is due by the clock, should it have been set
		if err := s.prune(ctx, time.Now()); err != nil && ctx.Err() == nil {
			s.opts.Log.Error("spool: removing what is too old", "err", err)
		}
	}
}

// prune forgets dead recipients, history and names whose time has passed.
func (s *SQLite) prune(ctx context.Context, now time.Time) error {
	for _, step := range []func(*db.Tx, time.Time) (int, error){s.pruneDead, s.pruneHistory, s.pruneOnce} {
		for more := true; more; {
			err := s.write(ctx, func(tx *db.Tx) error {
				n, err := step(tx, now)
				more = n == pruneBatch
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// pruneDead ends dead recipients whose time to be forgotten has come.
func (s *SQLite) pruneDead(tx *db.Tx, now time.Time) (int, error) {
	dead := make(map[mail.ID][]Event)
	n := 0
	q := prepare(tx.Conn, "SELECT message, n FROM recipient INDEXED BY recipient_parked WHERE state = 3 AND state IN (2, 3) AND due <= ? LIMIT ?").
		int(now.UnixNano()).int(pruneBatch)
	for ; q.next(); n++ {
		id := mail.ID(q.stmt.ColumnInt64(0))
		dead[id] = append(dead[id], Event{now, eventDropped, q.stmt.ColumnInt(1), fmt.Sprintf("dead for %v", s.opts.KeepDead)})
	}
	if err := q.done(); err != nil {
		return 0, err
	}
	for id, events := range dead {
		for _, e := range events {
			err := prepare(tx.Conn, "UPDATE recipient SET state = 4 WHERE message = ? AND n = ?").int(int64(id)).int(int64(e.Recipient)).run()
			if err != nil {
				return 0, err
			}
		}
		file, err := s.conclude(tx, id, events)
		if err != nil {
			return 0, err
		}
		if file {
			tx.OnCommit(func() { s.removeLarge(id) })
		}
	}
	return n, nil
}

// pruneHistory removes history older than KeepHistory, and what is over Options.MaxHistory.
func (s *SQLite) pruneHistory(tx *db.Tx, now time.Time) (int, error) {
	err := prepare(tx.Conn, `DELETE FROM history WHERE seq IN (SELECT seq FROM history ORDER BY seq LIMIT ?)
		AND (time < ? OR seq <= (SELECT max(seq) FROM history) - ?)`).
		int(pruneBatch).int(now.Add(-s.opts.KeepHistory).UnixNano()).int(int64(s.opts.MaxHistory)).run()
	return tx.Changes(), err
}

// pruneOnce forgets names older than KeepOnce, and those over maxOnce.
func (s *SQLite) pruneOnce(tx *db.Tx, now time.Time) (int, error) {
	err := prepare(tx.Conn, `DELETE FROM once WHERE seq IN (SELECT seq FROM once ORDER BY seq LIMIT ?)
		AND (time < ? OR seq <= (SELECT max(seq) FROM once) - ?)`).
		int(pruneBatch).int(now.Add(-s.opts.KeepOnce).UnixNano()).int(maxOnce).run()
	return tx.Changes(), err
}

// Trace is Spool.
func (s *SQLite) Trace(ctx context.Context, query Query) iter.Seq2[Story, error] {
	return func(yield func(Story, error) bool) {
		ids, err := s.traced(ctx, query)
		if err != nil {
			yield(Story{}, translate(err))
			return
		}
		for _, id := range ids {
			story, err := s.story(ctx, id)
			if errors.Is(err, ErrNotFound) && query.ID == 0 {
				continue // it was forgotten meanwhile
			}
			if !yield(story, translate(err)) || err != nil {
				return
			}
		}
	}
}

// traced finds the messages a query means, newest first.
func (s *SQLite) traced(ctx context.Context, query Query) (ids []mail.ID, err error) {
	if query.ID != 0 {
		return []mail.ID{query.ID}, nil
	}
	// The text is looked for first, as JSON has it, and decoded only where it is.
	word := query.MessageID
	if !query.Address.IsNull() {
		word = query.Address.String()
	}
	needle, err := json.Marshal(word)
	if err != nil {
		return nil, err
	}
	err = s.db.Read(ctx, func(c *sqlite.Conn) error {
		ids = nil
		for _, sql := range []string{
			"SELECT id, envelope FROM message WHERE instr(lower(envelope), lower(?)) ORDER BY id DESC",
			"SELECT message, envelope FROM history WHERE envelope IS NOT NULL AND instr(lower(envelope), lower(?)) ORDER BY seq DESC",
		} {
			found, err := search(prepare(c, sql).text(string(needle)), query)
			if err != nil {
				return err
			}
			ids = append(ids, found...)
		}
		return nil
	})
	slices.SortFunc(ids, func(a, b mail.ID) int { return cmp.Compare(b, a) })
	return ids[:min(len(ids), query.Limit)], err
}

// search reads IDs and envelopes until enough are what the query means.
func search(q *query, want Query) (ids []mail.ID, err error) {
	for len(ids) < want.Limit && q.next() {
		var e mail.Envelope
		if err := json.Unmarshal([]byte(q.stmt.ColumnText(1)), &e); err != nil {
			return nil, errors.Join(err, q.done())
		}
		if want.matches(&e) {
			ids = append(ids, mail.ID(q.stmt.ColumnInt64(0)))
		}
	}
	return ids, q.done()
}

func (want *Query) matches(e *mail.Envelope) bool {
	if want.Address.IsNull() {
		return strings.EqualFold(want.MessageID, e.MessageID)
	}
	a := want.Address.FoldLocal()
	return e.From.FoldLocal() == a || slices.ContainsFunc(e.To, func(r mail.Recipient) bool { return r.Address.FoldLocal() == a })
}

// story puts together what is known of one message.
func (s *SQLite) story(ctx context.Context, id mail.ID) (st Story, err error) {
	err = s.db.Read(ctx, func(c *sqlite.Conn) error {
		st = Story{}
		left, events, err := readHistory(c, id)
		if err != nil {
			return err
		}
		if left != nil {
			st.Entry = *left
			st.Recipients = recipientsOf(&st.Envelope, events)
			st.To = nil
		} else if st.Entry, err = s.show(c, id); err != nil {
			return err
		}
		st.Events = append([]Event{received(&st.Envelope)}, events...)
		return nil
	})
	return st, err
}

// readHistory reads a message's events, and its entry if it left.
func readHistory(c *sqlite.Conn, id mail.ID) (left *Entry, events []Event, err error) {
	q := prepare(c, "SELECT size, envelope, events FROM history WHERE message = ? ORDER BY seq").int(int64(id))
	for q.next() {
		var some []Event
		if err := json.Unmarshal([]byte(q.stmt.ColumnText(2)), &some); err != nil {
			return nil, nil, errors.Join(err, q.done())
		}
		events = append(events, some...)
		if q.stmt.ColumnIsNull(1) {
			continue
		}
		left = &Entry{Size: q.stmt.ColumnInt64(0)}
		if err := json.Unmarshal([]byte(q.stmt.ColumnText(1)), &left.Envelope); err != nil {
			return nil, nil, errors.Join(err, q.done())
		}
	}
	return left, events, q.done()
}

// recipientsOf tells of a message that left what its events say of each recipient.
func recipientsOf(e *mail.Envelope, events []Event) []Recipient {
	rs := make([]Recipient, len(e.To))
	for n, to := range e.To {
		rs[n] = Recipient{Recipient: to, N: n, State: Done, Since: e.Received}
	}
	for _, ev := range events {
		if ev.Recipient < 0 || ev.Recipient >= len(rs) {
			continue
		}
		r := &rs[ev.Recipient]
		r.LastReply = ev.Text
		if ev.Kind == eventDelivered || ev.Kind == eventRetry || ev.Kind == eventFailed {
			r.Attempts++
			r.LastAttempt = ev.Time
		}
	}
	return rs
}

// received is the first event of every story.
func received(e *mail.Envelope) Event {
	var b strings.Builder
	b.WriteString("by " + e.Origin.Protocol)
	if e.Origin.Remote.IsValid() {
		fmt.Fprintf(&b, " from %s (%v)", e.Origin.HELO, e.Origin.Remote.Addr())
	}
	for _, v := range e.Verdicts {
		fmt.Fprintf(&b, "; %s=%s", v.Stage, v.Result)
		if v.Detail != "" {
			fmt.Fprintf(&b, " (%s)", v.Detail)
		}
	}
	return Event{e.Received, eventReceived, wholeMessage, b.String()}
}
