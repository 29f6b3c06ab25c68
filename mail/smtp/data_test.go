package smtp

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// readers give the same octets in other pieces, since an end of data may be cut anywhere.
func readers(in string) map[string]*bufio.Reader {
	return map[string]*bufio.Reader{
		"at once":         bufio.NewReaderSize(strings.NewReader(in), 1<<16),
		"small buffer":    bufio.NewReaderSize(strings.NewReader(in), 16),
		"octet by octet":  bufio.NewReaderSize(iotest.OneByteReader(strings.NewReader(in)), 16),
		"half by half":    bufio.NewReaderSize(iotest.HalfReader(strings.NewReader(in)), 32),
		"data with error": bufio.NewReaderSize(iotest.DataErrReader(strings.NewReader(in)), 64),
	}
}

func TestReadData(t *testing.T) {
	for _, c := range []struct {
		in, out, rest string
		refusal       error
	}{
		{in: ".\r\n"},
		{in: "a\r\n.\r\nQUIT\r\n", out: "a\r\n", rest: "QUIT\r\n"},
		{in: "\r\n.\r\n", out: "\r\n"},
		{in: "..\r\n.\r\n", out: ".\r\n"},
		{in: "...a\r\n..b\r\n.c\r\n.\r\n", out: "..a\r\n.b\r\nc\r\n"},
		{in: "a.\r\n.\r\n", out: "a.\r\n"},
		{in: "a\r\n..\r\n..\r\n\r\n.\r\n.\r\n", out: "a\r\n.\r\n.\r\n\r\n", rest: ".\r\n"},
		// Wrong ends of data: the data goes on to the right one and is refused.
		{in: "a\n.\nMAIL\r\n.\r\nx", rest: "x", refusal: ErrBareLine},
		{in: "a\n.\r\nMAIL\r\n.\r\nx", rest: "x", refusal: ErrBareLine},
		{in: "a\r\n.\nMAIL\r\n.\r\nx", rest: "x", refusal: ErrBareLine},
		{in: "a\r.\rMAIL\r\n.\r\nx", rest: "x", refusal: ErrBareLine},
		{in: "a\r\n.\rMAIL\r\n.\r\nx", rest: "x", refusal: ErrBareLine},
		{in: "a\r.\r\nMAIL\r\n.\r\nx", rest: "x", refusal: ErrBareLine},
		{in: "a\r\r\n.\r\nx", rest: "x", refusal: ErrBareLine},
		{in: "a\n\r\n.\r\nx", rest: "x", refusal: ErrBareLine},
		{in: "a\r\n.\r\r\nMAIL\r\n.\r\nx", rest: "x", refusal: ErrBareLine},
		{in: "\n.\r\n.\r\nx", rest: "x", refusal: ErrBareLine},
		{in: ".\n.\r\n\r\n.\r\nx", rest: "x", refusal: ErrBareLine},
		{in: ".\r.\r\n.\r\nx", rest: "x", refusal: ErrBareLine},
		{in: "a\r\x00\n.\r\nb\r\n.\r\nx", rest: "x", refusal: ErrBareLine},
		{in: "a\rb\r\n.\r\nx", rest: "x", refusal: ErrBareLine},
	} {
		for how, r := range readers(c.in) {
			var out bytes.Buffer
			refusal, err := ReadData(r, &out, 1000)
			rest, restErr := io.ReadAll(r)
			if err != nil || restErr != nil || !errors.Is(refusal, c.refusal) || string(rest) != c.rest {
				t.Errorf("%q %s: refusal %v, error %v, rest %q", c.in, how, refusal, err, rest)
			}
			if refusal == nil && out.String() != c.out {
				t.Errorf("%q %s: %q, want %q", c.in, how, out.String(), c.out)
			}
		}
	}
}

func TestReadDataEndsWithTheConnection(t *testing.T) {
	for _, in := range []string{"", ".", ".\r", "a", "a\r", "a\r\n", "a\r\n.", "a\r\n.\r", "a\r\n.\r\r", "a\n.\n"} {
		for how, r := range readers(in) {
			if _, err := ReadData(r, io.Discard, 1000); !errors.Is(err, io.EOF) {
				t.Errorf("%q %s: %v", in, how, err)
			}
		}
	}
}

func TestReadDataLimit(t *testing.T) {
	line := strings.Repeat("x", 98) + "\r\n"
	for _, c := range []struct {
		lines, limit int
		refusal, err error
	}{
		{10, 1000, nil, nil},
		{10, 999, ErrTooBig, nil},
		{10000, 999_999, ErrTooBig, nil},
		{20010, 1000, ErrTooBig, ErrEndless},
	} {
		in := strings.Repeat(line, c.lines) + ".\r\nrest"
		var out bytes.Buffer
		r := bufio.NewReader(strings.NewReader(in))
		refusal, err := ReadData(r, &out, int64(c.limit))
		if !errors.Is(refusal, c.refusal) || !errors.Is(err, c.err) || out.Len() > c.limit {
			t.Errorf("%d lines, limit %d: refusal %v, error %v, %d octets written", c.lines, c.limit, refusal, err, out.Len())
		}
		if rest, err := io.ReadAll(r); c.err == nil && (err != nil || string(rest) != "rest") {
			t.Errorf("%d lines, limit %d: rest %q, %v", c.lines, c.limit, rest, err)
		}
	}
}

