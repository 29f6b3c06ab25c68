package mime

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestFind(t *testing.T) {
	crlf := func(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }
	// RFC 9051 §6.4.5 has this example.
	message := crlf(`Content-Type: multipart/mixed; boundary=m

--m
Content-Type: text/plain

1
--m
Content-Type: application/octet-stream

2
--m
Content-Type: message/rfc822

Content-Type: multipart/mixed; boundary=r

--r
Content-Type: text/plain

3.1
--r
Content-Type: application/octet-stream

3.2
--r--
--m
Content-Type: multipart/mixed; boundary=x

--x
Content-Type: image/gif

4.1
--x
Content-Type: message/rfc822

Content-Type: multipart/mixed; boundary=y

--y
Content-Type: text/plain

4.2.1
--y
Content-Type: multipart/alternative; boundary=z

--z
Content-Type: text/plain

4.2.2.1
--z
Content-Type: text/richtext

4.2.2.2
--z--
--y--
--x--
--m--
`)
	root := parse(message)
	for _, leaf := range [][]int{{1}, {2}, {3, 1}, {3, 2}, {4, 1}, {4, 2, 1}, {4, 2, 2, 1}, {4, 2, 2, 2}} {
		want := strings.ReplaceAll(strings.Trim(fmt.Sprint(leaf), "[]"), " ", ".")
		if p := root.Find(leaf); p == nil || string(message[p.Body.Off:p.Body.End()]) != want {
			t.Errorf("%v: %+v", leaf, p)
		}
	}
	for path, want := range map[string]string{"": "multipart/mixed", "3": "message/rfc822", "4": "multipart/mixed", "4.2": "message/rfc822", "4.2.2": "multipart/alternative"} {
		var numbers []int
		for s := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '.' }) {
			numbers = append(numbers, int(s[0]-'0'))
		}
		if p := root.Find(numbers); p == nil || p.Type+"/"+p.Subtype != want {
			t.Errorf("%s: %+v", path, p)
		}
	}
	for _, none := range [][]int{{0}, {-1}, {5}, {1, 1}, {3, 3}, {3, 1, 1}, {4, 2, 2, 3}, {1, 0}} {
		if p := root.Find(none); p != nil {
			t.Errorf("%v: %+v", none, p)
		}
	}
	plain := parse([]byte("Subject: x\r\n\r\ny"))
	if plain.Find([]int{1}) != plain || plain.Find([]int{1, 1}) != nil || plain.Find([]int{2}) != nil {
		t.Error("a message without parts has part 1, itself, and no other")
	}
	carrier := parse(crlf("Content-Type: message/rfc822\n\nSubject: x\n\ny"))
	if carrier.Find([]int{1}) != carrier || carrier.Find([]int{1, 1}) != carrier.Message || carrier.Find([]int{1, 2}) != nil {
		t.Error("the parts of a message in a message")
	}
}

func TestFields(t *testing.T) {
	header := "A: 1\r\nB :\r\n\t2\r\n 3\r\nno colon\r\n continued\r\nFrom x at y: z\r\n: empty\r\nC:4\nD:\r\n\r\nE: body\r\n"
	var got []string
	var raw strings.Builder
	for f := range Fields([]byte(header)) {
		got = append(got, fmt.Sprintf("%q=%q", f.Name, f.Value))
		raw.Write(f.Raw)
	}
	want := []string{`"A"=" 1"`, `"B"="\r\n\t2\r\n 3"`, `""="no colon\r\n continued"`, `""="From x at y: z"`, `""=": empty"`, `"C"="4"`, `"D"=""`}
	if !slices.Equal(got, want) {
		t.Errorf("%s; want %s", got, want)
	}
	if rest, _ := strings.CutPrefix(header, raw.String()); rest != "\r\nE: body\r\n" {
		t.Errorf("%q is left", rest)
	}
	for f := range Fields([]byte("A: 1\r\nB: 2\r\n")) {
		if string(f.Name) != "A" {
			t.Errorf("%q after the end", f.Name)
		}
		break
	}
	for range Fields(nil) {
		t.Error("a field of nothing")
	}
}

