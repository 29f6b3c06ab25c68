package spool

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"posthouse/internal/db"
	"posthouse/mail"
	"posthouse/mail/mailtest"
)

func benchEnvelope(t testing.TB) mail.Envelope {
	return mail.Envelope{
		From:      mailtest.Address("alice@north.test"),
		To:        []mail.Recipient{{Address: mailtest.Address("bob@south.test")}},
		Origin:    mail.Origin{Protocol: "ESMTPSA", HELO: "client.test", Account: "a1", Login: "alice@north.test", Session: "s1"},
		MessageID: "1@north.test",
		Verdicts:  []mail.Verdict{{Stage: "spf", Result: "pass"}, {Stage: "dkim", Result: "pass"}, {Stage: "dmarc", Result: "pass"}},
	}
}

// spread runs f b.N times from n goroutines.
func spread(b *testing.B, n int, f func() error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := f(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func processCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLife is a message's whole life: written and committed by n sessions, taken in batches, read, settled.
func BenchmarkLife(b *testing.B) {
	for _, size := range []int{4 << 10, 100 << 10} {
		for _, n := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("%dKiB/%d", size>>10, n), func(b *testing.B) { benchLife(b, size, n) })
		}
	}
}

func benchLife(b *testing.B, size, n int) {
	s, err := OpenSQLite(Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	body := bytes.Repeat([]byte("0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnop\r\n"), size/64)
	env := benchEnvelope(b)
	ctx := context.Background()
	b.ReportAllocs()
	cpu := processCPU()
	b.ResetTimer()
	create := func() error { return commit(ctx, s, env, body) }
	done := make(chan struct{})
	go func() {
		defer close(done)
		settleAll(b, s, n)
	}()
	spread(b, n, create)
	<-done
	b.ReportMetric(float64((processCPU()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

func commit(ctx context.Context, s Spool, env mail.Envelope, body []byte) error {
	d, err := s.Create(ctx, env)
	if err != nil {
		return err
	}
	if _, err := d.Write(body); err != nil {
		return err
	}
	d.Prepend([]byte("Received: from client.test by mail.north.test with ESMTPSA; Mon, 1 Jan 2024 00:00:00 +0000\r\n"))
	_, err = d.Commit(ctx)
	return err
}

func settleAll(b *testing.B, s Spool, n int) {
	ctx := context.Background()
	work := make(chan Job)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			buf := make([]byte, 32<<10)
			for j := range work {
				c, err := s.Open(ctx, j.Envelope.ID)
				if err != nil {
					b.Error(err)
					return
				}
				for off := int64(0); off < c.Size(); off += int64(len(buf)) {
					c.ReadAt(buf, off)
				}
				c.Close()
				if err := s.Settle(ctx, j.Lease, []Outcome{{N: 0, Result: Delivered, Reply: "250 2.0.0 ok", Via: "mx.south.test [127.0.0.1]:25 TLS1.3"}}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for left := b.N; left > 0; {
		jobs, err := s.Take(ctx, Want{Limit: 64, Lease: time.Minute})
		if err != nil {
			b.Error(err)
			break
		}
		left -= len(jobs)
		for _, j := range jobs {
			work <- j
		}
	}
	close(work)
	wg.Wait()
}

// million fills a spool with messages that are due, n to one destination and a hundred to others behind them.
func million(b testing.TB, dir string, n int) {
	b.Helper()
	s, err := OpenSQLite(Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	put(b, s, bytes.Repeat([]byte("0123456789\r\n"), 40), "bob@south.test")
	err = s.write(b.Context(), func(tx *db.Tx) error {
		for _, sql := range []string{
			`INSERT INTO message SELECT value, m.size, 0, m.envelope, NULL FROM message m, numbers`,
			`INSERT INTO body SELECT value, b.prefix, b.body FROM body b, numbers`,
			`INSERT INTO recipient SELECT value, 0, 0, value, r.since, 0, 0, 0, 0, r.destination, r.address, '', '', 0, 0, NULL FROM recipient r, numbers`,
		} {
			sql = "WITH RECURSIVE numbers(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM numbers WHERE value < ?) " + sql
			if err := prepare(tx.Conn, sql).int(int64(n)).run(); err != nil {
				return err
			}
		}
		return s.markDue(tx, lane{"south.test", 0}, 1)
	})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 100 {
		put(b, s, []byte("body"), fmt.Sprintf("a@d%d.test", i))
	}
}

// BenchmarkMillion is a spool with a million messages: opening it, and what it costs to go on working beside them.
func BenchmarkMillion(b *testing.B) {
	dir := b.TempDir()
	million(b, dir, 1_000_000)
	b.Run("Open", func(b *testing.B) {
		for b.Loop() {
			s, err := OpenSQLite(Options{Dir: dir})
			if err != nil {
				b.Fatal(err)
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
	s, err := OpenSQLite(Options{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.Run("Stats", func(b *testing.B) {
		for b.Loop() {
			if st, err := s.Stats(b.Context(), 10); err != nil || st.Recipients[Ready] < 1_000_000 {
				b.Fatal(st, err)
			}
		}
	})
	cycle := func(w Want) func(b *testing.B) {
		w.Limit, w.Lease = 1, time.Minute
		return func(b *testing.B) {
			for b.Loop() {
				jobs, err := s.Take(b.Context(), w)
				if err != nil || len(jobs) != 1 {
					b.Fatal(jobs, err)
				}
				if err := s.Settle(b.Context(), jobs[0].Lease, nil); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.Run("TakeSettle", cycle(Want{}))
	b.Run("TakeSettleSkipping", cycle(Want{Skip: []string{"south.test"}}))
	b.Run("Commit", func(b *testing.B) {
		for b.Loop() {
			if err := commit(b.Context(), s, benchEnvelope(b), make([]byte, 4096)); err != nil {
				b.Fatal(err)
			}
		}
	})
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.Logf("heap in use %d MiB", m.HeapInuse>>20)
}

// BenchmarkRecipients is accepting a message with one recipient and with ten, at one destination and at ten.
func BenchmarkRecipients(b *testing.B) {
	body := make([]byte, 4096)
	for _, c := range []struct{ recipients, destinations int }{{1, 1}, {10, 1}, {10, 10}} {
		b.Run(fmt.Sprintf("%d/%d", c.recipients, c.destinations), func(b *testing.B) {
			s := open(b, Options{})
			env := benchEnvelope(b)
			env.To = nil
			for n := range c.recipients {
				env.To = append(env.To, mail.Recipient{Address: mailtest.Address(fmt.Sprintf("r%d@d%d.test", n, n%c.destinations))})
			}
			b.ReportAllocs()
			cpu := processCPU()
			b.ResetTimer()
			spread(b, 64, func() error { return commit(context.Background(), s, env, body) })
			b.ReportMetric(float64((processCPU()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}
