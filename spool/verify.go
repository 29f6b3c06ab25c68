package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"posthouse/internal/db"
	"posthouse/internal/vfs"
	"posthouse/mail"
)

// ErrOldFormat is a spool that must be opened once before it can be looked at.
var ErrOldFormat = errors.New("spool: of an earlier format: start the server once")

// Verify looks at every octet of a spool's directory that means something, whoever has it open, and reports what is not as it was
// written: pages and indices by SQLite, values and large bodies by their checksums, tables against each other. Not found are a
// wrong count of starts, and octets that nobody reads.
func Verify(ctx context.Context, dir string, report func(trouble string)) error {
	name := filepath.Join(dir, databaseName)
	troubles, err := db.Check(ctx, name)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	for _, t := range troubles {
		report(databaseName + ": " + t)
	}
	return db.Inspect(ctx, name, func(c *sqlite.Conn) error {
		v := verifier{ctx, c, path.Join(filepath.ToSlash(dir), largeName), report}
		if err := checkFormat(c); err != nil {
			return v.corrupt("", err)
		}
		for _, table := range []struct {
			name string
			look func() error
		}{{"message", v.messages}, {"recipient", v.places}, {"history", v.history}, {"once", v.names}} {
			if err := v.corrupt(table.name, table.look()); err != nil {
				return err
			}
		}
		return nil
	})
}

// checkFormat checks that the tables are those we know.
func checkFormat(c *sqlite.Conn) error {
	version, _, err := prepare(c, "PRAGMA user_version").number()
	if err == nil && version != int64(len(schema)) {
		return fmt.Errorf("%w (format %d, this program's is %d)", ErrOldFormat, version, len(schema))
	}
	return err
}

// verifier looks at one spool.
type verifier struct {
	ctx    context.Context
	c      *sqlite.Conn
	large  string
	report func(string)
}

// corrupt makes a trouble of an error that is one.
func (v *verifier) corrupt(table string, err error) error {
	if code := sqlite.ErrCode(err).ToPrimary(); err != nil && (code == sqlite.ResultCorrupt || code == sqlite.ResultNotADB) {
		v.report(fmt.Sprintf("%s: the table %s cannot be read to its end", databaseName, table))
		return nil
	}
	return err
}

// read runs f in a transaction: f sees one state of the spool.
func (v *verifier) read(_ context.Context, f func(*sqlite.Conn) error) (err error) {
	defer sqlitex.Transaction(v.c)(&err)
	return f(v.c)
}

// messages looks at each message with its body and its recipients.
func (v *verifier) messages() error {
	return eachStored(v.ctx, v.read, func(m *stored) error {
		trouble, err := m.damage(vfs.OS{}, path.Join(v.large, m.id.String()))
		if errors.Is(err, fs.ErrNotExist) {
			if trouble, err = v.missing(m.id); trouble == "" {
				return err // it left meanwhile
			}
		}
		if err != nil {
			trouble = "its large body cannot be read: " + err.Error()
		}
		e, err := m.open()
		if trouble == "" && err != nil {
			trouble = "its envelope cannot be read"
		}
		if trouble != "" {
			v.report(fmt.Sprintf("message %v: %s", m.id, trouble))
			return nil
		}
		damaged := m.damagedRecipients(&e)
		for _, n := range slices.Sorted(maps.Keys(damaged)) {
			v.report(fmt.Sprintf("message %v, recipient %d: %s", m.id, n, damaged[n]))
		}
		return nil
	})
}

// missing is the trouble of a large body that is not there, if its message is.
func (v *verifier) missing(id mail.ID) (string, error) {
	_, there, err := prepare(v.c, "SELECT id FROM message WHERE id = ?").int(int64(id)).number()
	if there {
		return "its large body is missing", err
	}
	return "", err
}

// places looks at the tables that say where a recipient stands, each against the others. Each query yields what must not be.
func (v *verifier) places() error {
	for _, check := range []struct{ trouble, sql string }{
		{"a recipient without its message", "SELECT message FROM recipient WHERE message NOT IN (SELECT id FROM message)"},
		{"a body without its message", "SELECT message FROM body WHERE message NOT IN (SELECT id FROM message)"},
		{"its ID may be given again", "SELECT id FROM message WHERE id >= (SELECT value FROM meta WHERE name = 'next_id')"},
		{"a recipient is ready, and would not be found", `SELECT first FROM
			(SELECT destination, priority, min(due) AS due, min(message) AS first FROM recipient WHERE state = 0 GROUP BY 1, 2) r
			WHERE NOT EXISTS(SELECT 1 FROM destination d WHERE d.name = r.destination AND d.priority = r.priority AND d.due <= r.due)`},
	} {
		err := v.each(check.sql, func(q *query) {
			v.report(fmt.Sprintf("message %v: %s", mail.ID(q.stmt.ColumnInt64(0)), check.trouble))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) history() error {
	return v.each("SELECT message, time, size, envelope, events, sum FROM history WHERE sum IS NOT NULL", func(q *query) {
		id := q.stmt.ColumnInt64(0)
		if *q.sumAt(5) != historySum([]int64{id, q.stmt.ColumnInt64(1), q.stmt.ColumnInt64(2)}, q.bytes(3), q.bytes(4)) {
			v.report(fmt.Sprintf("message %v: the checksum of a part of its history is wrong", mail.ID(id)))
		}
	})
}

func (v *verifier) names() error {
	return v.each("SELECT key, message, time, sum FROM once WHERE sum IS NOT NULL", func(q *query) {
		id := mail.ID(q.stmt.ColumnInt64(1))
		if *q.sumAt(3) != onceSum(q.stmt.ColumnText(0), id, q.stmt.ColumnInt64(2)) {
			v.report(fmt.Sprintf("message %v: the checksum of its name is wrong", id))
		}
	})
}

// each runs f on every row of a query.
func (v *verifier) each(sql string, f func(*query)) error {
	q := prepare(v.c, sql)
	for q.next() {
		f(q)
	}
	return q.done()
}
