package mailbox

import (
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
)

// applicationID marks the file as a Posthouse mailbox: "PHmb".
const applicationID = 0x50486d62

// schema is described in docs/FORMATS.md.
var schema = []string{`
CREATE TABLE account(
	id INTEGER PRIMARY KEY CHECK(id = 1), modseq INTEGER NOT NULL, uidvalidity INTEGER NOT NULL,
	next_box INTEGER NOT NULL, next_blob INTEGER NOT NULL);
CREATE TABLE box(
	id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, special TEXT NOT NULL, noselect INTEGER NOT NULL, keywords TEXT NOT NULL,
	uidvalidity INTEGER NOT NULL, uidnext INTEGER NOT NULL, modseq INTEGER NOT NULL, known INTEGER NOT NULL, graves INTEGER NOT NULL,
	messages INTEGER NOT NULL, unseen INTEGER NOT NULL, deleted INTEGER NOT NULL, size INTEGER NOT NULL);
CREATE TABLE subscription(name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE slab(
	key INTEGER PRIMARY KEY, version INTEGER NOT NULL, messages INTEGER NOT NULL, last INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE vanished(
	box INTEGER NOT NULL, modseq INTEGER NOT NULL, first INTEGER NOT NULL, uids BLOB NOT NULL,
	PRIMARY KEY(box, modseq, first)) WITHOUT ROWID;
CREATE TABLE content(blob INTEGER PRIMARY KEY, refs INTEGER NOT NULL);
CREATE INDEX content_dead ON content(blob) WHERE refs = 0;
CREATE TABLE facts(
	blob INTEGER PRIMARY KEY, size INTEGER NOT NULL, envelope BLOB NOT NULL, structure BLOB NOT NULL, body BLOB NOT NULL,
	parts BLOB NOT NULL);
CREATE TABLE header(blob INTEGER PRIMARY KEY, size INTEGER NOT NULL, crc INTEGER NOT NULL, octets BLOB);
CREATE TABLE chunk(key INTEGER PRIMARY KEY, coding INTEGER NOT NULL, crc INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE garbage(id INTEGER PRIMARY KEY, at INTEGER NOT NULL, blobs BLOB NOT NULL);
CREATE TABLE delivered(id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, at INTEGER NOT NULL);
`, `
CREATE TABLE filed(
	id INTEGER PRIMARY KEY, box INTEGER NOT NULL, key BLOB NOT NULL, uid INTEGER NOT NULL, at INTEGER NOT NULL, UNIQUE(box, key));
ALTER TABLE box ADD COLUMN deleted_size INTEGER;
CREATE TABLE annotation(
	box INTEGER NOT NULL, entry TEXT NOT NULL, value BLOB, modseq INTEGER NOT NULL, PRIMARY KEY(box, entry)) WITHOUT ROWID;
CREATE TABLE search(blob INTEGER PRIMARY KEY, keys BLOB NOT NULL, texts BLOB NOT NULL);
`, `
CREATE TABLE expunged(
	id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, box INTEGER NOT NULL, name TEXT NOT NULL, keywords TEXT NOT NULL,
	size INTEGER NOT NULL, data BLOB NOT NULL);
CREATE INDEX expunged_age ON expunged(at, size);
CREATE TABLE uidl(box INTEGER NOT NULL, uid INTEGER NOT NULL, uidl TEXT NOT NULL, PRIMARY KEY(box, uid), UNIQUE(box, uidl)) WITHOUT ROWID;
CREATE TABLE line_ends(blob INTEGER PRIMARY KEY, missing INTEGER NOT NULL);
ALTER TABLE box ADD COLUMN acl TEXT;
CREATE TABLE seen(
	id INTEGER PRIMARY KEY, box INTEGER NOT NULL, user TEXT NOT NULL, part INTEGER NOT NULL, version INTEGER NOT NULL, data BLOB NOT NULL,
	UNIQUE(box, user, part));
`}

// storageErrors are the errors of internal/db in this package's words.
var storageErrors = []struct{ theirs, ours error }{
	{db.ErrFull, ErrFull},
	{db.ErrFailed, ErrFailed},
	{db.ErrCorrupt, ErrCorrupt},
	{db.ErrNewer, ErrCorrupt},
	{db.ErrForeign, ErrCorrupt},
	{db.ErrClosed, ErrClosed},
}

// storageError says err in this package's words, if it is one of the storage.
func storageError(err error) error {
	for _, e := range storageErrors {
		if errors.Is(err, e.theirs) {
			return fmt.Errorf("%w: %w", e.ours, err)
		}
	}
	return err
}

// exec runs a statement that has no rows, with numbers for arguments.
func exec(c *sqlite.Conn, query string, args ...int64) error {
	return db.Exec(c, query, db.Ints(args...))
}

// rows calls each for the rows of a query with numbers for arguments, until it fails.
func rows(c *sqlite.Conn, query string, each func(*sqlite.Stmt) error, args ...int64) error {
	return db.Rows(c, query, db.Ints(args...), each)
}
