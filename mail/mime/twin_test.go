package mime

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func twinOf(t *testing.T, r io.Reader) string {
	t.Helper()
	twin := NewTwin()
	if _, err := io.Copy(twin, r); err != nil {
		t.Fatal(err)
	}
	return twin.String()
}

// A message and what becomes of it on its way are twins; others are not.
func TestTwin(t *testing.T) {
	const letter = "From: a@b.test\r\nMessage-ID: <1@b.test>\r\n\r\nHello,\r\n\r\nworld.\r\n"
	want := twinOf(t, strings.NewReader(letter))
	if want == "" {
		t.Fatal("a message with an ID has no twin")
	}
	for name, same := range map[string]string{
		"fields before":      "Received: from x\r\nDKIM-Signature: y\r\n" + letter,
		"fields between":     strings.Replace(letter, "Message-ID", "Bcc: c@d.test\r\nmessage-id", 1),
		"the ID folded":      strings.Replace(letter, ": <1@", ":\r\n <1@", 1),
		"LF only":            strings.ReplaceAll(letter, "\r\n", "\n"),
		"no last line end":   strings.TrimRight(letter, "\r\n"),
		"more empty lines":   letter + "\r\n\r\n",
		"more of the header": "X: " + strings.Repeat("x", maxTwinHeader/2) + "\r\n" + letter,
	} {
		if got := twinOf(t, strings.NewReader(same)); got != want {
			t.Errorf("%s: %q, not %q", name, got, want)
		}
		if got := twinOf(t, iotest.OneByteReader(strings.NewReader(same))); got != want {
			t.Errorf("%s, octet by octet: %q, not %q", name, got, want)
		}
	}
	for name, other := range map[string]string{
		"another ID":           strings.Replace(letter, "<1@", "<2@", 1),
		"another body":         strings.Replace(letter, "world", "World", 1),
		"a line less":          strings.Replace(letter, "\r\n\r\nworld", "\r\nworld", 1),
		"no ID":                strings.Replace(letter, "Message-ID", "X-ID", 1),
		"an endless header":    "X: " + strings.Repeat("x", maxTwinHeader) + "\r\n" + letter,
		"a header and no body": letter[:strings.Index(letter, "\r\n\r\n")+2],
		"nothing":              "",
	} {
		if got := twinOf(t, strings.NewReader(other)); got == want {
			t.Errorf("%s has the same twin", name)
		}
	}
	if got := twinOf(t, strings.NewReader("Subject: x\r\n\r\nbody")); got != "" {
		t.Errorf("without an ID: %q", got)
	}
}
