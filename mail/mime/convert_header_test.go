package mime

import (
	"errors"
	"strings"
	"testing"
)

// TestConvertedLines: a line with encoded words has 76 octets at most and a word 75 (RFC 2047 §2), no line more than 998 (RFC 5322 §2.1.1),
// and all of it reads as what it was.
func TestConvertedLines(t *testing.T) {
	for name, c := range map[string]struct{ field, value string }{
		"short text":   {"Subject", "жук"},
		"long text":    {"Subject", strings.Repeat("жук и 漢字 ", 40)},
		"long name":    {"X-" + strings.Repeat("a", 80), strings.Repeat("жук ", 40)},
		"of no UTF-8":  {"Subject", strings.Repeat("\xff\xfe", 100)},
		"long phrase":  {"From", strings.Repeat("Жук", 20) + " <bob@" + strings.Repeat("a.", 20) + "test>"},
		"long address": {"To", "Жук <" + strings.Repeat("b", 60) + "@south.test>, Ж <carol@" + strings.Repeat("a.", 20) + "test>"},
		"long group":   {"To", strings.Repeat("Друзья", 20) + ": <bob@south.test>;"},
	} {
		message := c.field + ": " + c.value + "\r\n\r\n"
		got, err := convert(message, Form{ASCIIHeader: true})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for line := range strings.SplitSeq(got, "\r\n") {
			if strings.Contains(line, "=?") && len(line) > 76 || len(line) > 998 {
				t.Errorf("%s: a line of %d octets: %s", name, len(line), line)
			}
			for word := range strings.FieldsSeq(line) {
				if strings.HasPrefix(word, "=?") && len(word) > 75 {
					t.Errorf("%s: a word of %d octets: %s", name, len(word), word)
				}
			}
		}
		if name == "of no UTF-8" { // nobody can say what it means
			continue
		}
		if got, want := decodedHeader(got), decodedHeader(message); got != want {
			t.Errorf("%s: %q\nwant\n%q", name, got, want)
		}
	}
}

// decodedHeader is the first field as people read it.
func decodedHeader(message string) string {
	for f := range Fields([]byte(message)) {
		return strings.TrimSpace(string(AppendDecoded(nil, AppendUnfolded(nil, f.Value))))
	}
	return ""
}

// TestConvertedParameters: a long value goes in sections, none of them a line too long: RFC 2231 §3.
func TestConvertedParameters(t *testing.T) {
	for _, value := range []string{"жук.gif", strings.Repeat("漢字", 120) + ".gif", strings.Repeat("%ж", 100)} {
		got, err := convert("Content-Disposition: attachment; filename=\""+value+"\"; size=1\r\n\r\nx\r\n", Form{ASCIIHeader: true})
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(got, "\r\n") {
			if len(line) > 78 {
				t.Errorf("a line of %d octets: %s", len(line), line)
			}
		}
		if p := parse([]byte(got)); len(p.DispParams) != 2 || p.DispParams[0].Value != value || p.DispParams[1].Value != "1" {
			t.Errorf("%q in %q", p.DispParams, got)
		}
	}
}

// TestSealedHeader: the header of a part that is signed needs SMTPUTF8 as much as that of the message (RFC 6532 §3), and nobody may change it.
func TestSealedHeader(t *testing.T) {
	sealed := "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\nContent-Description: %\r\n\r\nText.\r\n--b\r\n\r\nsignature\r\n--b--\r\n"
	for word, want := range map[string]error{"bug": nil, "жук": ErrSealed} {
		if got, err := convert(strings.Replace(sealed, "%", word, 1), Form{ASCIIHeader: true}); !errors.Is(err, want) {
			t.Errorf("%s: %v\n%s", word, err, got)
		}
	}
}
