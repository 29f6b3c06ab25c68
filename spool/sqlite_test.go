package spool

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"posthouse/mail"
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
	env := mail.Envelope{From: address(t, "alice@north.test")}
	for _, a := range to {
		env.To = append(env.To, mail.Recipient{Address: address(t, a)})
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
