package password

import (
	"context"
	"encoding/base64"
	"testing"
)

func b64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The examples of RFC 5802 §5 and RFC 7677 §3.
func TestSCRAMExamples(t *testing.T) {
	for _, e := range []struct {
		salting                   Salting
		message, proof, signature string
	}{
		{
			Salting{SHA1, b64(t, "QSXCR+Q6sek8bf92"), 4096},
			"n=user,r=fyko+d2lbbFgONRv9qkxdawL,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096,c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
			"v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
		},
		{
			Salting{SHA256, b64(t, "W22ZaJ0SNY7soEsUEjb6gQ=="), 4096},
			"n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
			"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
		},
	} {
		keys, err := NewHasher(Cost{}).Keys(context.Background(), e.salting, "pencil")
		if err != nil {
			t.Fatal(err)
		}
		h, message, proof := e.salting.Hash, []byte(e.message), b64(t, e.proof)
		if !keys.Check(h, message, proof) || base64.StdEncoding.EncodeToString(keys.Sign(h, message)) != e.signature {
			t.Errorf("%s: the example does not hold", h)
		}
		proof[0] ^= 1
		if keys.Check(h, message, proof) || keys.Check(h, message[1:], b64(t, e.proof)) || keys.Check(h, message, nil) {
			t.Errorf("%s: a wrong proof was taken", h)
		}
	}
}

// The examples of RFC 4013 §3: what clients prepare before they hash.
func TestPreparedPasswords(t *testing.T) {
	for in, want := range map[string]string{"I\u00adX": "IX", "\u00aa": "a", "\u2168": "IX", "a\u0007": "a\u0007", "pencil": "pencil"} {
		if got := normalized(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func BenchmarkKeys(b *testing.B) {
	h := NewHasher(Cost{})
	for b.Loop() {
		if _, err := h.Keys(context.Background(), Salting{SHA256, make([]byte, 16), DefaultIterations}, "pencil"); err != nil {
			b.Fatal(err)
		}
	}
}
