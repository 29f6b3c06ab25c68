package dkim

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"strings"
	"testing"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"posthouse/internal/dns"
)

// RFC 8463 Appendix A.
const rfc8463Message = `DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
`

const rfc8463Zone = `
brisbane._domainkey.football.example.com. TXT "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
test._domainkey.football.example.com. TXT "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/b" "yYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
`

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func lookups(t testing.TB, zone string) (TXT, *dns.Zone) {
	t.Helper()
	z, err := dns.ParseZone(zone)
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, name string) ([]string, error) {
		a, err := z.TXT(ctx, name)
		return a.Records, err
	}, z
}

func verify(t testing.TB, txt TXT, message string) []Signature {
	t.Helper()
	sigs, err := Verify(context.Background(), txt, strings.NewReader(message), int64(len(message)))
	if err != nil {
		t.Fatal(err)
	}
	return sigs
}

func TestVectorsOfRFC8463(t *testing.T) {
	txt, zone := lookups(t, rfc8463Zone)
	message := crlf(rfc8463Message)
	for _, s := range verify(t, txt, message) {
		if s.Result != Pass || s.Domain != "football.example.com" {
			t.Errorf("%+v", s)
		}
	}
	for name, c := range map[string]struct {
		from, to string
		want     Result
	}{
		"body":          {"hungry", "thirsty", Fail},
		"signed field":  {"dinner", "supper", Fail},
		"added From":    {"\r\nTo:", "\r\nFrom: Eve <eve@evil.test>\r\nTo:", Fail},
		"white space":   {"Are you", "Are \t you  \t", Pass}, // relaxed
		"unsigned":      {"From: Joe", "X-New: 1\r\nFrom: Joe", Pass},
		"blank at end":  {"Joe.\r\n", "Joe.\r\n\r\n\r\n", Pass},
		"no final CRLF": {"Joe.\r\n", "Joe.", Pass},
	} {
		if !strings.Contains(message, c.from) {
			t.Fatal(name)
		}
		for _, s := range verify(t, txt, strings.Replace(message, c.from, c.to, 1)) {
			if s.Result != c.want {
				t.Errorf("%s: %+v", name, s)
			}
		}
	}
	zone.Fail("test._domainkey.football.example.com")
	zone.Remove("brisbane._domainkey.football.example.com")
	if got := verify(t, txt, message); got[0].Result != PermError || got[1].Result != TempError {
		t.Errorf("%+v", got)
	}
}

// keys are one pair of each kind, published in a zone.
func keys(t testing.TB) ([]Key, TXT) {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, e, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	list := []Key{{"north.test", "r", r}, {"north.test", "e", e}}
	var zone strings.Builder
	for _, k := range list {
		name, value, err := k.Record()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&zone, "%s. TXT", name)
		for ; len(value) > 0; value = value[min(len(value), 200):] {
			fmt.Fprintf(&zone, " %q", value[:min(len(value), 200)])
		}
		zone.WriteByte('\n')
	}
	txt, _ := lookups(t, zone.String())
	return list, txt
}

