package index

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"posthouse/mail/mailtest"
	"posthouse/mail/mime"
)

// fillBench indexes n messages; every 500th has a rare word.
func fillBench(b *testing.B, x *Index, n int) (octets int64, messages []string, roots []*mime.Part) {
	l := mailtest.NewLetters()
	batch := NewBatch()
	for i := range n {
		text := ""
		if i%500 == 33 {
			text = "quetzalcoatlus sighting"
		}
		m := l.Message(text)
		root := parse(b, m)
		octets += int64(len(m))
		if err := batch.Add(Content{ID: int64(i + 1), Root: root}, strings.NewReader(m)); err != nil {
			b.Fatal(err)
		}
		if batch.Full() || i == n-1 {
			if err := x.Commit(context.Background(), batch, int64(i+1-batch.Len()), int64(i+1)); err != nil {
				b.Fatal(err)
			}
			batch = NewBatch()
			for more := true; more; {
				var err error
				if more, err = x.Tidy(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
		}
		if len(messages) < 500 {
			messages, roots = append(messages, m), append(roots, root)
		}
	}
	return octets, messages, roots
}

func BenchmarkIndex(b *testing.B) {
	path := filepath.Join(b.TempDir(), "index.db")
	x, err := Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer x.Close()
	const n = 10_000
	var octets int64
	b.Run("build", func(b *testing.B) {
		var messages []string
		var roots []*mime.Part
		octets, messages, roots = fillBench(b, x, n)
		b.ReportMetric(float64(octets)/n, "octets/message")
		for b.Loop() {
			batch := NewBatch()
			for i, m := range messages {
				if err := batch.Add(Content{ID: int64(i + 1), Root: roots[i]}, strings.NewReader(m)); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(messages)), "µs/message")
	})
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("%d MB of mail, index %.1f %%", octets>>20, 100*float64(info.Size())/float64(octets))
	for _, text := range []string{"quetzalcoatlus", "etzalcoat", "nosuchwordhere", "gorakatum", "quetzalcoatlus sighting", "xy", "the"} {
		b.Run(text, func(b *testing.B) {
			collated := mime.AppendCollated(nil, []byte(text))
			suspects := 0
			for b.Loop() {
				s, err := x.Suspects(context.Background(), collated)
				if err != nil {
					b.Fatal(err)
				}
				suspects = s[0].found.count()
			}
			b.ReportMetric(float64(suspects), "suspects")
		})
	}
	b.Run("fuzzy", func(b *testing.B) {
		for b.Loop() {
			if _, err := x.Fuzzy(context.Background(), "", "quetzal"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
