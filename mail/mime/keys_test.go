package mime

import (
	"reflect"
	"strings"
	"testing"
)

// The procedure of RFC 5256 §2.1.
func TestBaseSubject(t *testing.T) {
	for subject, want := range map[string]string{
		"hello":                           "hello",
		"Re: hello":                       "hello re",
		"re:hello":                        "hello re",
		"RE :  FW: Fwd: hello  (fwd) ":    "hello re",
		"hello (FWD)(fwd)":                "hello re",
		"[list] hello":                    "hello",
		"[list] Re: [list] hello":         "hello re",
		"Re[2]: hello":                    "hello re",
		"re [list] : hello":               "hello re",
		"[fwd: hello]":                    "hello re",
		"[Fwd: Re: [list] hello (fwd)]":   "hello re",
		"[list]":                          "[list]",
		"[a][b]":                          "[b]",
		"Re:":                             " re",
		"":                                "",
		"Reply: no":                       "Reply: no",
		"re hello":                        "re hello",
		"[fwd: not closed":                "[fwd: not closed",
		"[a[b] x":                         "[a[b] x",
		"many \t   spaces":                "many spaces",
		"Fw: Re: [SPAM] [x] re: [y] text": "text re",
	} {
		base, reply := BaseSubject(subject)
		if reply {
			base += " re"
		}
		if base != want {
			t.Errorf("%q: %q, want %q", subject, base, want)
		}
	}
}

func TestCollate(t *testing.T) {
	for _, same := range [][2]string{{"Hello", "hELLO"}, {"Übung", "u\u0308BUNG"}, {"ﬁ", "FI"}, {"straße", "STRASSE"}} {
		if a, b := Collate(same[0]), Collate(same[1]); (a == b) != (same[0] != "straße") {
			t.Errorf("%q %q: %q %q", same[0], same[1], a, b)
		}
	}
}

func TestKeysOf(t *testing.T) {
	got := KeysOf([]byte("From: =?utf-8?q?J=C3=BCrgen?= <Jay@north.example>, other@x\r\nTo: friends: a@b.example, c@d.example;\r\nCc: \"Q. R.\" <qr@x>\r\n" +
		"Subject: Re: =?utf-8?q?=C3=9Cbung?=\r\nDate: Thu, 20 Nov 2026 10:00:00 +0100\r\nMessage-ID: <\"a b\"@x>\r\n" +
		"References: <1@x>\r\n <\"2\"@x> junk <3@x>\r\nIn-Reply-To: <9@x>\r\nSubject: second\r\n\r\n"))
	want := Keys{
		Sent: 1795165200, Reply: true, Subject: Collate("Übung"), From: "JAY", To: "A", Cc: "QR", DisplayFrom: Collate("Jürgen"), DisplayTo: "FRIENDS",
		MessageID: "ab@x", References: []string{"1@x", "2@x", "3@x"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	if k := KeysOf([]byte("Date: none\r\nIn-Reply-To: Your mail of Monday <1@x> <2@x>\r\nFrom: x@y.example\r\n\r\n")); k.Sent != NoDate ||
		!reflect.DeepEqual(k.References, []string{"1@x"}) || k.DisplayFrom != "X@Y.EXAMPLE" {
		t.Errorf("%+v", k)
	}
}

func FuzzKeys(f *testing.F) {
	f.Add([]byte("From: a@b\r\nSubject: Re: x\r\nReferences: <1@x> <2@x>\r\nMessage-ID: <3@x>\r\n\r\n"))
	f.Add([]byte("References: " + strings.Repeat("<1@x>", 200) + "\r\nSubject: " + strings.Repeat("[a] re: ü", 300)))
	f.Fuzz(func(t *testing.T, header []byte) {
		k := KeysOf(header)
		encoded := AppendKeys(nil, &k)
		back, err := ParseKeys(encoded)
		if err != nil || !reflect.DeepEqual(back, k) {
			t.Fatalf("%+v, %v; was %+v", back, err, k)
		}
		for i := range encoded { // damaged or short: an error or other keys, and no panic
			ParseKeys(encoded[:i])
			damaged := append([]byte{}, encoded...)
			damaged[i] ^= 0xff
			ParseKeys(damaged)
		}
	})
}
