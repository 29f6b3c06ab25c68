package db

import (
	"context"
	"errors"
	"fmt"
	"os"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// Inspect runs f on a connection of its own that cannot write, beside whoever has the database open. It is not changed nor made, and its
// format is not looked at.
func Inspect(ctx context.Context, path string, f func(*sqlite.Conn) error) error {
	if _, err := os.Stat(path); err != nil {
		return err
	}
	c, err := sqlite.OpenConn(path, sqlite.OpenReadOnly)
	if err != nil {
		return fmt.Errorf("%s: %w", path, classify(err))
	}
	c.SetBusyTimeout(busyTimeout)
	c.SetInterrupt(ctx.Done())
	return errors.Join(classify(f(c)), c.Close())
}

// Check has SQLite look at every page and index, and returns what it finds wrong, one line for each; none: all is well.
func Check(ctx context.Context, path string) (troubles []string, err error) {
	err = Inspect(ctx, path, func(c *sqlite.Conn) error {
		return sqlitex.ExecuteTransient(c, "PRAGMA integrity_check", &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
			if line := s.ColumnText(0); line != "ok" {
				troubles = append(troubles, line)
			}
			return nil
		}})
	})
	if errors.Is(err, ErrCorrupt) { // damaged so that it cannot say more
		return append(troubles, err.Error()), nil
	}
	return troubles, err
}
