package pgp

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Each test here is a trap of the library, or of OpenPGP, that a mail server must not step into.

// Nothing of a message that was changed comes out, wherever it was changed: both containers release plaintext before they know.
func TestNoPlaintextBeforeIntegrity(t *testing.T) {
	text := strings.Repeat("secret ", 200_000) // more than one chunk of SEIPDv2
	for _, k := range []*Key{alice(t), bob(t)} {
		whole := encrypted(t, text, Encrypt{To: []*Cert{k.Public()}})
		refused := func(what string, message []byte) {
			got, _, err := decrypt(message, Decrypt{Keys: []*Key{k}})
			if err == nil || got != "" {
				t.Errorf("version %d, %s: %d octets, %v", k.Version(), what, len(got), err)
			}
		}
		for _, at := range []int{len(whole) / 3, len(whole) / 2, len(whole) - 50, len(whole) - 1} {
			changed := slices.Clone(whole)
			changed[at] ^= 1
			refused("changed", changed)
			refused("cut off", whole[:at])
		}
		refused("with more after it", append(slices.Clone(whole), whole...))
		got, _, err := decrypt(whole, Decrypt{Keys: []*Key{k}})
		if err != nil || got != text {
			t.Errorf("unchanged: %v", err)
		}
	}
	k := alice(t)
	changed := encrypted(t, text, Encrypt{To: []*Cert{k.Public()}})
	changed[len(changed)-1] ^= 1
	if _, _, err := decrypt(changed, Decrypt{Keys: []*Key{k}}); !errors.Is(err, ErrIntegrity) {
		t.Errorf("%v", err)
	}
}

// That a signature was looked at does not mean that it is good.
func TestForgedSignaturesDoNotCount(t *testing.T) {
	a, mallory := alice(t), newKey(t, Generate{UserIDs: []string{"Alice <alice@example.org>"}})
	know := Verify{Certs: []*Cert{a.Public()}, Now: clock()}
	_, done, err := decrypt(encrypted(t, "pay", Encrypt{To: []*Cert{a.Public()}, Signers: []*Key{mallory}}), Decrypt{Keys: []*Key{a}, Verify: know})
	if err != nil || len(done.Verifications) != 0 {
		t.Errorf("a stranger's: %+v, %v", done.Verifications, err)
	}
	var s bytes.Buffer
	if _, err := SignDetached(&s, strings.NewReader("pay 1"), Sign{Signers: []*Key{a}, Now: clock()}); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		text string
		v    Verify
		good bool
	}{
		"unchanged":     {"pay 1", know, true},
		"changed":       {"pay 1000", know, false},
		"of a time":     {"pay 1", Verify{Certs: know.Certs, Now: clock(), NotBefore: clock().Add(-time.Minute), NotAfter: clock().Add(time.Minute)}, true},
		"too early":     {"pay 1", Verify{Certs: know.Certs, Now: clock(), NotBefore: clock().Add(time.Minute)}, false},
		"too late":      {"pay 1", Verify{Certs: know.Certs, Now: clock(), NotAfter: clock().Add(-time.Minute)}, false},
		"of the future": {"pay 1", Verify{Certs: know.Certs, Now: clock().Add(-time.Minute)}, false},
	} {
		good, err := VerifyDetached(strings.NewReader(c.text), bytes.NewReader(s.Bytes()), c.v)
		if c.good != (err == nil) || c.good != (len(good) == 1) || !c.good && !errors.Is(err, ErrNoSignature) {
			t.Errorf("%s: %v, %v", what, good, err)
		}
	}
	var inline, out bytes.Buffer
	if err := SignInline(&inline, strings.NewReader("pay 1000"), Sign{Signers: []*Key{mallory}, Now: clock()}); err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyInline(&out, &inline, know); !errors.Is(err, ErrNoSignature) || out.Len() > 0 {
		t.Errorf("inline: %q, %v", out.String(), err)
	}
}

