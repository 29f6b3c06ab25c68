package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func testLimits() Limits { return Limits{Line: 8 << 10, Literal: 4 << 10, Depth: 8, Discard: 64 << 10} }

// smallDecoder has a buffer that most lines do not fit.
func smallDecoder(r io.Reader) *Decoder {
	d := NewDecoder(r)
	d.r = bufio.NewReaderSize(&d.from, 64)
	return d
}

// decode is a decoder before the first command of input, and what it asks the client for.
func decode(t testing.TB, input string) (*Decoder, *strings.Builder) {
	t.Helper()
	asked := &strings.Builder{}
	d := smallDecoder(strings.NewReader(input))
	d.Limits = testLimits()
	d.Continue = func() error {
		asked.WriteByte('+')
		return nil
	}
	if err := d.Next(); err != nil {
		t.Fatal(err)
	}
	return d, asked
}

// element is one method of the decoder, as a function that gives its value.
type element func(*Decoder) (any, bool)

func text(f func(*Decoder, *string) bool) element {
	return func(d *Decoder) (any, bool) {
		var s string
		ok := f(d, &s)
		return s, ok
	}
}

func TestElements(t *testing.T) {
	number := func(d *Decoder) (any, bool) { var n uint32; ok := d.Number(&n); return n, ok }
	nz := func(d *Decoder) (any, bool) { var n uint32; ok := d.NZNumber(&n); return n, ok }
	number64 := func(d *Decoder) (any, bool) { var n int64; ok := d.Number64(&n); return n, ok }
	for _, c := range []struct {
		name    string
		element element
		input   string
		want    any // nil: it must not be there
		rest    string
	}{
		{"tag", text((*Decoder).Tag), "a.1-x NOOP", "a.1-x", " NOOP"},
		{"tag]", text((*Decoder).Tag), "a] NOOP", "a]", " NOOP"},
		{"tag+", text((*Decoder).Tag), "+ NOOP", nil, ""},
		{"tag(", text((*Decoder).Tag), "(", nil, ""},
		{"tag empty", text((*Decoder).Tag), "", nil, ""},
		{"tag 8-bit", text((*Decoder).Tag), "\xe9 NOOP", nil, ""},
		{"tag longest", text((*Decoder).Tag), strings.Repeat("t", MaxTag) + " ", strings.Repeat("t", MaxTag), " "},
		{"tag too long", text((*Decoder).Tag), strings.Repeat("t", MaxTag+1), nil, ""},
		{"atom", text((*Decoder).Atom), "a]b", "a", "]b"},
		{"atom [", text((*Decoder).Atom), "BODY[x", "BODY[x", ""},
		{"atom none", text((*Decoder).Atom), "(", nil, ""},
		{"label", text((*Decoder).Label), "body.peek[x", "BODY.PEEK", "[x"},
		{"label =", text((*Decoder).Label), "auth=plain ", "AUTH=PLAIN", " "},
		{"astring atom", text((*Decoder).AString), "a]b c", "a]b", " c"},
		{"astring quoted", text((*Decoder).AString), `"a \"b\\" c`, `a "b\`, " c"},
		{"astring UTF-8", text((*Decoder).AString), `"ü"`, "ü", ""},
		{"astring bad UTF-8", text((*Decoder).AString), "\"\xc3(\"", nil, ""},
		{"astring empty", text((*Decoder).AString), `"" x`, "", " x"},
		{"astring open", text((*Decoder).AString), `"abc`, nil, ""},
		{"astring escape", text((*Decoder).AString), `"a\b"`, nil, ""},
		{"astring escape at end", text((*Decoder).AString), `"a\`, nil, ""},
		{"astring 8-bit atom", text((*Decoder).AString), "\xc3\xbc", nil, ""},
		{"astring %", text((*Decoder).AString), "%", nil, ""},
		{"nstring NIL", text((*Decoder).NString), "nil)", "", ")"},
		{"nstring NILS", text((*Decoder).NString), "NILS", nil, ""},
		{"nstring", text((*Decoder).NString), `"NIL"`, "NIL", ""},
		{"list-mailbox", text((*Decoder).ListMailbox), "a%/*]b (", "a%/*]b", " ("},
		{"literal", text((*Decoder).AString), "{3+}\r\na\"b rest", `a"b`, " rest"},
		{"literal with lines", text((*Decoder).AString), "{6+}\r\na\r\nb\r\n rest", "a\r\nb\r\n", " rest"},
		{"literal empty", text((*Decoder).AString), "{0+}\r\n rest", "", " rest"},
		{"literal inside", text((*Decoder).AString), "{3+} x", nil, ""},
		{"literal8 as string", text((*Decoder).String), "~{3+}\r\nabc", nil, ""},
		{"literal with NUL", text((*Decoder).AString), "{3+}\r\na\x00b", nil, ""},
		{"number", number, "4294967295x", uint32(4294967295), "x"},
		{"number over", number, "4294967296", nil, ""},
		{"number far over", number, strings.Repeat("9", 100), nil, ""},
		{"number none", number, "x", nil, ""},
		{"number negative", number, "-1", nil, ""},
		{"nz 0", nz, "0", nil, ""},
		{"number64", number64, "9223372036854775807 ", int64(9223372036854775807), " "},
		{"number64 over", number64, "9223372036854775808", nil, ""},
		{"SP", func(d *Decoder) (any, bool) { return "", d.SP() }, "  ", "", " "},
		{"no SP", func(d *Decoder) (any, bool) { return "", d.SP() }, "\t", nil, ""},
		{"word", func(d *Decoder) (any, bool) { return "", d.Word("RETURN") }, "return (", "", " ("},
		{"word longer", func(d *Decoder) (any, bool) { return "", d.Word("RETURN") }, "RETURNS", nil, ""},
		{"word shorter", func(d *Decoder) (any, bool) { return "", d.Word("RETURN") }, "RET", nil, ""},
		{"line", text((*Decoder).Line), " a b", " a b", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, _ := decode(t, c.input+"\r\n")
			got, ok := c.element(d)
			switch {
			case c.want == nil && ok:
				t.Fatalf("decoded %v", got)
			case c.want == nil:
				if d.Err() == nil {
					t.Fatal("no error")
				}
				return
			case !ok:
				t.Fatal(d.Err())
			}
			var rest string
			if got != c.want || !d.Line(&rest) || rest != c.rest {
				t.Errorf("got %q, rest %q; want %q, rest %q", got, rest, c.want, c.rest)
			}
		})
	}
}

func TestSet(t *testing.T) {
	for input, want := range map[string]string{
		"1": "{[{1 1}] false}", "*": "{[{0 0}] false}", "2:4": "{[{2 4}] false}", "4:2": "{[{2 4}] false}", "*:4": "{[{4 0}] false}",
		"4:*": "{[{4 0}] false}", "*:*": "{[{0 0}] false}", "1,3:5,*": "{[{1 1} {3 5} {0 0}] false}", "$": "{[] true}",
		"4294967295": "{[{4294967295 4294967295}] false}",
		"0":          "", "1:": "", ":1": "", ",1": "", "1,": "", "1:2:3": "{[{1 2}] false}", "a": "", "4294967296": "", "1-2": "{[{1 1}] false}",
	} {
		d, _ := decode(t, input+"\r\n")
		var s Set
		got := ""
		if d.Set(&s) {
			got = fmt.Sprint(s)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", input, got, want)
		}
	}
}

func TestList(t *testing.T) {
	for input, want := range map[string]string{
		"()": "[]", "(a)": "[a]", "(a b)": "[a b]", "(a  b)": "", "( a)": "", "(a )": "", "(a": "", "a": "", "(a(b))": "",
	} {
		d, _ := decode(t, input+"\r\n")
		items := []string{}
		got := ""
		if d.List(func() bool {
			var s string
			ok := d.Atom(&s)
			items = append(items, s)
			return ok
		}) {
			got = fmt.Sprint(items)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", input, got, want)
		}
	}
	d, _ := decode(t, "()\r\n")
	if d.List1(func() bool { return true }) {
		t.Error("List1 took an empty list")
	}
}

func TestDepth(t *testing.T) {
	nested := func(n int) error {
		d, _ := decode(t, strings.Repeat("(", n)+"a"+strings.Repeat(")", n)+"\r\n")
		var item func() bool
		item = func() bool {
			var s string
			if d.At('(') {
				return d.List(item)
			}
			return d.Atom(&s)
		}
		if !item() {
			return d.Err()
		}
		return nil
	}
	if err := nested(8); err != nil {
		t.Error(err)
	}
	if err := nested(9); !errors.Is(err, ErrDepth) {
		t.Error(err)
	}
}

// Whatever is refused, the next command begins where the refused one ends: RFC 7888 §3.
func TestFinish(t *testing.T) {
	const next = "b NOOP\r\n"
	for name, c := range map[string]struct {
		input string
		err   error // of decoding a string after the tag; nil: the syntax
		asks  string
	}{
		"nothing":                         {"a x y\r\n", nil, ""},
		"literal after an error":          {"a ( {3+}\r\nabc\r\n", nil, ""},
		"two literals":                    {"a ( {3+}\r\nabc {4+}\r\n\r\n\r\n\r\n", nil, ""},
		"literal8":                        {"a ( ~{3+}\r\na\x00c\r\n", nil, ""},
		"too big":                         {"a {4097+}\r\n" + strings.Repeat("x", 4097) + "\r\n", ErrLiteral, ""},
		"too big together":                {"a {4000+}\r\n" + strings.Repeat("x", 4000) + " {97+}\r\n" + strings.Repeat("x", 97) + "\r\n", ErrLiteral, ""},
		"synchronizing, refused":          {"a ( {3}\r\n", nil, ""},
		"synchronizing, too big":          {"a {4097}\r\n", ErrLiteral, ""},
		"synchronizing, then too big":     {"a {3}\r\nabc {4097}\r\n", ErrLiteral, "+"},
		"line too long":                   {"a " + strings.Repeat("x", 9000) + "\r\n", ErrLine, ""},
		"line too long, with literal":     {"a " + strings.Repeat("x", 9000) + " {3+}\r\nabc\r\n", ErrLine, ""},
		"lines too long together":         {"a {1+}\r\nx" + strings.Repeat("x", 8190) + "\r\n", ErrLine, ""},
		"second line too long, literal":   {"a {1+}\r\nx" + strings.Repeat("x", 9000) + "{3+}\r\nabc\r\n", ErrLine, ""},
		"bare LF":                         {"a x\n", ErrLineEnd, ""},
		"bare LF, with literal":           {"a {3+}\nabc\r\n", ErrLineEnd, ""},
		"bare CR":                         {"a \rx\r\n", ErrLineEnd, ""},
		"NUL":                             {"a \x00\r\n", ErrNUL, ""},
		"NUL, with literal":               {"a \x00 {3+}\r\nabc\r\n", ErrNUL, ""},
		"NUL in a literal":                {"a {3+}\r\na\x00c\r\n", ErrNUL, ""},
		"braces that are no literal":      {"a ( {3+} {+}\r\n", nil, ""},
		"braces that are no literal, too": {"a ( {x+}\r\n", nil, ""},
		"no brace":                        {"a ( 3+}\r\n", nil, ""},
	} {
		for _, how := range []string{"whole", "octet by octet"} {
			t.Run(name+", "+how, func(t *testing.T) {
				var r io.Reader = strings.NewReader(c.input + next)
				if how != "whole" {
					r = iotest.OneByteReader(r)
				}
				d := smallDecoder(r)
				d.Limits = testLimits()
				asked := ""
				d.Continue = func() error { asked += "+"; return nil }
				if err := d.Next(); err != nil {
					t.Fatal(err)
				}
				var tag, s string
				if !d.Tag(&tag) || tag != "a" {
					t.Fatalf("tag %q", tag)
				}
				for d.SP() && d.String(&s) {
				}
				var syntax *SyntaxError
				if err := d.Err(); c.err == nil && !errors.As(err, &syntax) || c.err != nil && !errors.Is(err, c.err) {
					t.Errorf("error %v, want %v", err, c.err)
				}
				if asked != c.asks {
					t.Errorf("asked %q, want %q", asked, c.asks)
				}
				if err := d.Finish(); err != nil {
					t.Fatal(err)
				}
				if err := d.Next(); err != nil || !d.Tag(&tag) || tag != "b" || !d.SP() || !d.Word("NOOP") || !d.End() {
					t.Errorf("the next command is not what it was: %q, %v, %v", tag, err, d.Err())
				}
			})
		}
	}
}

func TestUnframed(t *testing.T) {
	for name, input := range map[string]string{
		"a line that does not end":  "a " + strings.Repeat("x", 80_000),
		"a literal beyond reason":   "a ( {65537+}\r\n",
		"a literal beyond numbers":  "a ( {99999999999999999999999+}\r\n",
		"literals without end":      "a ( " + strings.Repeat("{1+}\r\nx", 20_000),
		"empty literals, no end":    "a ( " + strings.Repeat("{0+}\r\n", 20_000),
		"many lines that are long":  "a " + strings.Repeat(strings.Repeat("y", 10_000)+"{0+}\r\n", 20),
		"long lines of a bare size": strings.Repeat(strings.Repeat("y", 10_000)+"{0+}\r\n", 20),
	} {
		t.Run(name, func(t *testing.T) {
			r := &counter{r: strings.NewReader(input)}
			d := smallDecoder(r)
			d.Limits = testLimits()
			err := d.Next()
			if err == nil {
				err = d.Finish()
			}
			if !errors.Is(err, ErrUnframed) || !errors.Is(d.Gone(), ErrUnframed) {
				t.Errorf("error %v", err)
			}
			if r.n > 80_000 {
				t.Errorf("%d octets were read", r.n)
			}
			if cap(d.long) > 32<<10 {
				t.Errorf("a line of %d octets was kept", cap(d.long))
			}
		})
	}
}

type counter struct {
	r io.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

func TestStreamedLiteral(t *testing.T) {
	d, asked := decode(t, "a {5}\r\nhello rest\r\nb\r\n")
	var tag, rest string
	var l Literal
	if !d.Tag(&tag) || !d.SP() || !d.Literal(&l) {
		t.Fatal(d.Err())
	}
	if asked.String() != "" {
		t.Error("asked for before it is read")
	}
	if d.SP() {
		t.Error("decoded before the literal was read")
	}
	got, err := io.ReadAll(&l)
	if err != nil || string(got) != "hello" || l.Size != 5 || asked.String() != "+" {
		t.Errorf("%q, %v, %d, asked %q", got, err, l.Size, asked)
	}
	if !d.SP() || !d.Atom(&rest) || rest != "rest" || !d.End() {
		t.Error(d.Err())
	}
}

func TestStreamedLiteralAbandoned(t *testing.T) {
	for _, input := range []string{"a {5+}\r\nhello\r\nb\r\n", "a ~{5+}\r\nhel\x00o {2+}\r\n12\r\nb\r\n"} {
		d, _ := decode(t, input)
		var tag string
		var l Literal
		if !d.Tag(&tag) || !d.SP() || !d.Literal(&l) && !d.Literal8(&l) {
			t.Fatal(d.Err())
		}
		if _, err := io.ReadFull(&l, make([]byte, 2)); err != nil {
			t.Fatal(err)
		}
		if err := d.Finish(); err != nil {
			t.Fatal(err)
		}
		if err := d.Next(); err != nil || !d.Tag(&tag) || tag != "b" {
			t.Errorf("%q, %v", tag, err)
		}
	}
}

func TestCutOff(t *testing.T) {
	for _, input := range []string{"a NOOP", "a {5+}\r\nhel", "a {5+}\r\nhello", "a {5}\r\n"} {
		d, _ := decodeOrLost(input)
		var tag, s string
		if d.Tag(&tag) && d.SP() && d.String(&s) && d.End() {
			t.Errorf("%q was a whole command", input)
		}
		if err := d.Finish(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q: %v", input, err)
		}
	}
	d := NewDecoder(strings.NewReader(""))
	d.Limits = testLimits()
	if err := d.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("the end between commands: %v", err)
	}
}

func decodeOrLost(input string) (*Decoder, error) {
	d := smallDecoder(strings.NewReader(input))
	d.Limits = testLimits()
	d.Continue = func() error { return nil }
	return d, d.Next()
}

func TestDates(t *testing.T) {
	for _, c := range []struct{ input, date, dateTime string }{
		{"1-Feb-1994", "1994-02-01T00:00:00Z", ""},
		{"01-feb-1994", "1994-02-01T00:00:00Z", ""},
		{`"1-Feb-1994"`, "1994-02-01T00:00:00Z", ""},
		{"29-Feb-1995", "", ""},
		{"001-Feb-1994", "", ""},
		{"1-Feb-94", "", ""},
		{"1-2-1994", "", ""},
		{`"17-Jul-1996 02:44:25 -0700"`, "", "1996-07-17T02:44:25-07:00"},
		{`" 7-Jul-1996 02:44:25 +0130"`, "", "1996-07-07T02:44:25+01:30"},
		{`"7-Jul-1996 02:44:25 +0130"`, "", ""},
		{`"17-Jul-1996 02:44:25"`, "", ""},
		{`"17-Jul-1996 02:44:25.5 +000"`, "", ""},
		{`"17-Jul-1996 24:44:25 +0000"`, "", ""},
		{`17-Jul-1996`, "1996-07-17T00:00:00Z", ""},
	} {
		for want, decodeTime := range map[string]func(*Decoder) string{
			c.date:     func(d *Decoder) string { return format(d.Date) },
			c.dateTime: func(d *Decoder) string { return format(d.DateTime) },
		} {
			if c.date == c.dateTime {
				want = ""
			}
			d, _ := decode(t, c.input+"\r\n")
			if got := decodeTime(d); got != want {
				t.Errorf("%s: %q, want %q", c.input, got, want)
			}
		}
	}
}

// seen calls look before each read.
type seen struct {
	io.Reader
	look func()
}

func (s seen) Read(p []byte) (int, error) {
	s.look()
	return s.Reader.Read(p)
}

// Who waits for a command needs no buffer, and loses nothing of it.
func TestWait(t *testing.T) {
	var d *Decoder
	buffered := true
	octets := iotest.OneByteReader(strings.NewReader("a NOOP\r\nb NOOP\r\n"))
	d = NewDecoder(seen{octets, func() { buffered = d.r != nil }})
	d.Limits = testLimits()
	for _, want := range []string{"a", "b"} {
		for range 3 { // there is more to wait for once only
			d.Wait()
			if buffered {
				t.Error("there is a buffer")
			}
		}
		var tag string
		if err := d.Next(); err != nil || !d.Tag(&tag) || tag != want || !d.SP() || !d.Word("NOOP") || !d.End() {
			t.Errorf("%q, %v, %v", tag, err, d.Err())
		}
	}
	if d.Wait(); !errors.Is(d.Gone(), io.EOF) || !errors.Is(d.Next(), io.EOF) {
		t.Error("the end does not end it:", d.Gone())
	}
}

// A refused command leaves nothing behind that the next one could see, and the decoder no larger.
func FuzzDecoder(f *testing.F) {
	for _, s := range []string{
		"a NOOP\r\n", "a LOGIN {3+}\r\nabc \"d\\\"e\"\r\n", "a FETCH 1:*,3 (FLAGS BODY[1.2]<0.5>)\r\n", "a {5}\r\nhello\r\nb\r\n",
		"a (((((((((\r\n", "a ~{3+}\r\nabc\r\n", "\x00\r\n", "a x\n", "a {99999999999999999999+}\r\n", "a \"\xff\"\r\n",
		"a \"17-Jul-1996 02:44:25 -0700\"\r\n", "a 1-Feb-1994 $ * NIL\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		d := smallDecoder(bytes.NewReader(input))
		d.Limits = testLimits()
		d.Continue = func() error { return nil }
		for d.Wait(); d.Next() == nil; d.Wait() {
			var tag string
			if d.Tag(&tag) && (tag == "" || strings.ContainsAny(tag, " \r\n{(+")) {
				t.Fatalf("tag %q", tag)
			}
			for d.SP() && anything(d) {
			}
			if d.Err() == nil {
				t.Fatal("an element was missing, and there is no error")
			}
			if d.Finish() != nil {
				break
			}
			if d.At('x') && d.pos > len(d.line) {
				t.Fatal("beyond the line")
			}
		}
	})
}

func anything(d *Decoder) bool {
	var s string
	var set Set
	var n int64
	return d.Set(&set) || d.Number64(&n) || d.NString(&s) || d.AString(&s) || format(d.DateTime) != "" || d.List(func() bool { return anything(d) })
}
