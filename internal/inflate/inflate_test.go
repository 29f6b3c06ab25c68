package inflate

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// deflate compresses, and flushes after each piece.
func deflate(t testing.TB, level int, pieces ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pieces {
		_, err := w.Write(p)
		if err := errors.Join(err, w.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// text is like mail: words again and again, and stretches that are not.
func text(r *rand.Rand, n int) []byte {
	b := make([]byte, 0, n+100)
	for len(b) < n {
		switch r.IntN(5) {
		case 0:
			for range r.IntN(40) {
				b = append(b, byte(r.Uint32()))
			}
		case 1:
			b = append(b, bytes.Repeat([]byte{byte(r.IntN(256))}, r.IntN(600))...)
		default:
			b = fmt.Appendf(b, "* %d FETCH (UID %d FLAGS (\\Seen))\r\n", r.IntN(9), r.IntN(999))
		}
	}
	return b[:n]
}

func TestReadsWhatOthersWrite(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
		for _, n := range []int{0, 1, 100, 5_000, 70_000, 300_000} {
			want := text(r, n)
			in := deflate(t, level, want[:n/3], want[n/3:])
			for name, reader := range map[string]io.Reader{"at once": bytes.NewReader(in), "octet by octet": iotest.OneByteReader(bytes.NewReader(in))} {
				got, err := io.ReadAll(NewReader(reader))
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("level %d, %d octets, %s: %d octets came, %v", level, n, name, len(got), err)
				}
			}
		}
	}
}

// What zlib's deflate made of commands, each ended by Z_PARTIAL_FLUSH: each is there when its octets are, though the last bits of the
// empty block behind it are not.
func TestGivesOnAtOnce(t *testing.T) {
	lines, err := os.ReadFile("testdata/partial.txt")
	if err != nil {
		t.Fatal(err)
	}
	in, out := io.Pipe()
	defer out.Close()
	r := NewReader(in)
	for line := range strings.Lines(string(lines)) {
		cut := strings.LastIndexByte(line, ' ')
		want, octets := line[:cut]+"\r\n", strings.TrimSpace(line[cut+1:])
		data, err := hex.DecodeString(octets)
		if err != nil {
			t.Fatal(err)
		}
		go out.Write(data)
		got := make([]byte, len(want))
		read := make(chan error, 1)
		go func() { _, err := io.ReadFull(r, got); read <- err }()
		select {
		case err := <-read:
			if err != nil || string(got) != want {
				t.Fatalf("%q, %v", got, err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("waits for more than %q", want)
		}
	}
}

func TestRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"a block of no kind":    "07",
		"a stored block's size": "0001000000",
		"too many codes":        "0500000000000000000000000000ffffffffff",
		"no end of a block":     "04c0810800000000",
	} {
		data, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadAll(NewReader(io.MultiReader(bytes.NewReader(data), bytes.NewReader(make([]byte, 100)))))
		if !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever comes ends, and what the standard library reads is read as the same.
func FuzzReader(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for level := flate.HuffmanOnly; level <= flate.BestCompression; level += 2 {
		f.Add(deflate(f, level, text(r, 2000)))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		const most = 1 << 20
		want, failed := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(in)), most))
		got, err := io.ReadAll(io.LimitReader(NewReader(bytes.NewReader(in)), most))
		if failed == nil && !bytes.HasPrefix(got, want) {
			t.Fatalf("%d octets, %v, but %d octets by the standard library", len(got), err, len(want))
		}
	})
}

func BenchmarkReader(b *testing.B) {
	data := text(rand.New(rand.NewPCG(5, 6)), 1<<20)
	in := deflate(b, 6, data)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := io.Copy(io.Discard, NewReader(bytes.NewReader(in))); err != nil {
			b.Fatal(err)
		}
	}
}
