package pgp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// clock is a time at which all keys of tests are young.
func clock() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) }

// newKey is a key made an hour before the clock.
func newKey(t testing.TB, g Generate) *Key {
	t.Helper()
	if g.Now.IsZero() {
		g.Now = clock().Add(-time.Hour)
	}
	k, err := GenerateKey(g)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// alice has an older key, bob a newer one.
func alice(t testing.TB) *Key {
	return newKey(t, Generate{UserIDs: []string{"Alice <alice@example.org>"}})
}
func bob(t testing.TB) *Key {
	return newKey(t, Generate{Profile: Modern, UserIDs: []string{"Bob <bob@example.org>"}})
}

// again is a certificate as somebody else reads it.
func again(t testing.TB, c *Cert) *Cert {
	t.Helper()
	var b bytes.Buffer
	if err := WriteCerts(&b, []*Cert{c}); err != nil {
		t.Fatal(err)
	}
	read, err := ReadCerts(&b, MaxForeign)
	if err != nil {
		t.Fatal(err)
	}
	return read[0]
}

func encrypted(t testing.TB, text string, o Encrypt) []byte {
	t.Helper()
	var b bytes.Buffer
	o.Now = clock()
	if err := EncryptTo(&b, strings.NewReader(text), o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func decrypt(message []byte, o Decrypt) (string, Decrypted, error) {
	var b bytes.Buffer
	if o.Verify.Now.IsZero() {
		o.Verify.Now = clock()
	}
	done, err := DecryptFrom(&b, bytes.NewReader(message), o)
	return b.String(), done, err
}

func TestEncryptAndDecrypt(t *testing.T) {
	a, b := alice(t), bob(t)
	text := strings.Repeat("Dear Bob,\r\nhow are you?\r\n", 1000)
	for name, c := range map[string]struct {
		send Encrypt
		open Decrypt
	}{
		"version 4":       {Encrypt{To: []*Cert{again(t, a.Public())}}, Decrypt{Keys: []*Key{a}}},
		"version 6":       {Encrypt{To: []*Cert{again(t, b.Public())}}, Decrypt{Keys: []*Key{b}}},
		"both, first":     {Encrypt{To: []*Cert{a.Public(), b.Public()}}, Decrypt{Keys: []*Key{a}}},
		"both, second":    {Encrypt{To: []*Cert{a.Public(), b.Public()}}, Decrypt{Keys: []*Key{b}}},
		"hidden":          {Encrypt{Hidden: []*Cert{a.Public()}}, Decrypt{Keys: []*Key{b, a}}},
		"hidden newer":    {Encrypt{To: []*Cert{a.Public()}, Hidden: []*Cert{b.Public()}}, Decrypt{Keys: []*Key{b}}},
		"password":        {Encrypt{Passwords: []string{"one", "two"}}, Decrypt{Passwords: []string{"no", "two"}}},
		"newer password":  {Encrypt{Passwords: []string{"one"}, Profile: Modern}, Decrypt{Passwords: []string{"one"}}},
		"key, password":   {Encrypt{To: []*Cert{a.Public()}, Passwords: []string{"one"}}, Decrypt{Passwords: []string{"one"}}},
		"newer, password": {Encrypt{To: []*Cert{b.Public()}, Passwords: []string{"one"}}, Decrypt{Passwords: []string{"one"}}},
		"armor":           {Encrypt{To: []*Cert{a.Public()}, Armor: true}, Decrypt{Keys: []*Key{a}}},
		"text":            {Encrypt{To: []*Cert{b.Public()}, Text: true, Armor: true}, Decrypt{Keys: []*Key{b}}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, signers := range [][]*Key{nil, {a}, {b}, {a, b}} {
				if len(c.send.Passwords) > 0 && signers != nil {
					continue // a password costs what it should
				}
				c.send.Signers = signers
				c.open.Verify.Certs = []*Cert{again(t, a.Public()), again(t, b.Public())}
				got, done, err := decrypt(encrypted(t, text, c.send), c.open)
				if err != nil || got != text || len(done.Verifications) != len(signers) {
					t.Errorf("%d signers: %v, %d octets, %d signatures", len(signers), err, len(got), len(done.Verifications))
				}
			}
		})
	}
}

func TestSessionKey(t *testing.T) {
	for _, k := range []*Key{alice(t), bob(t)} {
		message := encrypted(t, "text", Encrypt{To: []*Cert{k.Public()}})
		_, done, err := decrypt(message, Decrypt{Keys: []*Key{k}})
		if err != nil {
			t.Fatal(err)
		}
		key, err := ParseSessionKey(done.SessionKey.String())
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := decrypt(message, Decrypt{SessionKeys: []SessionKey{key}}); err != nil || got != "text" {
			t.Errorf("%q, %v", got, err)
		}
		another := encrypted(t, "text", Encrypt{To: []*Cert{k.Public()}})
		if got, _, err := decrypt(another, Decrypt{SessionKeys: []SessionKey{key}}); err == nil || got != "" {
			t.Error("another message opens with the same session key")
		}
	}
	for _, wrong := range []string{"", "9", "9:", "9:00", "x:00", "300:00", "1:zz"} {
		if _, err := ParseSessionKey(wrong); !errors.Is(err, ErrData) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

func TestSignAndVerify(t *testing.T) {
	a, b := alice(t), bob(t)
	certs := []*Cert{again(t, a.Public()), again(t, b.Public())}
	const text = "one  \n- two\n\n-----BEGIN PGP MESSAGE-----\nFrom three\n"
	const seen = "one\n- two\n\n-----BEGIN PGP MESSAGE-----\nFrom three\n" // blanks at the ends of lines are not signed
	for _, signers := range [][]*Key{{a}, {b}, {a, b}} {
		var detached, inline, clear bytes.Buffer
		micalg, err := SignDetached(&detached, strings.NewReader(text), Sign{Signers: signers, Armor: true, Now: clock()})
		if err != nil || micalg != "pgp-sha512" {
			t.Errorf("%s, %v", micalg, err)
		}
		good, err := VerifyDetached(strings.NewReader(text), &detached, Verify{Certs: certs, Now: clock()})
		if err != nil || len(good) != len(signers) || good[0].Primary != signers[0].Fingerprint() || !good[0].Time.Equal(clock()) {
			t.Errorf("detached: %+v, %v", good, err)
		}
		for _, c := range []struct {
			sign func(io.Writer, io.Reader, Sign) error
			to   *bytes.Buffer
			want string
		}{{SignInline, &inline, text}, {SignCleartext, &clear, seen}} {
			if err := c.sign(c.to, strings.NewReader(text), Sign{Signers: signers, Armor: true, Now: clock()}); err != nil {
				t.Fatal(err)
			}
			signed := c.to.String()
			var got bytes.Buffer
			good, err := VerifyInline(&got, c.to, Verify{Certs: certs, Now: clock()})
			if err != nil || got.String() != c.want || len(good) != len(signers) {
				t.Errorf("%q, %+v, %v", got.String(), good, err)
			}
			got.Reset()
			var apart bytes.Buffer
			if err := DetachInline(&got, &apart, strings.NewReader(signed)); err != nil || got.String() != c.want {
				t.Errorf("taken apart: %q, %v", got.String(), err)
			}
			if good, err := VerifyDetached(&got, &apart, Verify{Certs: certs, Now: clock()}); err != nil || len(good) != len(signers) {
				t.Errorf("taken apart: %v, %v", good, err)
			}
		}
	}
}

// RFC 9580 §5.2.1.2: line ends do not matter to a signature over text.
func TestTextSignature(t *testing.T) {
	k := alice(t)
	var s bytes.Buffer
	if _, err := SignDetached(&s, strings.NewReader("one\ntwo\n"), Sign{Signers: []*Key{k}, Text: true, Now: clock()}); err != nil {
		t.Fatal(err)
	}
	good, err := VerifyDetached(strings.NewReader("one\r\ntwo\r\n"), &s, Verify{Certs: []*Cert{k.Public()}, Now: clock()})
	if err != nil || !good[0].Text {
		t.Errorf("%+v, %v", good, err)
	}
	var none bytes.Buffer
	_, err = SignDetached(&none, strings.NewReader("caf\xe9"), Sign{Signers: []*Key{k}, Text: true, Now: clock()})
	if !errors.Is(err, ErrNotText) || none.Len() > 0 {
		t.Errorf("%v, %d octets", err, none.Len())
	}
}

func TestUTF8AcrossReads(t *testing.T) {
	for text, want := range map[string]error{"grüße €": nil, "gr\xfc": ErrNotText, "\xe2\x82": ErrNotText, "a\xe2b": ErrNotText, "": nil} {
		if _, err := io.ReadAll(&utf8Reader{r: oneByOne{strings.NewReader(text)}}); !errors.Is(err, want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

type oneByOne struct{ io.Reader }

func (o oneByOne) Read(to []byte) (int, error) { return o.Reader.Read(to[:min(1, len(to))]) }

func TestArmor(t *testing.T) {
	a, b := alice(t), bob(t)
	sum := func(s string) bool { return strings.Contains(s, "\n=") }
	for _, k := range []*Key{a, b} {
		var bare, armored, back, twice bytes.Buffer
		if err := k.Public().Write(&bare); err != nil {
			t.Fatal(err)
		}
		if err := Armor(&armored, bytes.NewReader(bare.Bytes())); err != nil {
			t.Fatal(err)
		}
		got := armored.String()
		if !strings.HasPrefix(got, "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n") ||
			!strings.HasSuffix(got, "-----END PGP PUBLIC KEY BLOCK-----\n") || sum(got) != (k.Version() == 4) {
			t.Errorf("%s", got)
		}
		if err := Armor(&twice, bytes.NewReader(armored.Bytes())); err != nil || twice.String() != armored.String() {
			t.Errorf("armor over armor: %v", err)
		}
		if err := Dearmor(&back, &armored); err != nil || !bytes.Equal(back.Bytes(), bare.Bytes()) {
			t.Errorf("%v", err)
		}
		back.Reset()
		if err := Dearmor(&back, bytes.NewReader(bare.Bytes())); err != nil || !bytes.Equal(back.Bytes(), bare.Bytes()) {
			t.Errorf("%v", err)
		}
	}
	const begin = "-----BEGIN PGP MESSAGE-----\n\n"
	for _, wrong := range []string{"", "text", begin, begin + "!!!!\n", begin + "xxx\n-----END PGP MESSAGE-----\n", strings.Repeat("x", maxArmorLine+1)} {
		var b bytes.Buffer
		if err := Dearmor(&b, strings.NewReader(wrong)); !errors.Is(err, ErrData) {
			t.Errorf("%.40q: %v", wrong, err)
		}
	}
}

// A program that puts headers or text before the data is understood all the same.
func TestArmorOfOthers(t *testing.T) {
	k := alice(t)
	var b bytes.Buffer
	if err := WriteCerts(&b, []*Cert{k.Public()}); err != nil {
		t.Fatal(err)
	}
	theirs := strings.Replace(strings.ReplaceAll(b.String(), "\n", "\r\n"), "\r\n\r\n", "\r\nComment: mine\r\n\r\n", 1)
	text := "Here is my key:\r\n" + theirs + "Bye\r\n"
	if c, err := ReadCerts(strings.NewReader(text), MaxForeign); err != nil || c[0].Fingerprint() != k.Fingerprint() {
		t.Errorf("%v", err)
	}
}

func TestRFCVectors(t *testing.T) {
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("testdata", "rfc9580", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	keys, err := ReadKeys(bytes.NewReader(read("a4-secret-key.asc")), MaxOwn)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ReadCerts(bytes.NewReader(read("a3-certificate.asc")), MaxForeign)
	if err != nil {
		t.Fatal(err)
	}
	if got := keys[0].Fingerprint(); got != public[0].Fingerprint() || got != "CB186C4F0609A697E4D52DFA6C722B0C1F1E27C18A56708F6525EC27BAD9ACC9" {
		t.Error(got) // RFC 9580 §A.3
	}
	for _, name := range []string{"a6-cleartext.asc", "a7-inline-signed.asc"} {
		var text bytes.Buffer
		good, err := VerifyInline(&text, bytes.NewReader(read(name)), Verify{Certs: public, Now: clock()})
		if err != nil || len(good) != 1 || text.String() != "What we need from the grocery store:\n\n- tofu\n- vegetables\n- noodles\n" {
			t.Errorf("%s: %q, %v", name, text.String(), err)
		}
	}
	if got, done, err := decrypt(read("a8-x25519-ocb.asc"), Decrypt{Keys: keys}); err != nil || got != "Hello, world!" ||
		done.SessionKey.String() != "7:DD708F6FA1ED65114D68D2343E7C2F1D" {
		t.Errorf("%q, %v, %v", got, done.SessionKey, err)
	}
	for _, name := range []string{"a9-eax.asc", "a10-ocb.asc", "a11-gcm.asc"} {
		if got, _, err := decrypt(read(name), Decrypt{Passwords: []string{"password"}}); err != nil || got != "Hello, world!" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	// These two ask for 2 GiB, which is more than a password is worth.
	if _, err := ReadKeys(bytes.NewReader(read("a5-locked-key.asc")), MaxOwn); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if _, _, err := decrypt(read("a12-argon2-2gib.asc"), Decrypt{Passwords: []string{"password"}}); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}

// 100 MiB are signed, encrypted, decrypted and verified in less than 32 MiB of heap, and come out whole.
func TestConstantMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("100 MiB")
	}
	const size = 100 << 20
	for _, k := range []*Key{alice(t), bob(t)} {
		t.Run(fmt.Sprintf("version %d", k.Version()), func(t *testing.T) {
			r, w := io.Pipe()
			go func() {
				w.CloseWithError(EncryptTo(w, io.LimitReader(zeros{}, size), Encrypt{To: []*Cert{k.Public()}, Signers: []*Key{k}, Now: clock()}))
			}()
			var out watching
			done, err := DecryptFrom(&out, r, Decrypt{Keys: []*Key{k}, Verify: Verify{Certs: []*Cert{again(t, k.Public())}, Now: clock()}})
			if err != nil || out.size != size || len(done.Verifications) != 1 {
				t.Errorf("%d octets, %+v, %v", out.size, done.Verifications, err)
			}
			if out.heap > 32<<20 {
				t.Errorf("%d octets of heap", out.heap)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(to []byte) (int, error) {
	clear(to)
	return len(to), nil
}

// watching counts what is written, and looks at the heap every 8 MiB.
type watching struct {
	size, next int
	heap       uint64
}

func (w *watching) Write(p []byte) (int, error) {
	if w.size += len(p); w.size >= w.next {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		w.heap, w.next = max(w.heap, m.HeapAlloc), w.size+8<<20
	}
	return len(p), nil
}

// 20 KiB are a letter with a picture. Each core has keys of its own, as each session of a server has.
func BenchmarkSignAndEncrypt(b *testing.B) {
	letter := bytes.Repeat([]byte("twenty octets here.\n"), 1024)
	b.SetBytes(int64(len(letter)))
	b.RunParallel(func(each *testing.PB) {
		k, to := alice(b), []*Cert{again(b, alice(b).Public())}
		for each.Next() {
			if err := EncryptTo(io.Discard, bytes.NewReader(letter), Encrypt{To: to, Signers: []*Key{k}, Armor: true, Now: clock()}); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "letters/s")
}

func BenchmarkDecryptAndVerify(b *testing.B) {
	b.RunParallel(func(each *testing.PB) {
		k := alice(b)
		message := encrypted(b, strings.Repeat("twenty octets here.\n", 1024), Encrypt{To: []*Cert{k.Public()}, Signers: []*Key{k}})
		for each.Next() {
			_, done, err := decrypt(message, Decrypt{Keys: []*Key{k}, Verify: Verify{Certs: []*Cert{k.Public()}}})
			if err != nil || len(done.Verifications) != 1 {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "letters/s")
}

// RFC 9580 §6.1.1: the checksum, which some older programs look at.
func TestChecksum(t *testing.T) {
	c := newCRC()
	c.add([]byte("123456789"))
	if c.sum != 0x21cf02 {
		t.Errorf("%06x", c.sum)
	}
}
