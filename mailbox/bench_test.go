package mailbox_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"posthouse/mail"
	"posthouse/mail/mailtest"
	"posthouse/mailbox"
)

// benchLetter is a message of 4 KiB with a header as delivered mail has it.
var benchLetter = func() string {
	var b strings.Builder
	for i := range 4 {
		fmt.Fprintf(&b, "Received: from mx%d.north.test (mx%d.north.test [192.0.2.%d])\r\n\tby mail.south.test with ESMTPS id 0123456789abc\r\n\tfor <bob@south.test>; Tue, 3 Mar 2026 10:11:1%d +0000\r\n", i, i, i, i)
	}
	b.WriteString("From: Alice <alice@north.test>\r\nTo: Bob <bob@south.test>\r\nSubject: A letter of the usual size\r\nDate: Tue, 3 Mar 2026 11:11:11 +0100\r\n" +
		"Message-ID: <20260303111111.1@north.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")
	for i := 0; b.Len() < 4<<10; i++ {
		fmt.Fprintf(&b, "Line %d of the letter says %d times nothing that is new.\r\n", i, i*i*7919)
	}
	return b.String()
}()

func bench(b *testing.B, o mailbox.Options) (mailbox.Account, mailbox.BoxID) {
	s := open(b, o)
	a, err := s.Account(b.Context(), "alice")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { a.Close() })
	inbox, err := a.Box(b.Context(), mailbox.Inbox)
	if err != nil {
		b.Fatal(err)
	}
	return a, inbox.ID
}

func apply(b testing.TB, a mailbox.Account, changes ...mailbox.Mutation) []mailbox.Result {
	b.Helper()
	applied, err := a.Apply(context.Background(), changes...)
	if err != nil {
		b.Fatal(err)
	}
	return applied.Results
}

// fill files n messages, 1,000 to a transaction.
func fill(b testing.TB, a mailbox.Account, box mailbox.BoxID, n int) {
	b.Helper()
	for n > 0 {
		changes := make([]mailbox.Mutation, min(n, 1000))
		for i := range changes {
			id, err := a.Stage(context.Background(), strings.NewReader(benchLetter))
			if err != nil {
				b.Fatal(err)
			}
			changes[i] = mailbox.Add{Box: box, Blob: id}
		}
		apply(b, a, changes...)
		n -= len(changes)
	}
}

// fillLight fills a box with n messages that share one content.
func fillLight(b testing.TB, a mailbox.Account, box mailbox.BoxID, n int) {
	b.Helper()
	fill(b, a, box, min(n, 1000))
	for have := min(n, 1000); have < n; {
		more := min(have, n-have)
		apply(b, a, mailbox.Copy{From: box, UIDs: mailbox.UIDSet{{First: 1, Last: mailbox.UID(more)}}, To: box})
		have += more
	}
}

