package pgp

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

var errDisk = errors.New("no space left")

// That a stream fails says nothing about a message, and is told as it is.
func TestStreamsThatFail(t *testing.T) {
	k := alice(t)
	whole := encrypted(t, strings.Repeat("x", 50_000), Encrypt{To: []*Cert{k.Public()}, Signers: []*Key{k}, Armor: true})
	var signed, detached bytes.Buffer
	o := Sign{Signers: []*Key{k}, Now: clock()}
	if err := SignInline(&signed, strings.NewReader("x"), o); err != nil {
		t.Fatal(err)
	}
	if _, err := SignDetached(&detached, strings.NewReader("x"), o); err != nil {
		t.Fatal(err)
	}
	know := Verify{Certs: []*Cert{k.Public()}, Now: clock()}
	for what, run := range map[string]func(w io.Writer, r func(of []byte) io.Reader) error{
		"encrypt": func(w io.Writer, r func([]byte) io.Reader) error {
			return EncryptTo(w, r(whole), Encrypt{To: []*Cert{k.Public()}, Armor: true, Now: clock()})
		},
		"decrypt": func(w io.Writer, r func([]byte) io.Reader) error {
			_, err := DecryptFrom(w, r(whole), Decrypt{Keys: []*Key{k}})
			return err
		},
		"sign": func(w io.Writer, r func([]byte) io.Reader) error {
			_, err := SignDetached(w, r(whole), o)
			return err
		},
		"sign inline":    func(w io.Writer, r func([]byte) io.Reader) error { return SignInline(w, r(whole), o) },
		"sign cleartext": func(w io.Writer, r func([]byte) io.Reader) error { return SignCleartext(w, r(whole), o) },
		"verify inline": func(w io.Writer, r func([]byte) io.Reader) error {
			_, err := VerifyInline(w, r(signed.Bytes()), know)
			return err
		},
		"detach": func(w io.Writer, r func([]byte) io.Reader) error { return DetachInline(w, w, r(signed.Bytes())) },
	} {
		good := func(of []byte) io.Reader { return bytes.NewReader(of) }
		bad := func(of []byte) io.Reader {
			return io.MultiReader(bytes.NewReader(of[:len(of)/2]), iotest.ErrReader(errDisk))
		}
		if err := run(full{}, good); !errors.Is(err, errDisk) {
			t.Errorf("%s, writing: %v", what, err)
		}
		if err := run(io.Discard, bad); !errors.Is(err, errDisk) {
			t.Errorf("%s, reading: %v", what, err)
		}
		if err := run(io.Discard, good); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	broken := iotest.ErrReader(errDisk)
	if _, err := VerifyDetached(broken, &detached, know); !errors.Is(err, errDisk) {
		t.Error(err)
	}
	if _, err := ReadCerts(broken, MaxForeign); !errors.Is(err, errDisk) {
		t.Error(err)
	}
	if _, ok, err := Encrypted(io.MultiReader(bytes.NewReader(whole[:999]), broken)); ok || !errors.Is(err, errDisk) {
		t.Error(ok, err)
	}
}

// full is a disk without space.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errDisk }