// Somebody's certificate may claim a key that is not his. That takes nothing from whose it is.
func TestClaimedKey(t *testing.T) {
	a, mallory := alice(t), newKey(t, Generate{UserIDs: []string{"Mallory"}})
	claimed := *a.e.PrimaryKey
	claimed.IsSubkey = true
	lifetime := uint32(0)
	s := &packet.Signature{Version: 4, SigType: packet.SigTypeSubkeyBinding, PubKeyAlgo: mallory.e.PrimaryKey.PubKeyAlgo, Hash: crypto.SHA512,
		CreationTime: clock().Add(-time.Minute), IssuerKeyId: &mallory.e.PrimaryKey.KeyId, KeyLifetimeSecs: &lifetime, FlagsValid: true, FlagSign: true}
	if err := s.SignKey(&claimed, mallory.e.PrivateKey, policy(clock())); err != nil {
		t.Fatal(err)
	}
	mallory.e.Subkeys = append(mallory.e.Subkeys, openpgp.Subkey{Primary: mallory.e, PublicKey: &claimed, Bindings: []*packet.VerifiableSignature{packet.NewVerifiableSig(s)}})
	var signature bytes.Buffer
	if _, err := SignDetached(&signature, strings.NewReader("x"), Sign{Signers: []*Key{a}, Now: clock()}); err != nil {
		t.Fatal(err)
	}
	thief := again(t, mallory.Public())
	if len(thief.KeyIDs()) != 3 {
		t.Fatal("the certificate does not claim the key")
	}
	for _, certs := range [][]*Cert{{thief, a.Public()}, {a.Public(), thief}} {
		good, err := VerifyDetached(strings.NewReader("x"), bytes.NewReader(signature.Bytes()), Verify{Certs: certs, Now: clock()})
		if err != nil || good[0].Primary != a.Fingerprint() {
			t.Errorf("%v, %v", good, err)
		}
	}
	_, err := VerifyDetached(strings.NewReader("x"), bytes.NewReader(signature.Bytes()), Verify{Certs: []*Cert{thief}, Now: clock()})
	if !errors.Is(err, ErrNoSignature) {
		t.Errorf("the thief's: %v", err)
	}
}

// Whoever gets a signed message could encrypt it anew to somebody else, who would think that it was meant for him (RFC 9580 §5.2.3.36).
func TestForwardedSignature(t *testing.T) {
	a, b, carol := alice(t), bob(t), newKey(t, Generate{UserIDs: []string{"Carol"}})
	message := encrypted(t, "I quit", Encrypt{To: []*Cert{b.Public()}, Signers: []*Key{a}})
	var signed []byte // what is in the encrypted container
	o := Decrypt{Keys: []*Key{b}}
	session, err := readSessionKeys(newPackets(bytes.NewReader(message)))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(message, session[0].content)
	container, err := o.container(bytes.NewReader(rest))
	if err != nil {
		t.Fatal(err)
	}
	inner, _, _, err := o.open(container, session)
	if err != nil {
		t.Fatal(err)
	}
	if signed, err = io.ReadAll(inner); err != nil {
		t.Fatal(err)
	}
	var forwarded bytes.Buffer
	config := policy(clock())
	key, _ := carol.e.EncryptionKey(clock(), config)
	sessionKey := make([]byte, 32)
	if err := packet.SerializeEncryptedKeyAEADwithHiddenOption(&forwarded, key.PublicKey, packet.CipherAES256, false, sessionKey, false, config); err != nil {
		t.Fatal(err)
	}
	w, err := packet.SerializeSymmetricallyEncrypted(&forwarded, packet.CipherAES256, false, packet.CipherSuite{}, sessionKey, config)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(signed)
	w.Close()
	know := Verify{Certs: []*Cert{a.Public()}}
	if got, done, err := decrypt(message, Decrypt{Keys: []*Key{b}, Verify: know}); err != nil || got != "I quit" || len(done.Verifications) != 1 {
		t.Errorf("for whom it was: %q, %v, %v", got, done.Verifications, err)
	}
	if got, done, err := decrypt(forwarded.Bytes(), Decrypt{Keys: []*Key{carol}, Verify: know}); err != nil || got != "I quit" || len(done.Verifications) != 0 {
		t.Errorf("for somebody else: %q, %v, %v", got, done.Verifications, err)
	}
}

