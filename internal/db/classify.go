package db

import (
	"fmt"
	"strings"

	"zombiezen.com/go/sqlite"
)

// classify wraps an error of SQLite in one of ours; others are returned as they are.
func classify(err error) error {
	if err == nil {
		return nil
	}
	for e := range leaves(err) {
		switch code := sqlite.ErrCode(e); code.ToPrimary() {
		case sqlite.ResultFull:
			return fmt.Errorf("%w: %w", ErrFull, err)
		case sqlite.ResultIOErr:
			if code == sqlite.ResultIOErrSHMSize || strings.Contains(err.Error(), "no space left") {
				return fmt.Errorf("%w: %w", ErrFull, err)
			}
			return fmt.Errorf("%w: %w", ErrFailed, err)
		case sqlite.ResultCorrupt, sqlite.ResultNotADB:
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		case sqlite.ResultReadOnly, sqlite.ResultCantOpen, sqlite.ResultPerm:
			return fmt.Errorf("%w: %w", ErrFailed, err)
		}
	}
	return err
}

// leaves yields err and what it joins.
func leaves(err error) func(func(error) bool) {
	return func(yield func(error) bool) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				if !yield(e) {
					return
				}
			}
			return
		}
		yield(err)
	}
}
