package spool

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"posthouse/internal/db"
)

// TestUpgrade opens a spool of the first format: nothing is lost, and what was due is taken.
func TestUpgrade(t *testing.T) {
	dir := t.TempDir()
	first, err := db.Open(db.Options{Path: filepath.Join(dir, databaseName), ApplicationID: applicationID, Schema: schema[:1]})
	if err != nil {
		t.Fatal(err)
	}
	err = first.Write(t.Context(), func(tx *db.Tx) error {
		for _, sql := range []string{
			`UPDATE meta SET value = 100 WHERE name = 'next_id'`,
			`INSERT INTO message VALUES(7, 4, 0, '{"id":"0000000000007","from":"a@north.test","to":[{"address":"b@south.test"},{"address":"c@east.test"}]}')`,
			`INSERT INTO body VALUES(7, x'', 'body')`,
			`INSERT INTO recipient VALUES(7, 0, 0, 5, 0, 5, 3, 4, 0, 0, 'south.test', 'b@south.test', '', '450 later')`,
			`INSERT INTO recipient VALUES(7, 1, 1, 5, 9, 5, 0, 0, 0, 0, 'east.test', 'c@east.test', '', '')`,
			`INSERT INTO destination VALUES('south.test', 5)`,
			`INSERT INTO lease VALUES(9, 7, 'east.test', 1, 99)`,
			`INSERT INTO history VALUES(1, 7, 4, NULL, NULL, '[]')`,
		} {
			if err := prepare(tx.Conn, sql).run(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Verify(t.Context(), dir, func(string) {}); !errors.Is(err, ErrOldFormat) {
		t.Errorf("verify: %v", err)
	}
	if _, err := Repair(t.Context(), dir, filepath.Join(t.TempDir(), "new"), func(string) {}); !errors.Is(err, ErrOldFormat) {
		t.Errorf("repair: %v", err)
	}
	s := open(t, Options{Dir: dir})
	jobs, err := s.Take(t.Context(), Want{Limit: 10, Lease: time.Minute})
	if err != nil || len(jobs) != 2 {
		t.Fatal(jobs, err)
	}
	for _, j := range jobs {
		if j.Lease.ID != 7 || j.Priority != 0 || j.Destination == "south.test" && j.Recipients[0].Attempts != 3 {
			t.Errorf("%+v", j)
		}
	}
	if got := read(t, s, 7); string(got) != "body" {
		t.Errorf("%q", got)
	}
	for _, j := range jobs {
		if err := s.Settle(t.Context(), j.Lease, []Outcome{{N: j.Recipients[0].N, Result: Delivered}}); err != nil {
			t.Error(err)
		}
	}
}
