package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func format(decode func(*time.Time) bool) string {
	var t time.Time
	if !decode(&t) {
		return ""
	}
	return t.Format(time.RFC3339)
}

func TestAppend(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{string(AppendString(nil, "")), `""`},
		{string(AppendString(nil, `a"b\c`)), `"a\"b\\c"`},
		{string(AppendString(nil, "a\r\nb")), "{4}\r\na\r\nb"},
		{string(AppendString(nil, "ü")), "{2}\r\nü"},
		{string(AppendUTF8(nil, "ü")), `"ü"`},
		{string(AppendUTF8(nil, "a\nb")), "{3}\r\na\nb"},
		{string(AppendString(nil, strings.Repeat("x", 1001))), "{1001}\r\n" + strings.Repeat("x", 1001)},
		{string(AppendAString(nil, "foo/bar]")), "foo/bar]"},
		{string(AppendAString(nil, "")), `""`},
		{string(AppendAString(nil, "a b")), `"a b"`},
		{string(AppendAString(nil, "100%")), `"100%"`},
		{string(AppendDateTime(nil, 837596665, -420)), `"17-Jul-1996 02:44:25 -0700"`},
		{string(AppendDateTime(nil, 0, 90)), `"01-Jan-1970 01:30:00 +0130"`},
		{string(AppendDateTime(nil, -1, 0)), `"31-Dec-1969 23:59:59 +0000"`},
		{string(AppendNumber(nil, uint32(4294967295))), "4294967295"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

// RFC 3501 §5.1.3, with its examples.
func TestUTF7(t *testing.T) {
	for encoded, name := range map[string]string{
		"~peter/mail/&U,BTFw-/&ZeVnLIqe-": "~peter/mail/台北/日本語",
		"&Jjo-!":                          "☺!",
		"&U,BTF2XlZyyKng-":                "台北日本語",
		"Tom &- Jerry":                    "Tom & Jerry",
		"&-":                              "&",
		"&-&-":                            "&&",
		"&AOQ-&-":                         "ä&",
		"&2D3eAA-":                        "😀",
		"&AAE-":                           "\x01",
		"":                                "",
		"INBOX":                           "INBOX",
	} {
		if got := EncodeUTF7(name); got != encoded {
			t.Errorf("%q is encoded %q, want %q", name, got, encoded)
		}
		if got, err := DecodeUTF7(encoded); got != name || err != nil {
			t.Errorf("%q is decoded %q, %v; want %q", encoded, got, err, name)
		}
	}
	for _, bad := range []string{
		"&Jjo!", "&U,BTFw-&ZeVnLIqe-", "&", "&A", "&AGE-", "&AG-", "&2D0-", "&3gA-", "ü", "a\tb", "&AOQ=-", "&AOR-", "&AO\r\nQ-", "&AOQ/-",
	} {
		if got, err := DecodeUTF7(bad); !errors.Is(err, ErrUTF7) {
			t.Errorf("%q is decoded %q, %v", bad, got, err)
		}
	}
}

// One name has one form, and each form is printable ASCII.
func FuzzUTF7(f *testing.F) {
	for _, s := range []string{"&U,BTFw-/&ZeVnLIqe-", "Tom &- Jerry", "&Jjo!", "台北", "&2D3eAA-", "a&AOQ-&-b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if name, err := DecodeUTF7(s); err == nil && EncodeUTF7(name) != s {
			t.Errorf("%q is decoded %q, which is encoded %q", s, name, EncodeUTF7(name))
		}
		s = strings.ToValidUTF8(s, "?")
		encoded := EncodeUTF7(s)
		for i := range len(encoded) {
			if !isDirect(encoded[i]) {
				t.Fatalf("%q is encoded %q", s, encoded)
			}
		}
		if back, err := DecodeUTF7(encoded); back != s || err != nil {
			t.Errorf("%q is encoded %q, which is decoded %q, %v", s, encoded, back, err)
		}
	})
}

// What is written is read back.
func FuzzString(f *testing.F) {
	for _, s := range []string{"", "a", `a"\b`, "a\r\nb", "ü", "NIL", "(", "\x01"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.Contains(s, "\x00") || len(s) > 4096 {
			return
		}
		for _, b := range [][]byte{AppendString(nil, s), AppendAString(nil, s)} {
			d := NewDecoder(bytes.NewReader(append(b, "\r\n"...)))
			d.Limits = testLimits()
			d.Continue = func() error { return nil }
			var got string
			if err := d.Next(); err != nil || !d.AString(&got) || got != s || !d.End() {
				t.Errorf("%q is written %q, and read %q, %v", s, b, got, d.Err())
			}
		}
	})
}
