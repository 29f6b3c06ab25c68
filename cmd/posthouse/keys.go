package main

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"posthouse/crypto/dkim"
	"posthouse/directory"
	"posthouse/internal/vfs"
)

// Selectors of the keys a domain gets at first, and the size of its RSA key.
const (
	rsaSelector     = "ph1-rsa"
	ed25519Selector = "ph1-ed25519"
	rsaBits         = 2048
)

// dkimKeys are the signing keys of our domains: DIR/DOMAIN/SELECTOR.pem, made for a domain when it is first met.
type dkimKeys struct {
	dir       string
	directory directory.Directory
	log       *slog.Logger

	mu      sync.Mutex
	keys    map[string][]dkim.Key // by domain; as many as there are domains of ours
	signers map[string]*dkim.Signer
}

// open makes sure that every domain has keys.
func (k *dkimKeys) open() error {
	k.keys, k.signers = map[string][]dkim.Key{}, map[string]*dkim.Signer{}
	domains, err := k.directory.Domains(context.Background())
	if err != nil {
		return err
	}
	for _, d := range domains {
		if err := k.load(d.Name); err != nil {
			return fmt.Errorf("DKIM keys of %s: %w", d.Name, err)
		}
	}
	return nil
}

// records are the TXT records to publish for a domain, by name.
func (k *dkimKeys) records(domain string) (map[string]string, error) {
	k.signer(domain) // so that one added meanwhile has keys
	k.mu.Lock()
	defer k.mu.Unlock()
	all := map[string]string{}
	for _, key := range k.keys[domain] {
		name, value, err := key.Record()
		if err != nil {
			return nil, err
		}
		all[name] = value
	}
	return all, nil
}

// signer is the signer of an author's domain; nil if the domain is not ours. A domain that was added meanwhile gets its keys now.
func (k *dkimKeys) signer(domain string) *dkim.Signer {
	if ours, err := k.directory.IsLocal(context.Background(), domain); err != nil || !ours {
		return nil
	}
	k.mu.Lock()
	s := k.signers[domain]
	k.mu.Unlock()
	if s != nil {
		return s
	}
	if err := k.load(domain); err != nil {
		k.log.Error("mail leaves without a DKIM signature", "domain", domain, "error", err)
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.signers[domain]
}

// sign makes the DKIM-Signature fields of a notice of ours. Notices are from our host, whose domain is the one above it that is ours
// (relaxed alignment: RFC 7489 §3.1.1); none if there is none.
func (k *dkimKeys) sign(domain string, content io.ReaderAt, size int64) ([]byte, error) {
	for above := true; above; _, domain, above = strings.Cut(domain, ".") {
		if s := k.signer(domain); s != nil {
			return s.Sign(content, size)
		}
	}
	return nil, nil
}

// load reads a domain's keys, and makes them if there are none.
func (k *dkimKeys) load(domain string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	dir := filepath.Join(k.dir, domain)
	files, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		if files, err = makeKeys(dir); err != nil {
			return err
		}
		k.log.Info("made DKIM keys; publish their records", "domain", domain, "dir", dir)
	}
	var keys []dkim.Key
	for _, file := range files {
		private, err := readKey(file)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		keys = append(keys, dkim.Key{Domain: domain, Selector: strings.TrimSuffix(filepath.Base(file), ".pem"), Private: private})
	}
	s, err := dkim.NewSigner(keys)
	if err != nil {
		return err
	}
	k.keys[domain], k.signers[domain] = keys, s
	return nil
}

// makeKeys makes all keys of a domain or none: they take their place together, whenever the process dies.
func makeKeys(dir string) (files []string, err error) {
	draft := dir + ".new"
	if err := os.RemoveAll(draft); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(draft, 0o700); err != nil {
		return nil, err
	}
	r, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return nil, err
	}
	_, e, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	for _, k := range []struct {
		selector string
		private  any
	}{{rsaSelector, r}, {ed25519Selector, e}} {
		name := k.selector + ".pem"
		if err := writeKey(filepath.Join(draft, name), k.private); err != nil {
			return nil, err
		}
		files = append(files, filepath.Join(dir, name))
	}
	if err := (vfs.OS{}).SyncDir(draft); err != nil {
		return nil, err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // an empty folder would be in the way
		return nil, err
	}
	if err := os.Rename(draft, dir); err != nil {
		return nil, err
	}
	return files, (vfs.OS{}).SyncDir(filepath.Dir(dir))
}

func writeKey(file string, private any) error {
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der}), f.Sync(), f.Close())
}

func readKey(file string) (crypto.Signer, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("not a PEM file")
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of type %T cannot sign", private)
	}
	return signer, nil
}
