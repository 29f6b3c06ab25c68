package db

import (
	"errors"

	"zombiezen.com/go/sqlite"
)

// Exec runs a statement that has no rows. The query must be a constant: each is prepared once per connection.
func Exec(c *sqlite.Conn, query string, bind func(*sqlite.Stmt)) error {
	s, err := c.Prepare(query)
	if err != nil {
		return err
	}
	bind(s)
	_, err = s.Step()
	return errors.Join(err, s.Reset())
}

// Rows calls each for the rows of a query, until it fails. The query must be a constant, as for Exec.
func Rows(c *sqlite.Conn, query string, bind func(*sqlite.Stmt), each func(*sqlite.Stmt) error) error {
	s, err := c.Prepare(query)
	if err != nil {
		return err
	}
	bind(s)
	for {
		more, err := s.Step()
		if err == nil && more {
			err = each(s)
		}
		if err != nil || !more {
			return errors.Join(err, s.Reset())
		}
	}
}

// Ints binds numbers to the first parameters.
func Ints(args ...int64) func(*sqlite.Stmt) {
	return func(s *sqlite.Stmt) {
		for i, a := range args {
			s.BindInt64(i+1, a)
		}
	}
}

// Bytes is a fresh copy of a column.
func Bytes(s *sqlite.Stmt, column int) []byte {
	b := make([]byte, s.ColumnLen(column))
	s.ColumnBytes(column, b)
	return b
}
