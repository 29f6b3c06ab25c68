package index

import (
	"errors"

	"zombiezen.com/go/sqlite"
)

// exec runs a statement that has no rows. The query must be a constant: each is prepared once per connection.
func exec(c *sqlite.Conn, query string, bind func(*sqlite.Stmt)) error {
	s, err := c.Prepare(query)
	if err != nil {
		return err
	}
	bind(s)
	_, err = s.Step()
	return errors.Join(err, s.Reset())
}

func ints(args ...int64) func(*sqlite.Stmt) {
	return func(s *sqlite.Stmt) {
		for i, a := range args {
			s.BindInt64(i+1, a)
		}
	}
}

// rows calls each for the rows of a query with numbers for arguments, until it fails.
func rows(c *sqlite.Conn, query string, each func(*sqlite.Stmt) error, args ...int64) error {
	return rowsWith(c, query, ints(args...), each)
}

func rowsWith(c *sqlite.Conn, query string, bind func(*sqlite.Stmt), each func(*sqlite.Stmt) error) error {
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

func number(c *sqlite.Conn, query string, args ...int64) (n int64, err error) {
	err = rows(c, query, func(s *sqlite.Stmt) error {
		n = s.ColumnInt64(0)
		return nil
	}, args...)
	return n, err
}

// columnBytes is a fresh copy of a column.
func columnBytes(s *sqlite.Stmt, column int) []byte {
	b := make([]byte, s.ColumnLen(column))
	s.ColumnBytes(column, b)
	return b
}
