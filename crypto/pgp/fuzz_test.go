package pgp

import (
	"bytes"
	"io"
	"testing"
)

// FuzzCerts: whatever strangers call a certificate is read or refused; what is read comes out of Write as it went in.
func FuzzCerts(f *testing.F) {
	for _, data := range hostile(f) {
		f.Add(data[:min(len(data), 4096)])
	}
	for _, k := range []*Key{alice(f), bob(f)} {
		var b bytes.Buffer
		if err := k.Public().Write(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := ReadCerts(bytes.NewReader(data), MaxForeign)
		if err != nil {
			return
		}
		for _, c := range all {
			_, _ = c.CanEncrypt(clock()), c.UserIDs(clock())
			var one, two bytes.Buffer
			if err := c.Write(&one); err != nil {
				continue
			}
			read, err := ReadCerts(bytes.NewReader(one.Bytes()), 2*MaxForeign)
			if err != nil || len(read) != 1 {
				t.Skip() // the library drops what it cannot keep
			}
			if err := read[0].Write(&two); err != nil || !bytes.Equal(one.Bytes(), two.Bytes()) {
				t.Errorf("a certificate changes when it is written: %v", err)
			}
		}
	})
}

// FuzzMessages: no message makes anything come out unless it is whole, and Encrypted says the same of it every time.
func FuzzMessages(f *testing.F) {
	a, b := alice(f), bob(f)
	f.Add(encrypted(f, "text", Encrypt{To: []*Cert{a.Public()}, Signers: []*Key{a}}))
	f.Add(encrypted(f, "text", Encrypt{To: []*Cert{b.Public()}, Armor: true}))
	f.Add(appendPacket(nil, tagCompressed, append([]byte{0}, appendPacket(nil, tagLiteral, []byte("b\x00\x00\x00\x00\x00x"))...)))
	f.Fuzz(func(t *testing.T, data []byte) {
		text, _, err := decrypt(data, Decrypt{Keys: []*Key{a, b}})
		if err != nil && text != "" {
			t.Errorf("%q in spite of %v", text, err)
		}
		to, ok, err := Encrypted(bytes.NewReader(data))
		if ok && (len(to) == 0 || err != nil) || !ok && len(to) > 0 {
			t.Errorf("%v %v %v", to, ok, err)
		}
	})
}

// FuzzSigned: no signed message yields a text without a signature that counts, in packets or as cleartext.
func FuzzSigned(f *testing.F) {
	k := alice(f)
	var inline, clear, detached bytes.Buffer
	o := Sign{Signers: []*Key{k}, Now: clock()}
	if err := SignInline(&inline, bytes.NewReader([]byte("text")), o); err != nil {
		f.Fatal(err)
	}
	if err := SignCleartext(&clear, bytes.NewReader([]byte("text\n- more")), o); err != nil {
		f.Fatal(err)
	}
	if _, err := SignDetached(&detached, bytes.NewReader([]byte("text")), o); err != nil {
		f.Fatal(err)
	}
	f.Add(inline.Bytes())
	f.Add(clear.Bytes())
	f.Add(detached.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		v := Verify{Certs: []*Cert{k.Public()}, Now: clock()}
		var out bytes.Buffer
		if good, err := VerifyInline(&out, bytes.NewReader(data), v); err == nil != (len(good) > 0) || err != nil && out.Len() > 0 {
			t.Errorf("%q, %v, %v", out.String(), good, err)
		}
		_, _ = VerifyDetached(bytes.NewReader([]byte("text")), bytes.NewReader(data), v)
		_ = DetachInline(io.Discard, io.Discard, bytes.NewReader(data))
		_ = Armor(io.Discard, bytes.NewReader(data))
	})
}
