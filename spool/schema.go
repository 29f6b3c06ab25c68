package spool

import (
	"time"

	"zombiezen.com/go/sqlite"
)

// schema takes format i to i+1. Times are nanoseconds since 1970.
//
// A destination's row is there while one of its recipients is ready, one for each priority; its due is theirs or earlier, and Take sets
// it right. So Take finds what is due without looking at recipients of destinations that are busy, or not due.
var schema = []string{`
CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES('next_id', 1), ('opens', 0);

CREATE TABLE message(
	id       INTEGER PRIMARY KEY,
	size     INTEGER NOT NULL, -- octets, prefix included
	large    INTEGER NOT NULL, -- 1: the body is a file
	envelope TEXT NOT NULL     -- JSON
);
CREATE INDEX message_large ON message(id) WHERE large;

CREATE TABLE body(
	message INTEGER PRIMARY KEY,
	prefix  BLOB NOT NULL, -- header fields put before the body
	body    BLOB           -- NULL: it is the file large/<message>
);

CREATE TABLE recipient(
	message      INTEGER NOT NULL,
	n            INTEGER NOT NULL,
	state        INTEGER NOT NULL,
	due          INTEGER NOT NULL, -- of a dead one: when it is forgotten
	epoch        INTEGER NOT NULL, -- of its lease
	since        INTEGER NOT NULL,
	attempts     INTEGER NOT NULL,
	last_attempt INTEGER NOT NULL,
	warned       INTEGER NOT NULL,
	notify       INTEGER NOT NULL,
	destination  TEXT NOT NULL,
	address      TEXT NOT NULL,
	original     TEXT NOT NULL,
	last_reply   TEXT NOT NULL,
	PRIMARY KEY(message, n)
) WITHOUT ROWID;
CREATE INDEX recipient_ready ON recipient(destination, due) WHERE state = 0;
CREATE INDEX recipient_parked ON recipient(state, due) WHERE state IN (2, 3);

CREATE TABLE destination(name TEXT PRIMARY KEY, due INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX destination_due ON destination(due);

CREATE TABLE lease(
	epoch       INTEGER PRIMARY KEY,
	message     INTEGER NOT NULL,
	destination TEXT NOT NULL,
	recipients  INTEGER NOT NULL, -- how many
	until       INTEGER NOT NULL
);

CREATE TABLE history(
	seq      INTEGER PRIMARY KEY,
	message  INTEGER NOT NULL,
	time     INTEGER NOT NULL,
	size     INTEGER,
	envelope TEXT,         -- JSON, of a message that left; else NULL
	events   TEXT NOT NULL -- JSON
);
CREATE INDEX history_message ON history(message);
`, `
CREATE TABLE once(
	seq     INTEGER PRIMARY KEY,
	key     TEXT NOT NULL UNIQUE, -- Envelope.Once
	message INTEGER NOT NULL,
	time    INTEGER NOT NULL
);

ALTER TABLE recipient ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
DROP INDEX recipient_ready;
CREATE INDEX recipient_ready ON recipient(destination, priority, due) WHERE state = 0;

ALTER TABLE lease ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;

DROP TABLE destination;
CREATE TABLE destination(
	name     TEXT NOT NULL,
	priority INTEGER NOT NULL,
	due      INTEGER NOT NULL,
	PRIMARY KEY(name, priority)
) WITHOUT ROWID;
CREATE INDEX destination_due ON destination(priority, due);
INSERT INTO destination SELECT destination, priority, min(due) FROM recipient WHERE state = 0 GROUP BY destination, priority;
`, `
ALTER TABLE recipient ADD COLUMN own INTEGER NOT NULL DEFAULT 0; -- 1: the sender's own copy
`, `
-- checksums, NULL in rows of an earlier format
ALTER TABLE message ADD COLUMN sum INTEGER;
ALTER TABLE recipient ADD COLUMN sum INTEGER;
ALTER TABLE history ADD COLUMN sum INTEGER;
ALTER TABLE once ADD COLUMN sum INTEGER;
`, `
-- leases are in memory, and their recipients' rows say ready
DROP TABLE lease;
UPDATE recipient SET state = 0 WHERE state = 1;
ALTER TABLE recipient DROP COLUMN epoch;
DELETE FROM destination;
INSERT INTO destination SELECT destination, priority, min(due) FROM recipient WHERE state = 0 GROUP BY destination, priority;
`, `
-- what accounts submitted for later; a row whose time has come means nothing any more
CREATE TABLE scheduled(
	seq     INTEGER PRIMARY KEY AUTOINCREMENT,
	account TEXT NOT NULL,
	message INTEGER NOT NULL UNIQUE,
	until   INTEGER NOT NULL
);
CREATE INDEX scheduled_account ON scheduled(account, seq);
CREATE INDEX scheduled_until ON scheduled(until);
INSERT INTO meta VALUES('scheduled_since', CAST(strftime('%s') AS INTEGER)); -- seconds since 1970
`}

// query is a cached statement with its parameters bound in order. Errors wait for run or done.
type query struct {
	stmt  *sqlite.Stmt
	bound int
	err   error
}

func prepare(c *sqlite.Conn, sql string) *query {
	stmt, err := c.Prepare(sql)
	return &query{stmt: stmt, err: err}
}

func (q *query) int(v int64) *query {
	if q.err == nil {
		q.bound++
		q.stmt.BindInt64(q.bound, v)
	}
	return q
}

func (q *query) text(v string) *query {
	if q.err == nil {
		q.bound++
		q.stmt.BindText(q.bound, v)
	}
	return q
}

func (q *query) blob(v []byte) *query {
	if q.err == nil {
		q.bound++
		q.stmt.BindBytes(q.bound, v)
	}
	return q
}

func (q *query) sum(v checksum) *query { return q.int(int64(v)) }

// null binds NULL.
func (q *query) null() *query {
	q.bound++ // a parameter is NULL until it is bound
	return q
}

// bytes is a copy of a column.
func (q *query) bytes(column int) []byte {
	b := make([]byte, q.stmt.ColumnLen(column))
	q.stmt.ColumnBytes(column, b)
	return b
}

// next steps to the next row, if there is one.
func (q *query) next() (more bool) {
	if q.err == nil {
		more, q.err = q.stmt.Step()
	}
	return more
}

// done ends the statement, read to its end or not.
func (q *query) done() error {
	if q.stmt == nil {
		return q.err
	}
	if err := q.stmt.Reset(); q.err == nil {
		q.err = err
	}
	return q.err
}

// run steps through a statement that yields no rows.
func (q *query) run() error {
	for q.next() {
	}
	return q.done()
}

// number is the one number the statement yields, and whether it yields one.
func (q *query) number() (n int64, ok bool, err error) {
	if q.next() && !q.stmt.ColumnIsNull(0) {
		n, ok = q.stmt.ColumnInt64(0), true
	}
	return n, ok, q.done()
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func timeOf(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos).UTC()
}
