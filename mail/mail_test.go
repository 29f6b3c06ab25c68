package mail

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/quick"
)

func TestParseAddress(t *testing.T) {
	for in, want := range map[string]string{
		"Alice@North.TEST":               "Alice@north.test",
		`"john.doe"@north.test`:          "john.doe@north.test",
		`"john doe"@north.test`:          `"john doe"@north.test`,
		`"a\"b\\c"@north.test`:           `"a\"b\\c"@north.test`,
		`""@north.test`:                  `""@north.test`,
		"a+b@[192.0.2.1]":                "a+b@[192.0.2.1]",
		"a@[ipv6:2001:DB8::1]":           "a@[IPv6:2001:db8::1]",
		"ジョー@例え.テスト":                     "ジョー@xn--r8jz45g.xn--zckzah",
		"a@under_score.test":             "a@under_score.test",
		"!#$%&'*+-/=?^_`{|}~@north.test": "!#$%&'*+-/=?^_`{|}~@north.test",
	} {
		a, err := ParseAddress(in)
		if err != nil || a.String() != want {
			t.Errorf("%q: %q, %v; want %q", in, a, err, want)
			continue
		}
		if b, err := ParseAddress(a.String()); err != nil || b != a {
			t.Errorf("%q does not read back: %v, %v", a, b, err)
		}
	}
}

func TestParseAddressRefuses(t *testing.T) {
	for _, in := range []string{
		"", "a", "@", "a@", "@b", "a@b@c", "a b@c", "a..b@c", ".a@c", "a.@c", "a@-b", "a@b-", "a@b..c", "a@b.", "<a@b>", "a@[1.2.3]",
		"a@[IPv6:1.2.3.4]", "a@[::1]", "a@[192.0.2.1", `"a@b`, `"a"b@c`, `"a\`, "\"a\r\nb\"@c", "a\x00@b", "a@b\xff", "\xff@b",
		strings.Repeat("a", MaxLocalPart+1) + "@b", "a@" + strings.Repeat("b.", 130) + "c", "a@" + strings.Repeat("b", 64),
		strings.Repeat("a", 64) + "@" + strings.Repeat("bbb.", 50) + "test",
	} {
		if a, err := ParseAddress(in); !errors.Is(err, ErrAddress) {
			t.Errorf("%q: %q, %v", in, a, err)
		}
	}
}

func TestNullAddress(t *testing.T) {
	var a Address
	if !a.IsNull() || a.String() != "" {
		t.Errorf("%q", a)
	}
	if err := a.UnmarshalText(nil); err != nil || !a.IsNull() {
		t.Error(err)
	}
}

func TestIDRoundTrip(t *testing.T) {
	f := func(n uint64) bool {
		id := ID(n>>1 | 1)
		got, err := ParseID(strings.ToUpper(id.String()))
		return err == nil && got == id
	}
	if err := quick.Check(f, nil); err != nil {
		t.Error(err)
	}
	for _, s := range []string{"", "0000000000000", "zzzzzzzzzzzzz", "000000000000u", "00000000000001", "g000000000000"} {
		if id, err := ParseID(s); !errors.Is(err, ErrID) {
			t.Errorf("%q: %v, %v", s, id, err)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"a@b", `"a b"@c`, "a@[IPv6:::1]", "ジョー@例え.テスト"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		if b, err := ParseAddress(a.String()); err != nil || b != a {
			t.Errorf("%q parses to %q, which parses to %q, %v", s, a, b, err)
		}
	})
}

func TestIsASCII(t *testing.T) {
	for n := range 40 {
		b := bytes.Repeat([]byte{0x7f}, n)
		if !IsASCII(b) || !IsASCII(string(b)) {
			t.Errorf("%d octets of 7 bits", n)
		}
		for i := range b {
			b[i] = 0x80
			if IsASCII(b) || IsASCII(string(b)) {
				t.Errorf("octet %d of %d", i, n)
			}
			b[i] = 0x7f
		}
	}
}