func TestAppendUnfolded(t *testing.T) {
	for in, want := range map[string]string{"": "", " \r\n ": "", "  a\r\n\tb\x00c  \r\n": "a bc", "a  b": "a  b"} {
		if got := string(AppendUnfolded([]byte("x"), []byte(in))); got != "x"+want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

// TestAppendDecoded has the examples of RFC 2047 §8, and what senders do.
func TestAppendDecoded(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                                                "plain",
		"=?ISO-8859-1?Q?a?=":                                   "a",
		"=?ISO-8859-1?Q?a?= b":                                 "a b",
		"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=":                "ab",
		"=?ISO-8859-1?Q?a?=  \r\n  =?ISO-8859-1?Q?b?=":         "ab",
		"=?ISO-8859-1?Q?a_b?=":                                 "a b",
		"=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=":               "a b",
		"=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?= <k@x.test>":     "Keld Jørn Simonsen <k@x.test>",
		"=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=":    "If you can read this yo",
		"=?utf-8?b?w6Q?=":                                      "ä",  // without padding
		"=?utf-8*de?q?=c3=a4?=":                                "ä",  // RFC 2231 §5
		"=?utf-8?q?=c3?= =?UTF-8?q?=a4?=":                      "ä",  // a character cut in two
		"=?shift_jis?b?k/qWew==?=":                             "日本", //
		"re: =?utf-8?q?a b?= c":                                "re: a b c",
		"=?unknown?q?a?=":                                      "=?unknown?q?a?=",
		"=?unknown?q?a?=  =?unknown?q?b?= =?utf-8?q?c?=":       "=?unknown?q?a?=  =?unknown?q?b?= c",
		"=?utf-8?x?a?=":                                        "=?utf-8?x?a?=",
		"=?utf-8?q?a":                                          "=?utf-8?q?a",
		"=?utf-8?b?!!!?=":                                      "=?utf-8?b?!!!?=",
		"=? ?q?a?= =??q?a?= =?":                                "=? ?q?a?= =??q?a?= =?",
		"=?utf-8?q??= x":                                       " x",
		"=?utf-8?q?=3D?=3D?=":                                  "=3D?=",
		"a=?utf-8?q?b?=c":                                      "abc",
		"=?utf-8?q?a?= =?utf-8?q?b?= c =?iso-8859-1?q?=e4?= d": "ab c ä d",
	} {
		if got := string(AppendDecoded([]byte("> "), []byte(in))); got != "> "+want {
			t.Errorf("%q: %q; want %q", in, got[2:], want)
		}
	}
}

// A sender chooses how many encoded words there are, and that none can be decoded: that must not take a time that grows with its
// square, which for these would be 17 seconds.
func TestAppendDecodedTakesLinearTime(t *testing.T) {
	value := strings.Repeat("=?x?q?a?= ", MaxHeader/10)
	begin := time.Now()
	AppendDecoded(nil, []byte(value))
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("%d octets took %v", len(value), took)
	}
}

func TestNewUTF8Reader(t *testing.T) {
	for _, c := range []struct{ charset, in, want string }{
		{"", "a\xff", "a\xff"}, {"UTF-8", "ä", "ä"}, {"iso-8859-1", "\xe4", "ä"}, {"Windows-1252", "\x80", "€"},
		{"no such", "\xe4", "\xe4"}, {"koi8-r", "\xc1", "а"}, {"iso-2022-jp", "\x1b$B\x46\x7c\x1b(B", "日"},
	} {
		got, err := io.ReadAll(NewUTF8Reader(strings.NewReader(c.in), c.charset))
		if err != nil || string(got) != c.want {
			t.Errorf("%s %q: %q, %v", c.charset, c.in, got, err)
		}
	}
}

func TestNewDecoder(t *testing.T) {
	for _, c := range []struct{ encoding, in, want string }{
		{"", "a=\r\n", "a=\r\n"}, {"7BIT", "a", "a"}, {"binary", "\x00", "\x00"},
		{"base64", "YWJj\r\nZGVm", "abcdef"}, {"BASE64", "YQ==YmM=", "abc"}, {"base64", "Y!W*Jj\n", "abc"}, {"base64", "YWJ", "ab"}, {"base64", "Y", ""}, {"base64", "", ""},
		{"quoted-printable", "a=3Db=\r\nc  \r\nd \t=20\r\n", "a=bc\r\nd \t \r\n"},
		{"quoted-printable", "=zz=4=", "=zz=4"}, {"quoted-printable", "a= \t\r\nb=\nc", "abc"}, {"quoted-printable", "x   ", "x"},
		{"quoted-printable", "a b  c\n d", "a b  c\n d"}, {"quoted-printable", "=c3=A4", "ä"}, {"quoted-printable", "a= b", "a= b"},
		{"quoted-printable", "x" + strings.Repeat(" ", 10_000) + "y", "x" + strings.Repeat(" ", 10_000) + "y"},
	} {
		for _, in := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in)), iotest.DataErrReader(strings.NewReader(c.in))} {
			r, err := NewDecoder(in, c.encoding)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(iotest.HalfReader(r))
			if err != nil || string(got) != c.want {
				t.Errorf("%s %.60q: %.60q, %v; want %.60q", c.encoding, c.in, got, err, c.want)
			}
		}
	}
	if _, err := NewDecoder(nil, "x-uuencode"); !errors.Is(err, ErrEncoding) {
		t.Error(err)
	}
	boom := errors.New("boom")
	for _, encoding := range []string{"base64", "quoted-printable"} {
		r, err := NewDecoder(io.MultiReader(strings.NewReader("YWJj"), iotest.ErrReader(boom)), encoding)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r); !errors.Is(err, boom) {
			t.Errorf("%s: %v", encoding, err)
		}
	}
}

