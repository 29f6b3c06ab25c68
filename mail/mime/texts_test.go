package mime

import (
	"strings"
	"testing"
)

func TestTexts(t *testing.T) {
	header := "Subject: =?utf-8?q?=C3=9Cbung?= macht\r\n den Meister\r\nTO: Bob <bob@south.test>\r\nTo: carol@north.test\r\nCc:\r\nX-To: hidden\r\n\r\n"
	first, ok := TextsOf([]byte(header))
	if !ok {
		t.Fatal("too long")
	}
	texts, err := ParseTexts(AppendTexts(nil, &first))
	if err != nil || texts != first {
		t.Fatalf("%+v, %v", texts, err)
	}
	for _, c := range []struct {
		name, text string
		want       bool
	}{
		{"Subject", "übung MACHT den", true}, {"subject", "U\u0308BUNG", true}, {"subject", "x", false}, {"to", "carol", true}, {"TO", "<BOB@", true},
		{"to", "testcarol", false}, {"cc", "", true}, {"bcc", "", false}, {"x-to", "hidden", false},
	} {
		if got := texts.Contain(c.name, Collate(c.text)); got != c.want {
			t.Errorf("%s contains %q: %v", c.name, c.text, got)
		}
	}
	if _, ok := TextsOf([]byte("Subject: " + strings.Repeat("x", MaxTexts+1) + "\r\n\r\n")); ok {
		t.Error("too much is kept")
	}
}

func FuzzTexts(f *testing.F) {
	f.Add([]byte("Subject: a\r\nFrom: b\r\nFrom: \xff\xfe=?utf-8?q?=C3?=\r\n\r\n"), []byte("\xc3\x9c\xef\xac\x81x\xff"))
	f.Fuzz(func(t *testing.T, header, text []byte) {
		if a, b := string(AppendCollated(nil, text)), Collate(string(text)); a != b {
			t.Fatalf("%q, %q", a, b)
		}
		texts, ok := TextsOf(header)
		if !ok {
			return
		}
		encoded := AppendTexts(nil, &texts)
		if back, err := ParseTexts(encoded); err != nil || back != texts {
			t.Fatalf("%+v, %v", back, err)
		}
		for i := range encoded {
			ParseTexts(encoded[:i])
		}
	})
}
