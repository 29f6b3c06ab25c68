package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"posthouse/internal/db"
	"posthouse/mail"
	"posthouse/mail/mailtest"
)

func open(t testing.TB, o Options) *SQLite {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := OpenSQLite(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func put(t testing.TB, s Spool, body []byte, to ...string) mail.ID {
	t.Helper()
	env := mail.Envelope{From: mailtest.Address("alice@north.test")}
	for _, a := range to {
		env.To = append(env.To, mail.Recipient{Address: mailtest.Address(a)})
	}
	d, err := s.Create(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Write(body); err != nil {
		t.Fatal(err)
	}
	id, err := d.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func read(t testing.TB, s Spool, id mail.ID) []byte {
	t.Helper()
	c, err := s.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTakenAtOnceAfterReopening(t *testing.T) {
	dir := t.TempDir()
	s, err := OpenSQLite(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Repeat([]byte("a large body\r\n"), 50_000)
	id := put(t, s, want, "bob@south.test")
	lost, err := s.Take(t.Context(), Want{Limit: 1, Lease: time.Hour})
	if err != nil || len(lost) != 1 {
		t.Fatal(lost, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{Dir: dir})
	jobs, err := s.Take(t.Context(), Want{Limit: 1, Lease: time.Hour})
	if err != nil || len(jobs) != 1 || jobs[0].Envelope.ID != id || jobs[0].Epoch <= lost[0].Epoch {
		t.Fatal(jobs, err)
	}
	if !bytes.Equal(read(t, s, id), want) {
		t.Error("another body")
	}
	delivered := []Outcome{{N: 0, Result: Delivered}}
	if err := s.Settle(t.Context(), lost[0].Lease, delivered); !errors.Is(err, ErrLeaseLost) {
		t.Error(err)
	}
	if err := s.Settle(context.Background(), jobs[0].Lease, delivered); err != nil {
		t.Error(err)
	}
	if _, err := s.Open(t.Context(), id); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// pages lets the database grow by n pages more; 0: as it likes.
func pages(t *testing.T, s *SQLite, n int64) {
	t.Helper()
	err := s.db.Write(t.Context(), func(tx *db.Tx) error {
		have, _, err := prepare(tx.Conn, "PRAGMA page_count").number()
		if err != nil {
			return err
		}
		limit := have + n
		if n == 0 {
			limit = 1 << 30
		}
		_, _, err = prepare(tx.Conn, fmt.Sprintf("PRAGMA max_page_count=%d", limit)).number()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFullDatabaseRecovers(t *testing.T) {
	s := open(t, Options{})
	first := put(t, s, []byte("first"), "bob@south.test")
	pages(t, s, 5)
	for range 2 {
		d, err := s.Create(t.Context(), benchEnvelope(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Write(make([]byte, 100_000)); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Commit(t.Context()); !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
		if err := d.Abort(); err != nil {
			t.Error(err)
		}
	}
	if got := read(t, s, first); string(got) != "first" {
		t.Errorf("%q", got)
	}
	pages(t, s, 0)
	put(t, s, make([]byte, 100_000), "bob@south.test")
	if jobs, err := s.Take(t.Context(), Want{Limit: 10, Lease: time.Minute}); err != nil || len(jobs) != 2 {
		t.Error(len(jobs), err)
	}
}

func TestDamagedDatabaseIsRefused(t *testing.T) {
	dir := t.TempDir()
	garbage := bytes.Repeat([]byte("not a database, whatever its name says\n"), 1000)
	if err := os.WriteFile(filepath.Join(dir, databaseName), garbage, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSQLite(Options{Dir: dir}); !errors.Is(err, db.ErrCorrupt) {
		t.Errorf("%v", err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, databaseName)); err != nil || !bytes.Equal(got, garbage) {
		t.Error("the file was changed")
	}
}

func TestMissingLargeBody(t *testing.T) {
	dir := t.TempDir()
	s, err := OpenSQLite(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	lost := put(t, s, largeBody('a'), "bob@south.test", "carol@south.test")
	kept := put(t, s, largeBody('b'), "bob@south.test")
	if err := errors.Join(s.Close(), os.Remove(s.largePath(lost))); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing left to bury
		s = open(t, Options{Dir: dir})
		e, err := s.Show(t.Context(), lost)
		if err != nil || len(e.Recipients) != 2 || e.Recipients[1].State != Dead || e.Recipients[1].LastReply != bodyMissing {
			t.Errorf("%+v, %v", e, err)
		}
		if _, err := s.Open(t.Context(), lost); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v", err)
		}
		jobs, err := s.Take(t.Context(), Want{Limit: 10, Lease: time.Minute})
		if err != nil || len(jobs) != 1 || jobs[0].Lease.ID != kept {
			t.Errorf("%+v, %v", jobs, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestClockSetBack(t *testing.T) {
	dir := t.TempDir()
	var before mail.ID
	func() {
		s, err := OpenSQLite(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		before = put(t, s, []byte("body"), "bob@south.test")
	}()
	synctest.Test(t, func(t *testing.T) { // it is the year 2000
		s := open(t, Options{Dir: dir})
		if after := put(t, s, []byte("body"), "bob@south.test"); after <= before {
			t.Errorf("%v after %v", after, before)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestRecentIsBounded(t *testing.T) {
	var r recent
	for id := range mail.ID(maxRecent/MaxInlineBody + 10) {
		r.put(&kept{id: id, body: make([]byte, MaxInlineBody)})
	}
	if r.size > maxRecent || len(r.byID) != maxRecent/MaxInlineBody || r.get(0) != nil || r.get(maxRecent/MaxInlineBody) == nil {
		t.Errorf("%d octets, %d bodies", r.size, len(r.byID))
	}
	for id := range mail.ID(maxRecent/MaxInlineBody + 10) {
		r.drop(id)
	}
	if r.size != 0 || r.order.Len() != 0 {
		t.Errorf("%d octets left", r.size)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	s := open(t, Options{MaxHistory: 3})
	var ids []mail.ID
	for range 5 {
		ids = append(ids, put(t, s, []byte("body"), "bob@south.test"))
		if n, err := s.Change(t.Context(), Filter{ID: ids[len(ids)-1]}, Drop); err != nil || n != 1 {
			t.Fatal(n, err)
		}
	}
	if err := s.prune(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	var told []mail.ID
	for st, err := range s.Trace(t.Context(), Query{Address: mailtest.Address("bob@south.test"), Limit: 10}) {
		if err != nil {
			t.Fatal(err)
		}
		told = append(told, st.ID)
	}
	if want := []mail.ID{ids[4], ids[3], ids[2]}; !slices.Equal(told, want) {
		t.Errorf("%v, want %v", told, want)
	}
}

// TestLeasesThatEndAtOnce: a lease may end while its Take decodes the message.
func TestLeasesThatEndAtOnce(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	id := put(t, s, []byte("body"), "bob@south.test")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, Options{Dir: dir}) // which has to read it
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				jobs, err := s.Take(t.Context(), Want{Limit: 1, Lease: time.Nanosecond, Destination: "south.test"})
				if err != nil || len(jobs) > 0 && jobs[0].Envelope.ID != id {
					t.Error(jobs, err)
				}
			}
		})
	}
	wg.Wait()
}

// What is put back into the queue goes where its mail goes by now, and not where it went when it came.
func TestReplayTakesANewWay(t *testing.T) {
	way := "parking"
	s := open(t, Options{Destination: func(mail.Address, mail.Recipient) string { return way }})
	put(t, s, []byte("x\r\n"), "a@south.test", "b@south.test")
	jobs, err := s.Take(t.Context(), Want{Limit: 1, Lease: time.Minute})
	if err != nil || jobs[0].Destination != "parking" {
		t.Fatal(jobs, err)
	}
	if err := s.Settle(t.Context(), jobs[0].Lease, []Outcome{{N: 0, Result: Failed}, {N: 1, Result: Failed}}); err != nil {
		t.Fatal(err)
	}
	way = "local"
	if n, err := s.Change(t.Context(), Filter{States: []State{Dead}}, RetryNow); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if jobs, err = s.Take(t.Context(), Want{Limit: 2, Lease: time.Minute, Destination: "parking"}); len(jobs) > 0 || err != nil {
		t.Error(jobs, err)
	}
	jobs, err = s.Take(t.Context(), Want{Limit: 2, Lease: time.Minute, Destination: "local"})
	if err != nil || len(jobs) != 1 || len(jobs[0].Recipients) != 2 || jobs[0].Recipients[0].Destination != "local" {
		t.Error(jobs, err)
	}
}