func TestParseAddresses(t *testing.T) {
	for in, want := range map[string][]Address{
		"":                        nil,
		" , ;(x)":                 nil,
		"a@b":                     {{Mailbox: "a", Host: "b"}},
		`"a b" (c (d)) <"x y"@z>`: {{Name: "a b", Mailbox: "x y", Host: "z"}},
		"a\r\n b\r\n <c@d>":       {{Name: "a b", Mailbox: "c", Host: "d"}},
		"g:;":                     {{Mailbox: "g", Group: GroupStart}, {Group: GroupEnd}},
		`a\,b <c@d>`:              {{Name: "a,b", Mailbox: "c", Host: "d"}},
		"<a@b> after":             {{Name: "after", Mailbox: "a", Host: "b"}},
		"<<a@b>>":                 {{Mailbox: "a", Host: "b"}},
		"<a@b> <c@d>":             {{Mailbox: "a", Host: "b"}, {Mailbox: "c", Host: "d"}},
		"x <a@b> y <c@d>, e@f":    {{Name: "x y", Mailbox: "a", Host: "b"}, {Mailbox: "c", Host: "d"}, {Mailbox: "e", Host: "f"}},
		"<a@b":                    {{Mailbox: "a", Host: "b"}},
		"a@[IPv6:::1], b@[x":      {{Mailbox: "a", Host: "[IPv6:::1]"}, {Mailbox: "b", Host: "[x"}},
		"a@b c":                   {{Mailbox: "a", Host: "b"}},
		"\xff@\xfe":               {{Mailbox: "\xff", Host: "\xfe"}},
	} {
		if got := ParseAddresses([]byte(in)); !slices.Equal(got, want) {
			t.Errorf("%q: %+v; want %+v", in, got, want)
		}
	}
	if got := ParseAddresses(bytes.Repeat([]byte("g:a@b;"), 10_000)); len(got) > MaxAddresses || got[len(got)-1].Group != GroupEnd {
		t.Errorf("%d addresses, the last %+v", len(got), got[len(got)-1])
	}
}

func TestParsePartsRefuses(t *testing.T) {
	good := AppendParts(nil, parse(letter(4<<10)))
	if _, err := ParseParts(good); err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if p, err := ParseParts(good[:n]); !errors.Is(err, ErrParts) || p != nil {
			t.Errorf("%d of %d octets: %v", n, len(good), err)
		}
	}
	for _, bad := range [][]byte{append(bytes.Clone(good), 0), append([]byte{99}, good[1:]...), bytes.Repeat([]byte{partsVersion}, 1000),
		append([]byte{partsVersion}, bytes.Repeat([]byte{0xff}, 20)...)} {
		if _, err := ParseParts(bad); !errors.Is(err, ErrParts) {
			t.Errorf("%x: %v", bad, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, e := range examples(f) {
		f.Add(e.message)
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		if len(message) > 1<<16 {
			return
		}
		checkStructure(t, message)
	})
}

func FuzzValues(f *testing.F) {
	for _, s := range []string{`"a" <b@c>, d:e;`, "=?utf-8?q?=c3=a4?= =?utf-8?b?w6Q=?=", "a; b*0*=utf-8''%c3; b*1=x", "=3D=\r\n x  "} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		if addresses := ParseAddresses(value); len(addresses) > MaxAddresses {
			t.Errorf("%d addresses", len(addresses))
		} else if err := matches(appendAddresses(nil, addresses), (*grammar).addresses); err != nil {
			t.Error(err)
		}
		if err := matches(appendParams(nil, readParams(&keeper{left: MaxKept}, append([]byte(";"), value...))), (*grammar).params); err != nil {
			t.Error(err)
		}
		AppendDecoded(nil, value)
		for _, encoding := range []string{"base64", "quoted-printable"} {
			whole, _ := NewDecoder(bytes.NewReader(value), encoding)
			pieces, _ := NewDecoder(iotest.OneByteReader(bytes.NewReader(value)), encoding)
			a, errA := io.ReadAll(whole)
			b, errB := io.ReadAll(pieces)
			if !bytes.Equal(a, b) || errA != nil || errB != nil || len(a) > len(value) {
				t.Errorf("%s: %q, %v in one; %q, %v in pieces", encoding, a, errA, b, errB)
			}
		}
	})
}

func FuzzParseParts(f *testing.F) {
	f.Add(AppendParts(nil, parse(letter(4<<10))))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseParts(b)
		if err != nil {
			return
		}
		again, err := ParseParts(AppendParts(nil, p))
		if err != nil || string(AppendParts(nil, again)) != string(AppendParts(nil, p)) {
			t.Errorf("%+v: %+v, %v", p, again, err)
		}
	})
}