// The library encrypts to a certificate whose every user ID is revoked, as long as it has version 6.
func TestRevokedUserID(t *testing.T) {
	for _, k := range []*Key{alice(t), bob(t)} {
		if err := again(t, k.Public()).CanEncrypt(clock()); err != nil {
			t.Fatal(err)
		}
		for _, id := range k.e.Identities {
			s := &packet.Signature{Version: k.Version(), SigType: packet.SigTypeCertificationRevocation, PubKeyAlgo: k.e.PrimaryKey.PubKeyAlgo,
				Hash: crypto.SHA512, CreationTime: clock(), IssuerKeyId: &k.e.PrimaryKey.KeyId, IssuerKeyVersion: uint8(k.Version()),
				IssuerFingerprint: k.e.PrimaryKey.Fingerprint}
			if err := s.SignUserId(id.Name, k.e.PrimaryKey, k.e.PrivateKey, policy(clock())); err != nil {
				t.Fatal(err)
			}
			id.Revocations = append(id.Revocations, packet.NewVerifiableSig(s))
		}
		c := again(t, k.Public())
		if err := c.CanEncrypt(clock().Add(time.Minute)); !errors.Is(err, ErrCannotEncrypt) || len(c.UserIDs(clock().Add(time.Minute))) != 0 {
			t.Errorf("version %d: %v", k.Version(), err)
		}
	}
}

