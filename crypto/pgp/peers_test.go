package pgp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"posthouse/internal/testkit"
)

// peer is another program and how it does things, as shell commands. They find key.asc, cert.asc, text, and message or sig, and write out.
type peer struct {
	program                string
	generate               string // writes key.asc
	knows                  string // takes over key.asc
	encrypt, hide, decrypt string // with a signature, by alice for herself; to nobody in particular; with a check of the signature
	sign, verify           string
	inline, clear, read    string // a signed message, a cleartext, and reading either
	sha1                   string // signs with a hash that is weak
}

func peers() []peer {
	const gpg = "gpg --homedir h --batch --yes --quiet --trust-model always "
	const rnp = "rnp --homedir h "
	return []peer{
		{
			program: "gpg",
			generate: gpg + "--passphrase '' --quick-generate-key alice@example.org ed25519 default never && " +
				"FPR=$(" + gpg + "--with-colons -k | awk -F: '/^fpr/{print $10; exit}') && " +
				gpg + "--passphrase '' --quick-add-key $FPR cv25519 encr never && " + gpg + "--armor --export-secret-keys > key.asc",
			knows:   gpg + "--import key.asc",
			encrypt: gpg + "-r alice@example.org -u alice@example.org -s -e -o out text",
			hide:    gpg + "-R alice@example.org -e -o out text",
			decrypt: gpg + "--status-fd 3 -d message 3>status > out && grep -q GOODSIG status",
			sign:    gpg + "-u alice@example.org -b -o out text",
			verify:  gpg + "--verify sig text",
			inline:  gpg + "-u alice@example.org -s -o out text",
			clear:   gpg + "-u alice@example.org --clearsign -o out text",
			read:    gpg + "--status-fd 3 -d message 3>status > out && grep -q GOODSIG status",
			sha1:    gpg + "-u alice@example.org --digest-algo SHA1 --personal-digest-preferences SHA1 --allow-weak-digest-algos --armor -b -o out text",
		},
		{
			program:  "sqop",
			generate: "sqop generate-key 'Alice <alice@example.org>' > key.asc",
			encrypt:  "sqop encrypt --sign-with key.asc cert.asc < text > out",
			decrypt:  "rm -f verified && sqop decrypt --verify-with cert.asc --verifications-out verified key.asc < message > out && test -s verified",
			sign:     "sqop sign key.asc < text > out",
			verify:   "sqop verify sig cert.asc < text",
			inline:   "sqop inline-sign key.asc < text > out",
			clear:    "sqop inline-sign --as=clearsigned key.asc < text > out",
			read:     "sqop inline-verify cert.asc < message > out",
		},
		{
			program:  "sq",
			generate: "sq key generate --userid 'Alice <alice@example.org>' --export key.asc",
			encrypt:  "sq encrypt --recipient-cert cert.asc --signer-key key.asc -o out text",
			decrypt:  "sq decrypt --signatures 1 --recipient-key key.asc --signer-cert cert.asc -o out message",
			sign:     "sq sign --detached --signer-key key.asc -o out text",
			verify:   "sq verify --detached sig --signer-cert cert.asc text",
			inline:   "sq sign --signer-key key.asc -o out text",
			clear:    "sq sign --cleartext-signature --signer-key key.asc -o out text",
			read:     "sq verify --signer-cert cert.asc -o out message",
		},
		{
			program: "rnp",
			generate: "rnpkeys --homedir h --userid 'Alice <alice@example.org>' --generate-key --password '' && " +
				"rnpkeys --homedir h --export-key --secret --userid alice@example.org > key.asc",
			knows:   "rnpkeys --homedir h --import-keys key.asc",
			encrypt: rnp + "-e -r alice@example.org -s -u alice@example.org --output out text",
			decrypt: rnp + "-d --output out message",
			sign:    rnp + "-s --detach -u alice@example.org --output out text",
			verify:  rnp + "-v sig --source text",
			inline:  rnp + "-s -u alice@example.org --output out text",
			clear:   rnp + "--clearsign -u alice@example.org --output out text",
			read:    rnp + "-d --output out message",
		},
	}
}

// place is where a peer works.
type place struct {
	t   *testing.T
	dir string
}

