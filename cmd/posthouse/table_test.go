package main

import (
	"strings"
	"testing"

	"posthouse/mail"
	"posthouse/spool"
)

func TestStrangersWordsAreMadePrintable(t *testing.T) {
	for in, want := range map[string]string{
		"250 ok": "250 ok", "grüße 日本": "grüße 日本", "a\tb\r\nc\x1b[2J": "a?b??c?[2J", "\u202egpj.exe\u2066": "?gpj.exe?", "a\u2028b\u0085": "a?b?", "\xff": "\ufffd",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// A notice of ours came from no network address.
func TestANoticeComesFromNowhere(t *testing.T) {
	var b strings.Builder
	printEntry(&b, spool.Entry{Envelope: mail.Envelope{Origin: mail.Origin{Protocol: "local"}}})
	if got := b.String(); strings.Contains(got, "invalid") || !strings.Contains(got, "by local\n") {
		t.Error(got)
	}
}