// One recipient who cannot be encrypted to is told before anything is written, and never left out. The zero time does not turn expiry off.
func TestUnusableRecipients(t *testing.T) {
	good := alice(t)
	past := time.Now().Add(-48 * time.Hour)
	expired := newKey(t, Generate{UserIDs: []string{"E"}, Now: past, Lifetime: time.Hour})
	revoked := newKey(t, Generate{UserIDs: []string{"R"}})
	if err := revoked.Revoke(clock()); err != nil {
		t.Fatal(err)
	}
	for what, k := range map[string]*Key{
		"expired": expired, "revoked": revoked, "to sign only": newKey(t, Generate{UserIDs: []string{"S"}, SigningOnly: true}),
		"of the future": newKey(t, Generate{UserIDs: []string{"F"}, Now: time.Now().Add(24 * time.Hour)}),
	} {
		var b bytes.Buffer
		err := EncryptTo(&b, strings.NewReader("x"), Encrypt{To: []*Cert{good.Public(), again(t, k.Public())}})
		if !errors.Is(err, ErrCannotEncrypt) || b.Len() > 0 {
			t.Errorf("%s: %v, %d octets", what, err, b.Len())
		}
	}
	if err := expired.CanEncrypt(past.Add(time.Minute)); err != nil {
		t.Errorf("when it was not expired: %v", err)
	}
	for what, k := range map[string]*Key{"expired": expired, "revoked": revoked} {
		if _, err := SignDetached(io.Discard, strings.NewReader("x"), Sign{Signers: []*Key{k}}); !errors.Is(err, ErrCannotSign) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := EncryptTo(io.Discard, strings.NewReader("x"), Encrypt{}); !errors.Is(err, ErrCannotEncrypt) {
		t.Errorf("to nobody: %v", err)
	}
}

// A key that is revoked without a reason, or as compromised, made no signature that counts; old mail still opens.
func TestRevokedKey(t *testing.T) {
	k := alice(t)
	var s bytes.Buffer
	if _, err := SignDetached(&s, strings.NewReader("x"), Sign{Signers: []*Key{k}, Now: clock()}); err != nil {
		t.Fatal(err)
	}
	old := again(t, k.Public())
	message := encrypted(t, "old", Encrypt{To: []*Cert{k.Public()}})
	if err := k.Revoke(clock().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	know := Verify{Certs: []*Cert{again(t, k.Public())}, Now: clock()}
	if _, err := VerifyDetached(strings.NewReader("x"), bytes.NewReader(s.Bytes()), know); !errors.Is(err, ErrNoSignature) {
		t.Error(err)
	}
	if got, _, err := decrypt(message, Decrypt{Keys: []*Key{k}}); err != nil || got != "old" {
		t.Error(err)
	}
	// What is revoked remains so, whatever else is merged.
	if !old.Merge(again(t, k.Public())) || old.Merge(again(t, alice(t).Public())) || !again(t, old).Revoked(clock().Add(2*time.Hour)) {
		t.Error("the revocation is lost")
	}
}

func TestWeakKeys(t *testing.T) {
	weak := policy(clock())
	weak.Algorithm, weak.RSABits, weak.MinRSABits = packet.PubKeyAlgoRSA, 1024, 1024
	e, err := openpgp.NewEntity("W", "", "", weak)
	if err != nil {
		t.Fatal(err)
	}
	k := &Key{Cert{e}}
	if err := again(t, k.Public()).CanEncrypt(clock()); !errors.Is(err, ErrCannotEncrypt) {
		t.Error(err)
	}
	var s bytes.Buffer
	if err := openpgp.DetachSign(&s, []*openpgp.Entity{e}, strings.NewReader("x"), weak); err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyDetached(strings.NewReader("x"), &s, Verify{Certs: []*Cert{k.Public()}, Now: clock()}); !errors.Is(err, ErrNoSignature) {
		t.Error(err)
	}
	p := policy(clock())
	for _, h := range []crypto.Hash{crypto.MD5, crypto.RIPEMD160, crypto.SHA1} {
		if !p.RejectHashAlgorithm(h) || !p.RejectMessageHashAlgorithm(h) {
			t.Errorf("%v counts", h)
		}
	}
	if !p.RejectPublicKeyAlgorithm(packet.PubKeyAlgoDSA) || !p.RejectPublicKeyAlgorithm(packet.PubKeyAlgoElGamal) {
		t.Error("DSA or ElGamal counts")
	}
}

// A message without integrity protection (RFC 9580 §5.7) is refused, whoever it is from.
func TestUnprotected(t *testing.T) {
	k := alice(t)
	message := encrypted(t, "x", Encrypt{To: []*Cert{k.Public()}})
	session, err := readSessionKeys(newPackets(bytes.NewReader(message)))
	if err != nil {
		t.Fatal(err)
	}
	old := appendPacket(appendPacket(nil, tagPKESK, session[0].content), 9, make([]byte, 100))
	if _, _, err := decrypt(old, Decrypt{Keys: []*Key{k}}); !errors.Is(err, ErrData) {
		t.Error(err)
	}
}

// Wrong passwords give session keys that look right, and the library spoils a message by trying one. The right one must open it all the same.
func TestManyPasswords(t *testing.T) {
	cheap := encrypting(clock(), Classic, nil)
	cheap.S2KConfig.S2KCount = 65_536
	var message bytes.Buffer
	w, err := openpgp.SymmetricallyEncryptWithParams([]byte("right"), &message, &openpgp.EncryptParams{Config: cheap, Hints: &openpgp.FileHints{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "text"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var passwords []string
	for i := range 2000 {
		passwords = append(passwords, fmt.Sprint(i))
	}
	if got, _, err := decrypt(message.Bytes(), Decrypt{Passwords: append(passwords, "right")}); err != nil || got != "text" {
		t.Errorf("%q, %v", got, err)
	}
	if _, _, err := decrypt(message.Bytes(), Decrypt{Passwords: passwords}); !errors.Is(err, ErrCannotDecrypt) {
		t.Error(err)
	}
}

func TestPanicIsAnError(t *testing.T) {
	if err := guarded(func() error { panic("library") }); !errors.Is(err, ErrData) {
		t.Error(err)
	}
}

// hostile are keys that cost more than they are worth.
func hostile(t testing.TB) map[string][]byte {
	k := bob(t)
	if err := k.Lock("secret"); err != nil {
		t.Fatal(err)
	}
	var locked, cert bytes.Buffer
	if err := errors.Join(k.Write(&locked), alice(t).Public().Write(&cert)); err != nil {
		t.Fatal(err)
	}
	greedy := slices.Clone(locked.Bytes())
	at := bytes.Index(greedy, []byte{253, 38, 9, 2, 20, 4}) // protected, 38 octets follow: AES-256, OCB, 20 octets of Argon2
	if at < 0 {
		t.Fatal("no Argon2 in a locked key")
	}
	memory := at + 5 + 1 + 16 + 2
	greedy[memory] = 31 // 2 TiB
	slow := slices.Clone(locked.Bytes())
	slow[memory-2] = 255 // passes
	subkey := append([]byte{4, 0, 0, 0, 1, 22}, make([]byte, 44)...)
	many := slices.Clone(cert.Bytes())
	for range 10_000 {
		many = appendPacket(many, tagPublicSub, subkey)
	}
	ids := slices.Clone(cert.Bytes())
	for range maxUserIDs + 1 {
		ids = appendPacket(ids, tagUserID, []byte("x"))
	}
	return map[string][]byte{
		"2 TiB": greedy, "255 passes": slow, "10,000 subkeys": many, "user IDs": ids,
		"1 MB user ID": appendPacket(slices.Clone(cert.Bytes()), tagUserID, make([]byte, 1<<20)),
		"too large":    appendPacket(slices.Clone(cert.Bytes()), 63, make([]byte, MaxOwn)),
	}
}

// Hostile keys are refused at once, and before there is much in memory.
func TestHostileKeys(t *testing.T) {
	for what, data := range hostile(t) {
		fastest := time.Hour
		for range 5 { // the machine may have other things to do
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begun := time.Now()
			_, err := ReadKeys(bytes.NewReader(data), MaxOwn)
			fastest = min(fastest, time.Since(begun))
			runtime.ReadMemStats(&after)
			if !errors.Is(err, ErrTooLarge) {
				t.Fatalf("%s: %v", what, err)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 && !testing.Short() { // a race detector takes its share
				t.Errorf("%s: %d octets", what, used)
			}
		}
		if fastest > 50*time.Millisecond && !testing.Short() {
			t.Errorf("%s: %v", what, fastest)
		}
		if len(data) > MaxForeign {
			if _, err := ReadCerts(bytes.NewReader(data), MaxForeign); !errors.Is(err, ErrTooLarge) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}

// A secret key of version 5, which a draft had, may say that 4 GiB of it follow.
func TestVersion5(t *testing.T) {
	key := append([]byte{5, 0, 0, 0, 1, 27, 0, 0, 0, 32}, make([]byte, 32)...)
	key = append(key, 0, 0, 0xff, 0xff, 0xff, 0xf0)
	if _, err := ReadKeys(bytes.NewReader(appendPacket(nil, tagSecretKey, key)), MaxOwn); !errors.Is(err, ErrAlgorithm) {
		t.Error(err)
	}
}

// A message may not ask for much either.
func TestHostileMessages(t *testing.T) {
	k := alice(t)
	one := encrypted(t, "x", Encrypt{To: []*Cert{k.Public()}})
	session, err := readSessionKeys(newPackets(bytes.NewReader(one)))
	if err != nil {
		t.Fatal(err)
	}
	var crowd, passwords, nested, signatures []byte
	for range MaxRecipients + 1 {
		crowd = appendPacket(crowd, tagPKESK, session[0].content)
	}
	skesk := []byte{4, 9, 3, 8, 1, 2, 3, 4, 5, 6, 7, 8, 96}
	for range maxPasswordKeys + 1 {
		passwords = appendPacket(passwords, tagSKESK, skesk)
	}
	nested = appendPacket(nil, tagLiteral, []byte("b\x00\x00\x00\x00\x00x"))
	for range maxNesting + 1 {
		nested = appendPacket(nil, tagCompressed, append([]byte{0}, nested...))
	}
	for range MaxSignatures + 1 {
		signatures = appendPacket(signatures, tagOnePass, []byte{3, 0, 8, 22, 1, 2, 3, 4, 5, 6, 7, 8, 0})
	}
	argon := appendPacket(nil, tagSKESK, append([]byte{4, 9, 4}, bytes.Repeat([]byte{31}, 19)...))
	for what, c := range map[string][]byte{"recipients": crowd, "passwords": passwords, "Argon2": argon} {
		if _, _, err := decrypt(append(c, one...), Decrypt{Keys: []*Key{k}, Passwords: []string{"x"}}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, c := range map[string][]byte{"compressed": nested, "signatures": signatures} {
		if _, err := VerifyInline(io.Discard, bytes.NewReader(c), Verify{}); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", what, err)
		}
	}
	detached := bytes.Repeat(appendPacket(nil, tagSignature, []byte{4}), MaxSignatures+1)
	if _, err := VerifyDetached(strings.NewReader(""), bytes.NewReader(detached), Verify{}); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	small := int64(10)
	r, err := decompressed(newPackets(bytes.NewReader(appendPacket(nil, tagCompressed, append([]byte{0}, make([]byte, 100)...)))), &small)
	if err == nil {
		_, err = io.ReadAll(r)
	}
	if err == nil {
		t.Error("a compressed packet has more than it may")
	}
}
