package index

import (
	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
)

// rows calls each for the rows of a query with numbers for arguments, until it fails.
func rows(c *sqlite.Conn, query string, each func(*sqlite.Stmt) error, args ...int64) error {
	return db.Rows(c, query, db.Ints(args...), each)
}

func number(c *sqlite.Conn, query string, args ...int64) (n int64, err error) {
	err = rows(c, query, func(s *sqlite.Stmt) error {
		n = s.ColumnInt64(0)
		return nil
	}, args...)
	return n, err
}
