package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"posthouse/crypto/password"
	"posthouse/directory"
	"posthouse/internal/dns"
	"posthouse/mail"
	"posthouse/mail/mailtest"
	"posthouse/mailbox"
	"posthouse/spool"
)

// benchHouse is a house on a real disk with a route to a sink on a real port.
type benchHouse struct {
	*testing.B
	spool *spool.SQLite
	sink  *sink
	store *mailbox.SQLite
	dir   *directory.SQLite
	move  func() // begins to move mail
	moved atomic.Int64
}

func newBenchHouse(b *testing.B) *benchHouse {
	b.Helper()
	h := &benchHouse{B: b, sink: &sink{}}
	check := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	l, err := listen(h.sink)
	check(err)
	z, err := dns.ParseZone("")
	check(err)
	dir := b.TempDir()
	h.dir, err = directory.Open(filepath.Join(dir, "directory.db"), directory.Options{Cost: password.Cost{Time: 1, Memory: 8, Iterations: 4096}})
	check(err)
	h.store, err = mailbox.OpenSQLite(mailbox.Options{Dir: filepath.Join(dir, "accounts")})
	check(err)
	check(h.dir.AddDomain(b.Context(), directory.Domain{Name: "north.test"}))
	m, err := New(Options{Hostname: "mail.north.test", Directory: h.dir, Store: h.store, Resolver: z,
		Observe: func(Attempt) { h.moved.Add(1) },
		Routes:  []Route{{Match: "south.test", Via: "smtp://" + l.Addr().String()}}})
	check(err)
	h.spool, err = spool.OpenSQLite(spool.Options{Dir: filepath.Join(dir, "spool"), Destination: m.Destination})
	check(err)
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	h.move = sync.OnceFunc(func() { go func() { ended <- m.Run(ctx, h.spool) }() })
	b.Cleanup(func() {
		cancel()
		h.move()
		if err := errors.Join(<-ended, h.spool.Close(), h.store.Close(), h.dir.Close(), l.Close()); err != nil {
			b.Error(err)
		}
	})
	return h
}

// submit commits b.N messages from so many sessions.
func (h *benchHouse) submit(sessions int, to func(i int64) mail.Address) {
	from := mailtest.Address("alice@north.test")
	var b strings.Builder
	if _, err := io.Copy(&b, discard(4<<10)); err != nil {
		h.Fatal(err)
	}
	body := []byte(b.String())
	var next atomic.Int64
	var wg sync.WaitGroup
	for range sessions {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(h.N) {
					return
				}
				d, err := h.spool.Create(h.Context(), mail.Envelope{From: from, To: []mail.Recipient{{Address: to(i)}}})
				if err == nil {
					_, err = d.Write(body)
				}
				if err == nil {
					_, err = d.Commit(h.Context())
				}
				if err != nil {
					h.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// emptied waits until nothing is queued. It looks at the queue once only, since that takes its time.
func (h *benchHouse) emptied() {
	for h.moved.Load() < int64(h.N) {
		time.Sleep(time.Millisecond)
	}
	st, err := h.spool.Stats(h.Context(), 1)
	if err != nil || len(st.Recipients) > 0 {
		h.Fatal("left in the queue: ", st.Recipients, err)
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (h *benchHouse) measure(f func()) {
	before := cpu()
	h.ReportAllocs()
	h.ResetTimer()
	h.move()
	f()
	h.emptied()
	h.StopTimer()
	h.ReportMetric(float64(h.N)/h.Elapsed().Seconds(), "msg/s")
	h.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(h.N), "cpu-ns/op")
}

// BenchmarkRelay moves messages of 4 KiB from sessions that commit them to a sink on a port; its CPU includes the sink's.
func BenchmarkRelay(b *testing.B) {
	for _, sessions := range []int{1, 20} {
		b.Run(fmt.Sprint(sessions), func(b *testing.B) {
			h := newBenchHouse(b)
			bob := mailtest.Address("bob@south.test")
			h.measure(func() { h.submit(sessions, func(int64) mail.Address { return bob }) })
			if h.sink.count() != b.N {
				b.Errorf("%d messages arrived, not %d", h.sink.count(), b.N)
			}
			b.ReportMetric(float64(h.sink.connections), "conns")
		})
	}
}

// accounts makes so many, with their mailboxes, and says to whom the message with a number goes.
func (h *benchHouse) accounts(n int) func(i int64) mail.Address {
	h.Helper()
	all := make([]mail.Address, n)
	for i := range all {
		all[i] = mailtest.Address(fmt.Sprintf("r%d@north.test", i))
		who, err := h.dir.AddAccount(h.Context(), all[i], "posthouse")
		if err != nil {
			h.Fatal(err)
		}
		account, err := h.store.Account(h.Context(), who.ID)
		if err == nil {
			err = account.Close()
		}
		if err != nil {
			h.Fatal(err)
		}
	}
	return func(i int64) mail.Address { return all[i%int64(n)] }
}

// BenchmarkLocal moves them into mailboxes, as they come.
func BenchmarkLocal(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h := newBenchHouse(b)
			to := h.accounts(n)
			h.measure(func() { h.submit(20, to) })
		})
	}
}

// BenchmarkBacklog moves those into mailboxes that were queued before.
func BenchmarkBacklog(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h := newBenchHouse(b)
			h.submit(20, h.accounts(n))
			h.measure(func() {})
		})
	}
}