func (p place) write(name string, content []byte) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), content, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p place) read(name string) []byte {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

func (p place) try(command string) error {
	os.Remove(filepath.Join(p.dir, "out"))
	ctx, stop := context.WithTimeout(p.t.Context(), time.Minute) // a program that asks somebody has nobody to answer it
	defer stop()
	c := exec.CommandContext(ctx, "sh", "-c", command)
	c.Dir, c.WaitDelay = p.dir, time.Second
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func (p place) run(command string) {
	p.t.Helper()
	if err := p.try(command); err != nil {
		p.t.Fatalf("%s: %v", command, err)
	}
}

// Keys, signatures and messages of ours and of other programs are good for the other side, and what is wrong is refused on both.
func TestPeers(t *testing.T) {
	for _, peer := range peers() {
		t.Run(peer.program, func(t *testing.T) {
			testkit.Peer(t, peer.program)
			for _, whose := range []string{"ours", "theirs"} {
				t.Run(whose, func(t *testing.T) {
					p := gpgPlace(t)
					if whose == "theirs" {
						p.run(peer.generate)
					} else {
						var b bytes.Buffer
						if err := WriteKeys(&b, []*Key{newKey(t, Generate{UserIDs: []string{"Alice <alice@example.org>"}, Now: time.Now()})}); err != nil {
							t.Fatal(err)
						}
						p.write("key.asc", b.Bytes())
					}
					exchange(p, peer)
				})
			}
		})
	}
}

// exchange plays all there is to play with one key on both sides.
func exchange(p place, peer peer) {
	keys, err := ReadKeys(bytes.NewReader(p.read("key.asc")), MaxOwn)
	if err != nil {
		p.t.Fatal(err)
	}
	k := keys[0]
	var cert bytes.Buffer
	if err := WriteCerts(&cert, []*Cert{k.Public()}); err != nil {
		p.t.Fatal(err)
	}
	p.write("cert.asc", cert.Bytes())
	if peer.knows != "" {
		p.run(peer.knows)
	}
	text := strings.Repeat("Dear Bob,\r\nhow are you?  \r\n", 5000)
	p.write("text", []byte(text))
	theirs(p, peer, k, text)
	ours(p, peer, k, text)
	inline(p, peer, k, text)
}

// theirs is what they make and we take.
func theirs(p place, peer peer, k *Key, text string) {
	know := Verify{Certs: []*Cert{k.Public()}, Now: time.Now().Add(time.Minute)}
	for _, command := range []string{peer.encrypt, peer.hide} {
		if command == "" {
			continue
		}
		p.run(command)
		message := p.read("out")
		got, done, err := decrypt(message, Decrypt{Keys: []*Key{k}, Verify: know})
		if err != nil || got != text || len(done.Verifications) != 1 && command == peer.encrypt {
			p.t.Errorf("%s: %d octets, %v, %v", command, len(got), done.Verifications, err)
		}
		if to, ok, err := Encrypted(bytes.NewReader(message)); !ok || err != nil || (to[0] == 0) != (command == peer.hide) {
			p.t.Errorf("%s: %v %v %v", command, to, ok, err)
		}
		changed := bytes.Clone(message)
		changed[len(changed)-100] ^= 1
		if got, _, err := decrypt(changed, Decrypt{Keys: []*Key{k}}); err == nil || got != "" {
			p.t.Errorf("%s, changed: %d octets, %v", command, len(got), err)
		}
	}
	p.run(peer.sign)
	signature := p.read("out")
	if good, err := VerifyDetached(strings.NewReader(text), bytes.NewReader(signature), know); err != nil || len(good) != 1 {
		p.t.Errorf("their signature: %v, %v", good, err)
	}
	if _, err := VerifyDetached(strings.NewReader(text+"."), bytes.NewReader(signature), know); !errors.Is(err, ErrNoSignature) {
		p.t.Errorf("their signature, over another text: %v", err)
	}
	if peer.sha1 != "" {
		if err := p.try(peer.sha1); err != nil {
			p.t.Logf("it does not sign with SHA-1: %v", err)
		} else if _, err := VerifyDetached(strings.NewReader(text), bytes.NewReader(p.read("out")), know); !errors.Is(err, ErrNoSignature) {
			p.t.Errorf("their signature with SHA-1: %v", err)
		}
	}
}

// inline plays signed messages and cleartexts in both directions. Programs differ in how a cleartext ends.
func inline(p place, peer peer, k *Key, text string) {
	text = strings.ReplaceAll(text, "  \r\n", "\r\n") // sq 0.27 does not take its own with blanks before CRLF
	p.write("text", []byte(text))
	same := func(got string) bool {
		return strings.TrimRight(strings.ReplaceAll(got, "\r\n", "\n"), "\n") == strings.TrimRight(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	}
	for _, command := range []string{peer.inline, peer.clear} {
		p.run(command)
		var got bytes.Buffer
		good, err := VerifyInline(&got, bytes.NewReader(p.read("out")), Verify{Certs: []*Cert{k.Public()}, Now: time.Now().Add(time.Minute)})
		if err != nil || len(good) != 1 || !same(got.String()) {
			p.t.Errorf("%s: %d octets, %v, %v", command, got.Len(), good, err)
		}
	}
	for what, sign := range map[string]func(io.Writer, io.Reader, Sign) error{"inline": SignInline, "cleartext": SignCleartext} {
		var message bytes.Buffer
		if err := sign(&message, strings.NewReader(text), Sign{Signers: []*Key{k}}); err != nil {
			p.t.Fatal(err)
		}
		p.write("message", message.Bytes())
		p.run(peer.read)
		if !same(string(p.read("out"))) {
			p.t.Errorf("%s: they read something else", what)
		}
	}
}

// ours is what we make and they take.
func ours(p place, peer peer, k *Key, text string) {
	for what, o := range map[string]Encrypt{
		"named":  {To: []*Cert{k.Public()}, Armor: true},
		"bare":   {To: []*Cert{k.Public()}},
		"hidden": {Hidden: []*Cert{k.Public()}},
		"text":   {To: []*Cert{k.Public()}, Text: true},
	} {
		var message bytes.Buffer
		o.Signers = []*Key{k}
		if err := EncryptTo(&message, strings.NewReader(text), o); err != nil {
			p.t.Fatal(err)
		}
		p.write("message", message.Bytes())
		if peer.program == "rnp" && what == "hidden" {
			continue // rnp 0.16 does not try its keys on a hidden recipient's
		}
		p.run(peer.decrypt)
		if got := string(p.read("out")); got != text && (what != "text" || got != strings.ReplaceAll(text, "\r\n", "\n")) { // GnuPG has line ends of its own
			p.t.Errorf("%s: they read something else", what)
		}
	}
	var changed bytes.Buffer
	if err := EncryptTo(&changed, strings.NewReader(text), Encrypt{To: []*Cert{k.Public()}, Signers: []*Key{k}}); err != nil {
		p.t.Fatal(err)
	}
	changed.Bytes()[changed.Len()-100] ^= 1
	p.write("message", changed.Bytes())
	if p.try(peer.decrypt) == nil {
		p.t.Error("they take a message that was changed")
	}
	var signature bytes.Buffer
	if _, err := SignDetached(&signature, strings.NewReader(text), Sign{Signers: []*Key{k}, Armor: true}); err != nil {
		p.t.Fatal(err)
	}
	p.write("sig", signature.Bytes())
	p.run(peer.verify)
	p.write("text", []byte(text+"."))
	if p.try(peer.verify) == nil {
		p.t.Error("they take a signature over another text")
	}
	p.write("text", []byte(text))
}

// GnuPG understands what we say of our keys: that they expire, and that they are revoked.
func TestPeersSeeExpiryAndRevocation(t *testing.T) {
	testkit.Peer(t, "gpg")
	p := gpgPlace(t)
	p.write("text", []byte("x"))
	made := time.Now().Add(-time.Hour)
	revoked := newKey(t, Generate{UserIDs: []string{"R <r@example.org>"}, Now: made})
	if err := revoked.Revoke(time.Now()); err != nil {
		t.Fatal(err)
	}
	const gpg = "gpg --homedir h --batch --yes --quiet --trust-model always "
	for _, c := range []struct {
		key    *Key
		usable bool
	}{
		{newKey(t, Generate{UserIDs: []string{"E <e@example.org>"}, Now: made, Lifetime: time.Minute}), false},
		{revoked, false},
		{newKey(t, Generate{UserIDs: []string{"G <g@example.org>"}, Now: made, Lifetime: time.Hour * 48}), true},
	} {
		var b bytes.Buffer
		if err := WriteCerts(&b, []*Cert{c.key.Public()}); err != nil {
			t.Fatal(err)
		}
		p.write("cert.asc", b.Bytes())
		p.run(gpg + "--import cert.asc")
		if err := p.try(gpg + "-r " + c.key.Fingerprint() + " -e -o out text"); (err == nil) != c.usable {
			t.Errorf("%v: %v", c.key.UserIDs(made), err)
		}
	}
}

// gpgPlace is a place with a folder for GnuPG, whose agent ends with the test. Its path is short: the agent has a socket in it.
func gpgPlace(t *testing.T) place {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		exec.Command("gpgconf", "--homedir", filepath.Join(dir, "h"), "--kill", "all").Run()
		os.RemoveAll(dir)
	})
	p := place{t, dir}
	if err := os.Mkdir(filepath.Join(dir, "h"), 0o700); err != nil {
		t.Fatal(err)
	}
	return p
}

// A secret key that is protected by a password opens on both sides.
func TestPeersTakeProtectedKeys(t *testing.T) {
	testkit.Peer(t, "gpg")
	p := gpgPlace(t)
	k := newKey(t, Generate{UserIDs: []string{"Alice <alice@example.org>"}, Now: time.Now().Add(-time.Hour)})
	if err := k.Lock("secret"); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := WriteKeys(&b, []*Key{k}); err != nil {
		t.Fatal(err)
	}
	p.write("key.asc", b.Bytes())
	p.write("text", []byte("x"))
	const gpg = "gpg --homedir h --batch --yes --pinentry-mode loopback --passphrase secret "
	p.run(gpg + "--import key.asc && " + gpg + "-b -o out text && " + gpg + "--armor --export-secret-keys > back.asc")
	know := Verify{Certs: []*Cert{k.Public()}, Now: time.Now().Add(time.Minute)}
	if good, err := VerifyDetached(strings.NewReader("x"), bytes.NewReader(p.read("out")), know); err != nil {
		t.Errorf("%v, %v", good, err)
	}
	back, err := ReadKeys(bytes.NewReader(p.read("back.asc")), MaxOwn)
	if err != nil || !back[0].Locked() || !errors.Is(back[0].Unlock("wrong"), ErrLocked) || back[0].Unlock("wrong", "secret") != nil {
		t.Fatalf("%v", err)
	}
	if _, err := SignDetached(io.Discard, strings.NewReader("x"), Sign{Signers: back[:1]}); err != nil {
		t.Error(err)
	}
}

// A key of former times says what it is by SHA-1. It does not count until it says so anew; then it does, here and there.
func TestPeersOldKey(t *testing.T) {
	testkit.Peer(t, "gpg")
	p := gpgPlace(t)
	p.write("text", []byte("x"))
	const gpg = "gpg --homedir h --batch --yes --quiet --trust-model always --passphrase '' --cert-digest-algo SHA1 "
	p.run(gpg + "--quick-generate-key alice@example.org rsa2048 default never && FPR=$(" + gpg + "--with-colons -k | awk -F: '/^fpr/{print $10; exit}') && " +
		gpg + "--quick-add-key $FPR rsa2048 encr never && " + gpg + "--armor --export-secret-keys > key.asc")
	keys, err := ReadKeys(bytes.NewReader(p.read("key.asc")), MaxOwn)
	if err != nil {
		t.Fatal(err)
	}
	k, soon := keys[0], time.Now().Add(time.Minute)
	if err := k.CanEncrypt(soon); !errors.Is(err, ErrCannotEncrypt) {
		t.Errorf("old: %v", err)
	}
	if err := k.Update(Update{Now: soon}); err != nil {
		t.Fatal(err)
	}
	renewed := again(t, k.Public())
	if err := renewed.CanEncrypt(soon.Add(time.Minute)); err != nil || len(renewed.KeyIDs()) != 2 {
		t.Errorf("renewed: %v, %v", err, renewed.KeyIDs())
	}
	var s, cert bytes.Buffer
	if _, err := SignDetached(&s, strings.NewReader("x"), Sign{Signers: keys, Now: soon.Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	if err := WriteCerts(&cert, []*Cert{renewed}); err != nil {
		t.Fatal(err)
	}
	p.write("sig", s.Bytes())
	p.write("cert.asc", cert.Bytes())
	later := fmt.Sprintf("gpg --homedir fresh --no-autostart --batch --weak-digest SHA1 --faked-system-time %d ", soon.Add(time.Hour).Unix())
	p.run("mkdir -m 700 fresh && " + later + "--import cert.asc && " + later + "--verify sig text")
}
