package mta

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// The filter finds the header wherever the pieces are cut, and passes the rest on as it is.
func TestHeaderFilter(t *testing.T) {
	for in, header := range map[string]string{
		"":                 "",
		"\r\n":             "\r\n",
		"\r\nbody\r\n\r\n": "\r\n",
		"A: b\r\n":         "A: b\r\n",
		"A: b\r\n\r\n":     "A: b\r\n\r\n",
		"A: b\r\nC: d\r\n\r\nbody\r\n\r\nmore\r\n": "A: b\r\nC: d\r\n\r\n",
	} {
		for piece := 1; piece <= len(in)+1; piece++ {
			var out bytes.Buffer
			var got string
			edits := 0
			f := headerFilter{w: &out, limit: 100, edit: func(h []byte) ([]byte, error) {
				edits++
				got = string(h)
				return []byte("[" + got + "]"), nil
			}}
			for rest := in; rest != ""; {
				n := min(piece, len(rest))
				if _, err := io.WriteString(&f, rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if want := "[" + header + "]" + in[len(header):]; edits != 1 || got != header || out.String() != want {
				t.Errorf("%q by %d: header %q, written %q", in, piece, got, out.String())
			}
		}
	}
}

func TestHeaderFilterLimit(t *testing.T) {
	for n, want := range map[int]error{100: nil, 101: errHeaderLong} {
		header := "A: " + strings.Repeat("x", n-7) + "\r\n\r\n"
		for how, r := range map[string]io.Reader{"whole": strings.NewReader(header + "body"), "octets": iotest.OneByteReader(strings.NewReader(header + "body"))} {
			f := headerFilter{w: io.Discard, limit: 100, edit: func([]byte) ([]byte, error) { return nil, nil }}
			if _, err := io.Copy(struct{ io.Writer }{&f}, r); !errors.Is(err, want) {
				t.Errorf("%d octets, %s: %v", n, how, err)
			}
		}
	}
}

// A header that comes octet by octet costs no more to search than one that comes whole.
func TestHeaderFilterIsLinear(t *testing.T) {
	header := strings.Repeat("A: b\r\n", 100_000/6)
	f := headerFilter{w: io.Discard, limit: 1 << 20, edit: func([]byte) ([]byte, error) { return nil, nil }}
	if n := testing.AllocsPerRun(1, func() {
		for i := range len(header) {
			if _, err := f.Write([]byte(header[i : i+1])); err != nil {
				t.Fatal(err)
			}
		}
	}); n > 250_000 {
		t.Errorf("%v allocations", n)
	}
}

func TestClaims(t *testing.T) {
	for value, want := range map[string]bool{
		" mail.south.test; spf=pass":              true,
		"MAIL.SOUTH.TEST;":                        true,
		" mail.south.test 1; none":                true,
		"\r\n\tmail.south.test\r\n ;":             true,
		" (a (nested) comment) mail.south.test;":  true,
		` (with \) in it) mail.south.test;`:       true,
		` "mail.south.test";`:                     true,
		` "mail.sou\th.test";`:                    true,
		` "unclosed`:                              true,
		" (unclosed mail.north.test;":             true,
		" ; spf=pass":                             true,
		"":                                        true,
		" mail.south.test.;":                      true,
		" mail.south.test(comment);":              true,
		" mail.north.test; spf=pass":              false,
		" (mail.south.test) mail.north.test;":     false,
		" sub.mail.south.test;":                   false,
		" mail.south.test.example;":               false,
		` "mail.north.test"; x="mail.south.test"`: false,
	} {
		if got := claims([]byte(value), "mail.south.test"); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
}

// The buffer grows with what comes, keeps every octet in order, and is small again when nothing does.
func TestInput(t *testing.T) {
	text := strings.Repeat("0123456789abcdef\r\n", 20_000)
	for how, r := range map[string]io.Reader{
		"large": strings.NewReader(text), "octets": iotest.OneByteReader(strings.NewReader(text)), "halves": iotest.HalfReader(strings.NewReader(text)),
	} {
		var in input
		var pool buffers
		in.init(&pool, r.Read)
		var out bytes.Buffer
		for out.Len() < len(text) {
			if _, err := in.Peek(min(17, len(text)-out.Len())); err != nil {
				t.Fatalf("%s: %v", how, err)
			}
			p, err := in.Peek(in.Buffered())
			if err != nil {
				t.Fatal(err)
			}
			n := max(1, len(p)-3)
			out.Write(p[:n])
			if _, err := in.Discard(n); err != nil {
				t.Fatal(err)
			}
		}
		if out.String() != text {
			t.Errorf("%s: the octets differ", how)
		}
		if how == "large" && len(in.buf) != largeBuffer {
			t.Errorf("%s: the buffer has %d octets", how, len(in.buf))
		}
		if how == "octets" && len(in.buf) != smallBuffer {
			t.Errorf("%s: the buffer has %d octets", how, len(in.buf))
		}
		in.rest()
		if len(in.buf) != smallBuffer || in.lent != nil {
			t.Errorf("%s: at rest the buffer has %d octets", how, len(in.buf))
		}
	}
}

func TestInputLine(t *testing.T) {
	for _, c := range []struct {
		in, line string
		err      error
	}{
		{"NOOP\r\n", "NOOP", nil},
		{"\r\n", "", nil},
		{"\n", "", errLineEnding},
		{"NOOP\n", "", errLineEnding},
		{"NO\rOP\r\n", "", errLineControl},
		{"NOOP\r\r\n", "", errLineControl},
		{"a\x00\r\n", "", errLineControl},
		{"a\tb\r\n", "a\tb", nil},
		{strings.Repeat("x", 98) + "\r\n", strings.Repeat("x", 98), nil},
		{strings.Repeat("x", 99) + "\r\n", "", errLineLong},
		{strings.Repeat("x", 60_000) + "\r\n", "", errLineLong},
		{strings.Repeat("x", 200_000), "", errNoise},
	} {
		for how, r := range map[string]io.Reader{"whole": strings.NewReader(c.in + "NEXT\r\n"), "octets": iotest.OneByteReader(strings.NewReader(c.in + "NEXT\r\n"))} {
			var in input
			in.init(new(buffers), r.Read)
			line, err := in.line(100)
			if string(line) != c.line || !errors.Is(err, c.err) {
				t.Errorf("%.20q %s: %q, %v", c.in, how, line, err)
			}
			if c.err == errNoise {
				continue
			}
			if line, err := in.line(100); string(line) != "NEXT" || err != nil {
				t.Errorf("%.20q %s: then %q, %v", c.in, how, line, err)
			}
		}
	}
}