func BenchmarkAdd(b *testing.B) {
	for _, sessions := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(sessions), func(b *testing.B) {
			a, inbox := bench(b, mailbox.Options{})
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for range sessions {
				wg.Go(func() {
					for {
						k := next.Add(1)
						if k > int64(b.N) {
							return
						}
						id, err := a.Stage(context.Background(), strings.NewReader(benchLetter))
						if err != nil {
							b.Error(err)
							return
						}
						if _, err := a.Apply(context.Background(), mailbox.Add{Box: inbox, Blob: id, Key: fmt.Sprint(k)}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

func BenchmarkStage10MiB(b *testing.B) {
	a, inbox := bench(b, mailbox.Options{})
	text := strings.Repeat(benchLetter, 10<<20/len(benchLetter))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		id, err := a.Stage(context.Background(), strings.NewReader(text))
		if err != nil {
			b.Fatal(err)
		}
		apply(b, a, mailbox.Add{Box: inbox, Blob: id})
	}
}

func BenchmarkStore10000(b *testing.B) {
	a, inbox := bench(b, mailbox.Options{})
	fillLight(b, a, inbox, 10_000)
	ops := []mailbox.FlagOp{mailbox.AddFlags, mailbox.RemoveFlags}
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		apply(b, a, mailbox.SetFlags{Box: inbox, UIDs: mailbox.AllUIDs(), Op: ops[i%2], Marks: mailbox.Marks{System: mailbox.Seen}})
	}
}

func BenchmarkSnapshotWarm100000(b *testing.B) {
	a, inbox := bench(b, mailbox.Options{})
	fillLight(b, a, inbox, 100_000)
	if _, err := a.Snapshot(context.Background(), inbox); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Snapshot(context.Background(), inbox); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSnapshotCold is the first look at a box after a start: open the store, the account and the box.
func BenchmarkSnapshotCold(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := b.TempDir()
			s, err := mailbox.OpenSQLite(mailbox.Options{Dir: dir})
			if err != nil {
				b.Fatal(err)
			}
			a, err := s.Account(b.Context(), "alice")
			if err != nil {
				b.Fatal(err)
			}
			fillLight(b, a, 1, n)
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				s, err := mailbox.OpenSQLite(mailbox.Options{Dir: dir})
				if err != nil {
					b.Fatal(err)
				}
				a, err := s.Account(b.Context(), "alice")
				if err != nil {
					b.Fatal(err)
				}
				snapshot, err := a.Snapshot(context.Background(), 1)
				if err != nil || snapshot.Len() != n {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

func BenchmarkFacts10000(b *testing.B) {
	a, inbox := bench(b, mailbox.Options{})
	fill(b, a, inbox, 10_000)
	s, err := a.Snapshot(context.Background(), inbox)
	if err != nil {
		b.Fatal(err)
	}
	blobs := func(yield func(mailbox.BlobID) bool) {
		for _, m := range s.All() {
			if !yield(m.Blob) {
				return
			}
		}
	}
	for name, want := range map[string]mailbox.FactSet{
		"envelope": mailbox.WantEnvelope, "structure": mailbox.WantBodyStructure, "header": mailbox.WantHeader, "parts": mailbox.WantParts,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				n := 0
				for _, err := range a.Facts(context.Background(), want, blobs) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n != 10_000 {
					b.Fatal(n)
				}
			}
		})
	}
}

func BenchmarkOpen10000(b *testing.B) {
	a, inbox := bench(b, mailbox.Options{})
	fill(b, a, inbox, 10_000)
	s, err := a.Snapshot(context.Background(), inbox)
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	b.ReportAllocs()
	for b.Loop() {
		for _, m := range s.All() {
			c, err := a.Open(context.Background(), m.Blob)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := c.ReadAt(buf[:c.Size()], 0); err != nil && err != io.EOF {
				b.Fatal(err)
			}
			c.Close()
		}
	}
}

func BenchmarkBulk10000(b *testing.B) {
	a, inbox := bench(b, mailbox.Options{})
	fill(b, a, inbox, 10_000)
	trash, err := a.Box(context.Background(), "Trash")
	if err != nil {
		b.Fatal(err)
	}
	b.Run("copy", func(b *testing.B) {
		for b.Loop() {
			apply(b, a, mailbox.Copy{From: inbox, UIDs: mailbox.AllUIDs(), To: trash.ID})
			b.StopTimer()
			apply(b, a, mailbox.DeleteBox{Name: "Trash"}, mailbox.CreateBox{Name: "Trash"})
			trash, _ = a.Box(context.Background(), "Trash")
			b.StartTimer()
		}
	})
	b.Run("move", func(b *testing.B) {
		from, to := inbox, trash.ID
		for b.Loop() {
			apply(b, a, mailbox.Move{From: from, UIDs: mailbox.AllUIDs(), To: to})
			from, to = to, from
		}
		apply(b, a, mailbox.Move{From: trash.ID, UIDs: mailbox.AllUIDs(), To: inbox})
	})
	b.Run("expunge", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			apply(b, a, mailbox.Copy{From: inbox, UIDs: mailbox.AllUIDs(), To: trash.ID},
				mailbox.SetFlags{Box: trash.ID, UIDs: mailbox.AllUIDs(), Marks: mailbox.Marks{System: mailbox.Deleted}})
			b.StartTimer()
			apply(b, a, mailbox.Expunge{Box: trash.ID, UIDs: mailbox.AllUIDs()})
		}
	})
}

func BenchmarkAccounts1000(b *testing.B) {
	s := open(b, mailbox.Options{MaxOpen: 2000})
	var next atomic.Int64
	var wg sync.WaitGroup
	const accounts = 1000
	deliver := func(k int64) error {
		a, err := s.Account(context.Background(), mail.AccountID(fmt.Sprint("a", k%accounts)))
		if err != nil {
			return err
		}
		defer a.Close()
		box, err := a.Box(context.Background(), mailbox.Inbox)
		if err != nil {
			return err
		}
		id, err := a.Stage(context.Background(), strings.NewReader(benchLetter))
		if err != nil {
			return err
		}
		_, err = a.Apply(context.Background(), mailbox.Add{Box: box.ID, Blob: id, Key: fmt.Sprint(k)})
		return err
	}
	for k := range int64(accounts) {
		if err := deliver(k); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for range 32 {
		wg.Go(func() {
			for {
				k := next.Add(1)
				if k > int64(b.N) {
					return
				}
				if err := deliver(k); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkSuspectsCold is the first question after a start: open the store, the account and its index, and ask for a rare word.
func BenchmarkSuspectsCold(b *testing.B) {
	const n = 10_000
	dir := b.TempDir()
	ask := func(done func(mailbox.Account) bool) {
		s, err := mailbox.OpenSQLite(mailbox.Options{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		a, err := s.Account(context.Background(), "alice")
		if err != nil {
			b.Fatal(err)
		}
		for !done(a) {
		}
		b.StopTimer()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	ask(func(a mailbox.Account) bool {
		letters := mailtest.NewLetters()
		for i := range n {
			id, err := a.Stage(context.Background(), strings.NewReader(letters.Message(map[bool]string{true: "quetzalcoatlus"}[i%500 == 33])))
			if err != nil {
				b.Fatal(err)
			}
			apply(b, a, mailbox.Add{Box: 1, Blob: id})
		}
		return true
	})
	ask(func(a mailbox.Account) bool { return a.Fuzzy(context.Background(), mailbox.Anywhere, "x").Known(n) })
	b.ResetTimer()
	for b.Loop() {
		ask(func(a mailbox.Account) bool {
			if found := a.Suspects(context.Background(), []byte("QUETZALCOATLUS"))[0]; found.Has(1) {
				b.Fatal("not indexed")
			}
			return true
		})
	}
}

// BenchmarkSeen100000 marks one message of a shared box as another user, and looks at the box as that user.
func BenchmarkSeen100000(b *testing.B) {
	s := open(b, mailbox.Options{})
	a, err := s.Account(b.Context(), "alice")
	if err != nil {
		b.Fatal(err)
	}
	bob, err := s.AccountAs(b.Context(), "alice", "bob")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { a.Close(); bob.Close() })
	inbox, err := a.Box(b.Context(), mailbox.Inbox)
	if err != nil {
		b.Fatal(err)
	}
	fillLight(b, a, inbox.ID, 100_000)
	seen := mailbox.Marks{System: mailbox.Seen}
	apply(b, bob, mailbox.SetFlags{Box: inbox.ID, UIDs: mailbox.AllUIDs(), Marks: seen})
	for i := 0; b.Loop(); i++ {
		uid := mailbox.UID(1 + i*7919%100_000)
		apply(b, bob, mailbox.SetFlags{Box: inbox.ID, UIDs: mailbox.UIDSet{{First: uid, Last: uid}}, Op: mailbox.FlagOp(i % 2), Marks: seen})
		if _, err := bob.Snapshot(b.Context(), inbox.ID); err != nil {
			b.Fatal(err)
		}
	}
}