// randomMessage is made of what canonicalization is about: blanks, folds, empty lines, missing ends, stray CRs.
func randomMessage(r *mathrand.Rand) string {
	var b strings.Builder
	b.WriteString("From: alice@north.test\r\n")
	pieces := []string{"a", "Bc", " ", "  ", "\t", "\r\n ", "\r\n\t\t", ":", ";", "."}
	for _, name := range []string{"To", "Subject", "subject", "X-Other", "Date", "Date"} {
		b.WriteString(name + ":")
		for range r.IntN(8) {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		b.WriteString("x\r\n")
	}
	b.WriteString("\r\n")
	pieces = []string{"a", "Bc", " ", "  ", "\t", "\r\n", "\r\n", "\r\n\r\n", " \r\n", "."}
	for range r.IntN(30) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	return b.String() + "\r\n"
}

// What we sign, go-msgauth verifies; what it signs, in every canonicalization, we verify.
func TestAgreesWithGoMsgauth(t *testing.T) {
	list, txt := keys(t)
	signer, err := NewSigner(list)
	if err != nil {
		t.Fatal(err)
	}
	r := mathrand.New(mathrand.NewPCG(1, 2))
	for i := range 150 {
		message := randomMessage(r)
		ours, err := signer.Sign(strings.NewReader(message), int64(len(message)))
		if err != nil {
			t.Fatal(err)
		}
		signed := string(ours) + message
		theirs, err := msgauth.VerifyWithOptions(strings.NewReader(signed), &msgauth.VerifyOptions{
			LookupTXT: func(name string) ([]string, error) { return txt(context.Background(), name) },
		})
		if err != nil || len(theirs) != 2 || theirs[0].Err != nil || theirs[1].Err != nil {
			t.Fatalf("theirs of ours: %v, %+v\n%q", err, theirs, signed)
		}
		for _, s := range verify(t, txt, signed) {
			if s.Result != Pass {
				t.Fatalf("ours of ours: %+v\n%q", s, signed)
			}
		}
		var out bytes.Buffer
		canons := []msgauth.Canonicalization{msgauth.CanonicalizationSimple, msgauth.CanonicalizationRelaxed}
		err = msgauth.Sign(&out, strings.NewReader(message), &msgauth.SignOptions{
			Domain: "north.test", Selector: list[i%2].Selector, Signer: list[i%2].Private, HeaderCanonicalization: canons[i/2%2], BodyCanonicalization: canons[i/4%2],
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := verify(t, txt, out.String()); len(got) != 1 || got[0].Result != Pass {
			t.Fatalf("ours of theirs: %+v\n%q", got, out.String())
		}
	}
}

// Each change of a good signature's tags or key record has its own result.
func TestTagsAndKeys(t *testing.T) {
	list, _ := keys(t)
	ed := list[1]
	signer, err := NewSigner([]Key{ed})
	if err != nil {
		t.Fatal(err)
	}
	message := "From: alice@north.test\r\n\r\nhello\r\n"
	made, err := signer.Sign(strings.NewReader(message), int64(len(message)))
	if err != nil {
		t.Fatal(err)
	}
	public := base64.StdEncoding.EncodeToString(ed.Private.Public().(ed25519.PublicKey))
	for name, c := range map[string]struct {
		record, from, to string
		want             Result
		reason           string
	}{
		"good":               {"k=ed25519; p=" + public, "", "", Pass, ""},
		"revoked":            {"k=ed25519; p=", "", "", PermError, "revoked"},
		"other type":         {"k=x448; p=" + public, "", "", PermError, "unknown type"},
		"other version":      {"v=DKIM2; k=ed25519; p=" + public, "", "", PermError, "version"},
		"other hash":         {"k=ed25519; h=sha1; p=" + public, "", "", PermError, "hash"},
		"other service":      {"k=ed25519; s=sip; p=" + public, "", "", PermError, "not for mail"},
		"garbage":            {"hello", "", "", PermError, "malformed"},
		"bad base64":         {"k=ed25519; p=!", "", "", PermError, "base64"},
		"short key":          {"k=ed25519; p=AAAA", "", "", PermError, "size"},
		"rsa for ed25519":    {"k=rsa; p=" + public, "", "", PermError, "cannot be read"},
		"strict, i= below":   {"k=ed25519; t=s; p=" + public, "d=north.test;", "d=north.test; i=@sub.north.test;", PermError, "below"},
		"i= elsewhere":       {"k=ed25519; p=" + public, "d=north.test;", "d=north.test; i=@evil.test;", PermError, "within"},
		"sha1":               {"k=ed25519; p=" + public, "ed25519-sha256", "rsa-sha1", PermError, "unknown algorithm"},
		"version 2":          {"k=ed25519; p=" + public, "v=1", "v=2", PermError, "version"},
		"no d=":              {"k=ed25519; p=" + public, " d=north.test;", "", PermError, "no d="},
		"a tag twice":        {"k=ed25519; p=" + public, " d=north.test;", " d=north.test; d=north.test;", PermError, "malformed"},
		"From is not signed": {"k=ed25519; p=" + public, "h=From:From", "h=To", PermError, "over From"},
		"expired":            {"k=ed25519; p=" + public, "d=north.test;", "d=north.test; x=1;", PermError, "expired"},
		"longer than body":   {"k=ed25519; p=" + public, "d=north.test;", "d=north.test; l=99;", PermError, "beyond"},
		"signature changed":  {"k=ed25519; p=" + public, "d=north.test;", "d=north.test; z=x;", Fail, "header"},
	} {
		txt, _ := lookups(t, fmt.Sprintf("e._domainkey.north.test. TXT %q\n", c.record))
		if c.from != "" && !strings.Contains(string(made), c.from) {
			t.Fatalf("%s: %q is not in %s", name, c.from, made)
		}
		got := verify(t, txt, strings.Replace(string(made), c.from, c.to, 1)+message)
		if len(got) != 1 || got[0].Result != c.want || !strings.Contains(got[0].Reason, c.reason) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A signature over a part of the body (l=) does not speak for what comes after it.
func TestPartOfTheBodyIsNotEnough(t *testing.T) {
	list, txt := keys(t)
	message := "From: alice@north.test\r\n\r\nhello\r\n"
	fields, _, err := readHeader(strings.NewReader(message), int64(len(message)))
	if err != nil {
		t.Fatal(err)
	}
	hash := newBodyHash("hello\r\n")
	s := &Signer{now: timeZero}
	f, err := s.sign(signingKey{list[1], "ed25519-sha256; l=7"}, fields, []string{"From"}, hash)
	if err != nil {
		t.Fatal(err)
	}
	if got := verify(t, txt, string(f)+message); got[0].Result != Pass {
		t.Errorf("%+v", got)
	}
	if got := verify(t, txt, string(f)+message+"buy now\r\n"); got[0].Result != Policy {
		t.Errorf("%+v", got)
	}
}

func TestWeakKeys(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewSigner([]Key{{"north.test", "w", weak}}); err == nil {
		t.Error("a key of 1024 bits was taken for signing")
	}
	if _, err := NewSigner([]Key{{"north.test", "w", otherSigner{}}}); err == nil {
		t.Error("a key of another type was taken")
	}
}

type otherSigner struct{ crypto.Signer }

// Only so many signatures are looked at, and a header without end has none.
func TestBounds(t *testing.T) {
	txt, _ := lookups(t, "")
	many := strings.Repeat("DKIM-Signature: v=1\r\n", 1000) + "\r\n"
	if got := verify(t, txt, many); len(got) != MaxSignatures {
		t.Errorf("%d signatures", len(got))
	}
	if got := verify(t, txt, "DKIM-Signature: v=1\r\nX: "+strings.Repeat("x", MaxHeader)+"\r\n\r\n"); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	for _, message := range []string{"", "\r\n", "From", "From: x", "\r\n\r\n", ":\r\n", "a:b\r\n"} {
		verify(t, txt, message)
	}
	broken := errors.New("broken disk")
	if _, err := Verify(context.Background(), txt, readerAt(func() error { return broken }), 10); !errors.Is(err, broken) {
		t.Error(err)
	}
}

type readerAt func() error

func (f readerAt) ReadAt([]byte, int64) (int, error) { return 0, f() }

// Verifying is linear: a body of nothing but line ends or blanks, which canonicalization holds back, costs what any body costs.
func BenchmarkBody(b *testing.B) {
	for name, piece := range map[string]string{"text": "Hello world, this is text.\r\n", "CRLF": "\r\n", "blanks": "  ", "CR": "\r", "x blank": "x "} {
		body := strings.Repeat(piece, (1<<20)/len(piece))
		for _, c := range []canon{simple, relaxed} {
			b.Run(name+"/"+canonNames[c], func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				for b.Loop() {
					w := bodyWriter{w: io.Discard, canon: c, limit: -1}
					w.Write([]byte(body))
					w.close()
				}
			})
		}
	}
}

func BenchmarkSign(b *testing.B) {
	list, _ := keys(b)
	message := "From: alice@north.test\r\nTo: bob@south.test\r\nSubject: hello\r\n\r\n" + strings.Repeat("Hello world, this is text.\r\n", 150)
	for _, k := range list {
		s, err := NewSigner([]Key{k})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(s.keys[0].algorithm, func(b *testing.B) {
			for b.Loop() {
				if _, err := s.Sign(strings.NewReader(message), int64(len(message))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func FuzzVerify(f *testing.F) {
	txt, _ := lookups(f, rfc8463Zone)
	f.Add(crlf(rfc8463Message))
	f.Add("DKIM-Signature: a=b\r\n\r\n")
	f.Fuzz(func(t *testing.T, message string) {
		for _, s := range verify(t, txt, message) {
			if (s.Result == Pass) != (s.Reason == "") {
				t.Errorf("%+v", s)
			}
		}
	})
}
