package main

import "testing"

func TestStrangersWordsAreMadePrintable(t *testing.T) {
	for in, want := range map[string]string{
		"250 ok": "250 ok", "grüße 日本": "grüße 日本", "a\tb\r\nc\x1b[2J": "a?b??c?[2J", "\u202egpj.exe\u2066": "?gpj.exe?", "a\u2028b\u0085": "a?b?", "\xff": "\ufffd",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
