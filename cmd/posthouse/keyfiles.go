package main

import (
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
	"path"
	"path/filepath"
	"strings"

	"posthouse/crypto/dkim"
	"posthouse/internal/vfs"
)

// Selectors of the keys a domain gets at first, and the size of its RSA key.
const (
	rsaSelector     = "ph1-rsa"
	ed25519Selector = "ph1-ed25519"
	rsaBits         = 2048
)

const (
	keySuffix  = ".pem"
	maxKeyFile = 64 << 10 // octets of a key in PEM
)

// makeKeys makes a domain's first keys.
func makeKeys() ([]dkim.Key, error) {
	r, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return nil, err
	}
	_, e, err := ed25519.GenerateKey(rand.Reader)
	return []dkim.Key{{Selector: ed25519Selector, Private: e}, {Selector: rsaSelector, Private: r}}, err
}

// writeKeys stores all keys of a domain in dir, or none: they take their place together, whenever the machine dies, and are there for
// ever once it returns nil.
func writeKeys(f vfs.FS, dir string, keys []dkim.Key) error {
	draft := dir + ".new"
	if err := removeDir(f, draft); err != nil {
		return err
	}
	if err := f.MkdirAll(draft); err != nil {
		return err
	}
	for _, k := range keys {
		if err := writeKey(f, path.Join(draft, k.Selector+keySuffix), k.Private); err != nil {
			return err
		}
	}
	if err := f.SyncDir(draft); err != nil {
		return err
	}
	if err := removeDir(f, dir); err != nil { // an empty folder would be in the way
		return err
	}
	if err := f.Rename(draft, dir); err != nil {
		return err
	}
	for _, above := range []string{"..", "../..", "../../.."} { // keys/dkim, keys, the data folder
		if err := f.SyncDir(path.Join(filepath.ToSlash(dir), above)); err != nil {
			return err
		}
	}
	return nil
}

// removeDir removes a folder with the files in it; that there is none is fine.
func removeDir(f vfs.FS, dir string) error {
	list, err := f.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range list {
		err = errors.Join(err, f.Remove(path.Join(dir, e.Name())))
	}
	return errors.Join(err, f.Remove(dir))
}

func writeKey(f vfs.FS, name string, private any) error {
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	file, err := f.Create(name)
	if err != nil {
		return err
	}
	_, err = file.Write(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// readKeys reads the keys in dir, by selector; there may be none.
func readKeys(f vfs.FS, dir string) (keys []dkim.Key, err error) {
	list, err := f.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		selector, ok := strings.CutSuffix(e.Name(), keySuffix)
		if !ok {
			continue
		}
		private, err := readKey(f, path.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path.Join(dir, e.Name()), err)
		}
		keys = append(keys, dkim.Key{Selector: selector, Private: private})
	}
	return keys, nil
}

func readKey(f vfs.FS, name string) (crypto.Signer, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.NewSectionReader(file, 0, maxKeyFile))
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