type failing struct{ after int }

var errDisk = errors.New("disk")

func (f *failing) Write(p []byte) (int, error) {
	if f.after -= len(p); f.after < 0 {
		return 0, errDisk
	}
	return len(p), nil
}

// A writer that fails refuses the message; the data is read to its end.
func TestReadDataWriterFails(t *testing.T) {
	r := bufio.NewReaderSize(strings.NewReader(strings.Repeat("abc\r\n", 1000)+".\r\nrest"), 64)
	refusal, err := ReadData(r, &failing{100}, 1<<20)
	rest, restErr := io.ReadAll(r)
	if !errors.Is(refusal, errDisk) || err != nil || restErr != nil || string(rest) != "rest" {
		t.Errorf("refusal %v, error %v, rest %q", refusal, err, rest)
	}
}

func TestChunks(t *testing.T) {
	for _, c := range []struct {
		in, out string
		refusal error
	}{
		{in: "", out: ""},
		{in: "a\r\n.\r\nb\r\n", out: "a\r\n.\r\nb\r\n"},
		{in: "a\r\nb", out: "a\r\nb\r\n"},
		{in: "a\nb\r\n", refusal: ErrBareLine},
		{in: "\na\r\n", refusal: ErrBareLine},
		{in: "a\rb\r\n", refusal: ErrBareLine},
		{in: "a\r\r\n", refusal: ErrBareLine},
		{in: "a\r\n\r", refusal: ErrBareLine},
		{in: "\r\n\n", refusal: ErrBareLine},
		{in: strings.Repeat("0123456\r\n", 12), refusal: ErrTooBig},
	} {
		for chunk := 1; chunk <= len(c.in)+1; chunk++ {
			for how, r := range readers(c.in + "rest") {
				var out bytes.Buffer
				chunks := Chunks{W: &out, Limit: 100}
				for left := len(c.in); left > 0; {
					n := min(chunk, left)
					if _, err := chunks.Read(r, int64(n)); err != nil {
						t.Fatal(err)
					}
					left -= n
				}
				refusal := chunks.Close()
				rest, err := io.ReadAll(r)
				if !errors.Is(refusal, c.refusal) || err != nil || string(rest) != "rest" || refusal == nil && out.String() != c.out {
					t.Errorf("%q by %d %s: %q, refusal %v, rest %q, %v", c.in, chunk, how, out.String(), refusal, rest, err)
				}
			}
		}
	}
}

func TestChunksTooMuch(t *testing.T) {
	in := strings.Repeat("x", 3<<20)
	chunks := Chunks{W: io.Discard, Limit: 1000}
	if refusal, err := chunks.Read(bufio.NewReader(strings.NewReader(in)), 1<<62); !errors.Is(refusal, ErrTooBig) || !errors.Is(err, ErrEndless) {
		t.Errorf("refusal %v, error %v", refusal, err)
	}
	if refusal, err := (&Chunks{W: io.Discard, Limit: 10}).Read(bufio.NewReader(strings.NewReader("abc")), 5); refusal != nil || !errors.Is(err, io.EOF) {
		t.Errorf("refusal %v, error %v", refusal, err)
	}
}

// What DotWriter writes, ReadData reads back.
func FuzzReadData(f *testing.F) {
	for _, s := range []string{"", "a\r\n", ".\r\n", "..\r\na\r\n", "a\n.\n", "\r\n.\r\nMAIL\r\n", "a\r", strings.Repeat("ab\r\n.", 40)} {
		f.Add([]byte(s), 16)
	}
	f.Fuzz(func(t *testing.T, message []byte, buffer int) {
		var wire bytes.Buffer
		d := NewDotWriter(&wire)
		if _, err := d.Write(message); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		wire.WriteString("rest")
		r := bufio.NewReaderSize(&wire, 16+(buffer&0xff))
		var out bytes.Buffer
		refusal, err := ReadData(r, &out, 1<<20)
		if isBare(message) {
			if refusal == nil {
				t.Fatalf("%q was taken", message)
			}
			return
		}
		if refusal != nil || err != nil {
			t.Fatalf("%q: refusal %v, error %v", message, refusal, err)
		}
		want := message
		if len(want) > 0 && !bytes.HasSuffix(want, []byte("\r\n")) {
			want = append(bytes.Clone(want), "\r\n"...)
		}
		if !bytes.Equal(out.Bytes(), want) {
			t.Fatalf("%q became %q", message, out.Bytes())
		}
		if rest, _ := io.ReadAll(r); string(rest) != "rest" {
			t.Fatalf("rest %q", rest)
		}
	})
}

func isBare(message []byte) bool {
	return bytes.ContainsAny(bytes.ReplaceAll(message, []byte("\r\n"), nil), "\r\n")
}

func BenchmarkReadData(b *testing.B) {
	body := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 910)
	wire := body + ".\r\n"
	b.SetBytes(int64(len(wire)))
	b.ReportAllocs()
	src := strings.NewReader(wire)
	r := bufio.NewReaderSize(src, 64<<10)
	for b.Loop() {
		src.Reset(wire)
		r.Reset(src)
		if refusal, err := ReadData(r, io.Discard, 1<<20); refusal != nil || err != nil {
			b.Fatal(refusal, err)
		}
	}
}
