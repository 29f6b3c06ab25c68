package dkim

import (
	"crypto/sha256"
	"strings"
	"testing"
	"time"
)

func timeZero() time.Time { return time.Unix(0, 0) }

func canonical(c canon, body string, chunk int) string {
	var b strings.Builder
	w := bodyWriter{w: &b, canon: c, limit: -1}
	for ; len(body) > 0; body = body[min(chunk, len(body)):] {
		w.Write([]byte(body[:min(chunk, len(body))]))
	}
	w.close()
	return b.String()
}

func newBodyHash(body string) []byte {
	sum := sha256.Sum256([]byte(canonical(relaxed, body, len(body))))
	return sum[:]
}

// RFC 6376 §3.4.3–§3.4.5, at every chunking.
func TestBodyCanonicalization(t *testing.T) {
	for body, want := range map[string][2]string{
		"":                          {"\r\n", ""},
		"\r\n":                      {"\r\n", ""},
		"\r\n\r\n":                  {"\r\n", ""},
		" \r\n":                     {" \r\n", ""},
		" C \r\nD \t E\r\n\r\n\r\n": {" C \r\nD \t E\r\n", " C\r\nD E\r\n"},
		"a":                         {"a\r\n", "a\r\n"},
		"a\r\n\r\nb\r\n":            {"a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n"},
		"a \r\n\t\r\nb":             {"a \r\n\t\r\nb\r\n", "a\r\n\r\nb\r\n"},
		"a\rb\r\r\n":                {"a\rb\r\r\n", "a\rb\r\r\n"},
		"a\r":                       {"a\r\r\n", "a\r\r\n"},
	} {
		for _, c := range []canon{simple, relaxed} {
			for chunk := 1; chunk <= len(body)+1; chunk++ {
				if got := canonical(c, body, chunk); got != want[c] {
					t.Errorf("%s %q in %d: %q, want %q", canonNames[c], body, chunk, got, want[c])
				}
			}
		}
	}
}

func TestHeaderCanonicalization(t *testing.T) {
	fields := splitFields([]byte("A: X\r\nB : Y\t\r\n\tZ  \r\nno field\r\nC:\r\n"))
	var got []string
	for _, f := range fields {
		got = append(got, f.name+"|"+string(relaxed.header(f))+"|"+string(simple.header(f)))
	}
	want := []string{"a|a:X\r\n|A: X\r\n", "b|b:Y Z\r\n|B : Y\t\r\n\tZ  \r\n", "|:\r\n|no field\r\n", "c|c:\r\n|C:\r\n"}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
