package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"

	"posthouse/crypto/dkim"
	"posthouse/directory"
	"posthouse/internal/vfs"
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
	keys, err := readKeys(vfs.OS{}, dir)
	if err == nil && len(keys) == 0 {
		if keys, err = makeKeys(); err == nil {
			err = writeKeys(vfs.OS{}, dir, keys)
		}
		k.log.Info("made DKIM keys; publish their records", "domain", domain, "dir", dir)
	}
	if err != nil {
		return err
	}
	for i := range keys {
		keys[i].Domain = domain
	}
	s, err := dkim.NewSigner(keys)
	if err != nil {
		return err
	}
	k.keys[domain], k.signers[domain] = keys, s
	return nil
}
