package pgp

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Key is a certificate with its secret keys, which may be protected by a password.
type Key struct{ Cert }

// ReadKeys reads secret keys, in armor or not, of which limit octets are taken at most. Errors: ErrTooLarge, ErrAlgorithm, ErrData, also for
// certificates, and for keys whose protection asks for more than 256 MiB, 10 passes or 16 threads of Argon2 (as ErrTooLarge).
func ReadKeys(r io.Reader, limit int64) ([]*Key, error) {
	entities, counted, err := readEntities(r, limit)
	if err != nil {
		return nil, err
	}
	if counted.publics > 0 {
		return nil, fmt.Errorf("%w: certificates where secret keys belong", ErrData)
	}
	all := make([]*Key, len(entities))
	for i, e := range entities {
		if e.PrivateKey == nil {
			return nil, fmt.Errorf("%w: a key without its secret part", ErrData)
		}
		all[i] = &Key{Cert{e}}
	}
	return all, nil
}

// Public is the certificate of a key. It shares what it remembers with the key.
func (k *Key) Public() *Cert { return &k.Cert }

// secrets are the secret keys that there are: the primary one, and those of subkeys.
func (k *Key) secrets() (all []*packet.PrivateKey) {
	if k.e.PrivateKey != nil && !k.e.PrivateKey.Dummy() {
		all = append(all, k.e.PrivateKey)
	}
	for _, s := range k.e.Subkeys {
		if s.PrivateKey != nil && !s.PrivateKey.Dummy() {
			all = append(all, s.PrivateKey)
		}
	}
	return all
}

// Locked says whether some secret key is protected by a password.
func (k *Key) Locked() bool {
	return slices.ContainsFunc(k.secrets(), func(s *packet.PrivateKey) bool { return s.Encrypted })
}

// Unlock takes the protection off with whichever password fits each secret key. One attempt may take 256 MiB of memory, so whoever serves
// many must let few in at once. Errors: ErrLocked.
func (k *Key) Unlock(passwords ...string) error {
	for _, p := range passwords {
		if !k.Locked() {
			return nil
		}
		_ = guarded(func() error { return k.e.DecryptPrivateKeys([]byte(p)) }) // a password that fits none leaves all as they are
	}
	if !k.Locked() {
		return nil
	}
	for _, s := range k.secrets() { // keys of one certificate may have passwords of their own
		for _, p := range passwords {
			if s.Encrypted {
				_ = guarded(func() error { return s.Decrypt([]byte(p)) })
			}
		}
	}
	if k.Locked() {
		return ErrLocked
	}
	return nil
}

// Lock protects all secret keys by a password: with AES-256, and for a version 6 key by Argon2 and authenticated (RFC 9580 §3.7.2.1).
func (k *Key) Lock(password string) error {
	config := policy(time.Time{})
	if k.Version() == 6 {
		modern(config)
	}
	return guarded(func() error { return packet.EncryptPrivateKeys(k.secrets(), []byte(password), config) })
}

// Write writes the key, as it is protected, without armor.
func (k *Key) Write(w io.Writer) error { return k.write(w, secretPart) }

// WriteKeys writes keys to w in one armor.
func WriteKeys(w io.Writer, all []*Key) error {
	sum := checksum(!slices.ContainsFunc(all, func(k *Key) bool { return k.Version() == 6 }))
	out, err := newArmor(w, labelKey, sum)
	if err != nil {
		return err
	}
	for _, k := range all {
		if err := k.Write(out); err != nil {
			return err
		}
	}
	return out.Close()
}

// CanSign says why a key cannot sign at a time; the zero time is the present. Errors: ErrLocked, ErrCannotSign.
func (k *Key) CanSign(now time.Time) error {
	config := policy(now)
	return guarded(func() error {
		signer, ok := k.e.SigningKey(config.Now(), config)
		if !ok || signer.PrivateKey == nil || signer.PrivateKey.Dummy() {
			return fmt.Errorf("%w: %s", ErrCannotSign, k.Fingerprint())
		}
		if signer.PrivateKey.Encrypted {
			return ErrLocked
		}
		return nil
	})
}

// entities are the library's idea of keys.
func entities[T interface{ entity() *openpgp.Entity }](all []T) []*openpgp.Entity {
	list := make([]*openpgp.Entity, len(all))
	for i, one := range all {
		list[i] = one.entity()
	}
	return list
}

func (c *Cert) entity() *openpgp.Entity { return c.e }
