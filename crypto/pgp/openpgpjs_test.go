package pgp

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// openPGPjs makes a key, a message for it and a signature with OpenPGP.js, and reads a message and a signature of ours.
const openPGPjs = `import * as openpgp from 'MODULE/dist/node/openpgp.mjs';
import fs from 'fs';
const text = fs.readFileSync('text');
const key = await openpgp.readKey({armoredKey: fs.readFileSync('cert.asc', 'utf8')});
const secret = await openpgp.readPrivateKey({armoredKey: fs.readFileSync('key.asc', 'utf8')});
if (process.argv[2] === 'make') {
  fs.writeFileSync('out', await openpgp.encrypt({message: await openpgp.createMessage({binary: text}), encryptionKeys: key, signingKeys: secret}));
  fs.writeFileSync('sig', await openpgp.sign({message: await openpgp.createMessage({binary: text}), signingKeys: secret, detached: true}));
} else if (process.argv[2] === 'key') {
  const made = await openpgp.generateKey({userIDs: [{name: 'Alice'}], type: 'curve25519', config: {v6Keys: true}});
  fs.writeFileSync('key.asc', made.privateKey);
} else {
  const opened = await openpgp.decrypt({message: await openpgp.readMessage({armoredMessage: fs.readFileSync('message', 'utf8')}),
    decryptionKeys: secret, verificationKeys: key, expectSigned: true, format: 'binary'});
  if (Buffer.compare(Buffer.from(opened.data), text) !== 0) throw new Error('another text');
  const verified = await openpgp.verify({message: await openpgp.createMessage({binary: text}), verificationKeys: key,
    signature: await openpgp.readSignature({armoredSignature: fs.readFileSync('sig', 'utf8')})});
  await verified.signatures[0].verified;
}
`

// TestOpenPGPjs is the one with a program that has version 6, besides version 4. It needs node, and the folder of the module openpgp 6 in
// POSTHOUSE_OPENPGPJS, which no package of Debian's brings.
func TestOpenPGPjs(t *testing.T) {
	module := os.Getenv("POSTHOUSE_OPENPGPJS")
	if module == "" {
		t.Skip("POSTHOUSE_OPENPGPJS names no folder")
	}
	for _, profile := range []Profile{Classic, Modern} {
		p := place{t, t.TempDir()}
		p.write("s.mjs", []byte(strings.ReplaceAll(openPGPjs, "MODULE", module)))
		text := strings.Repeat("Dear Bob,\r\nhow are you?\r\n", 20_000)
		p.write("text", []byte(text))
		k := newKey(t, Generate{Profile: profile, UserIDs: []string{"Alice <alice@example.org>"}, Now: time.Now().Add(-time.Hour)})
		js := func(what string) {
			c := exec.Command("node", "s.mjs", what)
			c.Dir = p.dir
			if out, err := c.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", what, err, out)
			}
		}
		exchange := func() {
			var key, cert, message, signature bytes.Buffer
			if err := WriteKeys(&key, []*Key{k}); err != nil {
				t.Fatal(err)
			}
			if err := WriteCerts(&cert, []*Cert{k.Public()}); err != nil {
				t.Fatal(err)
			}
			p.write("key.asc", key.Bytes())
			p.write("cert.asc", cert.Bytes())
			js("make")
			know := Verify{Certs: []*Cert{k.Public()}, Now: time.Now().Add(time.Minute)}
			got, done, err := decrypt(p.read("out"), Decrypt{Keys: []*Key{k}, Verify: know})
			if err != nil || got != text || len(done.Verifications) != 1 {
				t.Errorf("version %d: %d octets, %v, %v", k.Version(), len(got), done.Verifications, err)
			}
			if good, err := VerifyDetached(strings.NewReader(text), bytes.NewReader(p.read("sig")), know); err != nil {
				t.Errorf("version %d: %v, %v", k.Version(), good, err)
			}
			if err := EncryptTo(&message, strings.NewReader(text), Encrypt{To: []*Cert{k.Public()}, Signers: []*Key{k}, Armor: true}); err != nil {
				t.Fatal(err)
			}
			if _, err := SignDetached(&signature, strings.NewReader(text), Sign{Signers: []*Key{k}, Armor: true}); err != nil {
				t.Fatal(err)
			}
			p.write("message", message.Bytes())
			p.write("sig", signature.Bytes())
			js("take")
		}
		exchange()
		if profile == Modern {
			js("key")
			theirs, err := ReadKeys(bytes.NewReader(p.read("key.asc")), MaxOwn)
			if err != nil {
				t.Fatal(err)
			}
			k = theirs[0]
			exchange()
		}
	}
}
