package spool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
	"posthouse/internal/vfs"
	"posthouse/mail"
)

// Salvaged is what Repair saved.
type Salvaged struct {
	Messages int `json:"messages"` // that are whole, and in the new spool
	Lost     int `json:"lost"`     // that are not, each of them reported; a row with a damaged ID counts as one
	Held     int `json:"held"`     // recipients whose place in the queue was lost: an operator decides
}

// Repair makes a new spool of what is intact in a damaged one, and reports what is not. The old one is read page by page, and left as it
// is; nobody may have it open. Each row that is whole is taken over, then what does not fit together is taken out.
func Repair(ctx context.Context, from, to string, report func(trouble string)) (done Salvaged, err error) {
	if err := db.Inspect(ctx, filepath.Join(from, databaseName), checkTables); errors.Is(err, ErrOldFormat) {
		return done, err
	}
	if err := errors.Join(vfs.OS{}.MkdirAll(filepath.Join(to, largeName)), vfs.OS{}.SyncDir(filepath.Dir(to))); err != nil {
		return done, fmt.Errorf("spool: %w", err)
	}
	d, err := db.Open(db.Options{
		Path: filepath.Join(to, databaseName), ApplicationID: applicationID, Schema: schema, CacheKiB: cacheKiB, WALPages: walPages,
	})
	if err != nil {
		return done, fmt.Errorf("spool: %w", err)
	}
	r := repair{db: d, from: filepath.Join(from, largeName), to: filepath.Join(to, largeName), report: report}
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return r.takeOver(ctx, filepath.Join(from, databaseName)) }, r.fit, r.finish,
	} {
		if err == nil {
			err = step(ctx)
		}
	}
	return r.done, errors.Join(err, d.Close())
}

// checkTables is checkFormat for a file whose number of the format may be damaged: earlier formats had a table of leases.
func checkTables(c *sqlite.Conn) error {
	old, _, err := prepare(c, "SELECT count(*) FROM sqlite_schema WHERE name = 'lease'").number()
	if err == nil && old > 0 {
		return ErrOldFormat
	}
	return err
}

type repair struct {
	db       *db.DB
	from, to string // directories of the large bodies
	report   func(string)
	done     Salvaged
}

// takeOver copies each row that is whole.
func (r *repair) takeOver(ctx context.Context, name string) error {
	const batch = 1000
	var rows []db.Row
	flush := func() error {
		all := rows
		rows = nil
		return r.db.Write(ctx, func(tx *db.Tx) error {
			for _, row := range all {
				if err := salvage(tx, row); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for row, err := range db.Salvage(name) {
		if err != nil {
			return err
		}
		if rows = append(rows, row); len(rows) == batch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// fit takes out the messages that are not whole, and puts the recipients whose rows are missing on hold.
func (r *repair) fit(ctx context.Context) error {
	err := eachStored(ctx, r.db.Read, func(m *stored) error {
		left, err := r.left(ctx, m)
		if err != nil {
			return err
		}
		trouble := "it left the queue" // its row is an old one, on a page that was not used again
		if !left {
			if trouble, err = m.damage(vfs.OS{}, path.Join(filepath.ToSlash(r.from), m.id.String())); err != nil {
				trouble = err.Error()
			}
		}
		e, err := m.open()
		if err == nil && trouble == "" {
			return r.keep(ctx, m, &e)
		}
		if !left {
			r.lose(m.id, cmp.Or(trouble, "its envelope cannot be read"))
		}
		return r.db.Write(ctx, func(tx *db.Tx) error { return deleteMessage(tx, m.id) })
	})
	if err != nil {
		return err
	}
	return r.orphans(ctx)
}

func (r *repair) lose(id mail.ID, why string) {
	r.done.Lost++
	r.report(fmt.Sprintf("message %v is lost: %s", id, why))
}

// left tells whether a message's history says that it left: whatever rows of it were found then are old ones.
func (r *repair) left(ctx context.Context, m *stored) (left bool, err error) {
	err = r.db.Write(ctx, func(tx *db.Tx) (err error) {
		_, left, err = prepare(tx.Conn, "SELECT seq FROM history WHERE message = ? AND envelope IS NOT NULL").int(int64(m.id)).number()
		return err
	})
	return left, err
}

// keep takes a message over. A recipient whose place was lost is held: whether it was delivered is not known.
func (r *repair) keep(ctx context.Context, m *stored, e *mail.Envelope) error {
	if m.large {
		if err := r.copyLarge(m.id); err != nil {
			return err
		}
	}
	damaged := m.damagedRecipients(e)
	err := r.db.Write(ctx, func(tx *db.Tx) error {
		for _, n := range slices.Sorted(maps.Keys(damaged)) {
			err := prepare(tx.Conn, "DELETE FROM recipient WHERE message = ? AND n = ?").int(int64(m.id)).int(int64(n)).run()
			if err != nil {
				return err
			}
			if n < 0 || n >= len(e.To) {
				continue
			}
			held := Recipient{Recipient: e.To[n], N: n, State: Held, Destination: e.To[n].Address.Domain(), Since: e.Received, Due: time.Now()}
			if err := insertRecipient(tx, e, &held); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, n := range slices.Sorted(maps.Keys(damaged)) {
		r.report(fmt.Sprintf("message %v, recipient %d is held: %s", m.id, n, damaged[n]))
	}
	r.done.Messages++
	r.done.Held += len(damaged)
	return nil
}

// copyLarge copies a large body, and makes it durable.
func (r *repair) copyLarge(id mail.ID) error {
	in, err := os.Open(filepath.Join(r.from, id.String()))
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := vfs.OS{}.Create(filepath.Join(r.to, id.String()))
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// orphans reports and removes what is left of messages whose own row is lost.
func (r *repair) orphans(ctx context.Context) error {
	return r.db.Write(ctx, func(tx *db.Tx) error {
		var lost []mail.ID
		q := prepare(tx.Conn, `SELECT message FROM (SELECT message FROM recipient UNION SELECT message FROM body)
			WHERE message NOT IN (SELECT id FROM message) AND message NOT IN (SELECT message FROM history WHERE envelope IS NOT NULL)`)
		for q.next() {
			lost = append(lost, mail.ID(q.stmt.ColumnInt64(0)))
		}
		if err := q.done(); err != nil {
			return err
		}
		for _, id := range lost {
			r.lose(id, "its envelope is not to be found")
			if err := deleteMessage(tx, id); err != nil {
				return err
			}
		}
		for _, table := range []string{"recipient", "body"} { // of those that left
			if err := prepare(tx.Conn, "DELETE FROM "+table+" WHERE message NOT IN (SELECT id FROM message)").run(); err != nil {
				return err
			}
		}
		return nil
	})
}

// finish sets the tables that follow from others, and the counter of IDs.
func (r *repair) finish(ctx context.Context) error {
	err := r.db.Write(ctx, func(tx *db.Tx) error {
		for _, sql := range []string{
			"DELETE FROM destination",
			"INSERT INTO destination SELECT destination, priority, min(due) FROM recipient WHERE state = 0 GROUP BY destination, priority",
			`UPDATE meta SET value = max(value, (SELECT coalesce(max(id), 0) + 1 FROM message), (SELECT coalesce(max(message), 0) + 1 FROM history))
				WHERE name = 'next_id'`,
		} {
			if err := prepare(tx.Conn, sql).run(); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, vfs.OS{}.SyncDir(r.to))
}
