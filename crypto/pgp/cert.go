package pgp

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Cert is a certificate: a public primary key, its user IDs, subkeys and all signatures that say what holds of them (RFC 9580 §10.1).
type Cert struct{ e *openpgp.Entity }

// ReadCerts reads certificates, in armor or not, of which limit octets are taken at most: MaxForeign if they come from strangers. What the
// library does not know is left out: user attributes, signatures of unknown versions. Errors: ErrTooLarge, ErrAlgorithm, ErrData, also
// for secret keys, which somebody has put in the wrong place.
func ReadCerts(r io.Reader, limit int64) ([]*Cert, error) {
	entities, counted, err := readEntities(r, limit)
	if err != nil {
		return nil, err
	}
	if counted.secrets > 0 {
		return nil, fmt.Errorf("%w: secret keys where certificates belong", ErrData)
	}
	all := make([]*Cert, len(entities))
	for i, e := range entities {
		all[i] = &Cert{e}
	}
	return all, nil
}

func readEntities(r io.Reader, limit int64) (list openpgp.EntityList, counted census, err error) {
	err = streams(io.Discard, r, func(_ io.Writer, r io.Reader) error {
		in, err := dearmored(io.LimitReader(r, 2*limit)) // armor adds a third and its lines
		if err != nil {
			return err
		}
		data, err := readAtMost(in.body, limit)
		if err != nil {
			return err
		}
		if counted, err = inspect(data); err != nil {
			return err
		}
		if list, err = openpgp.ReadKeyRing(bytes.NewReader(data)); err != nil {
			return unreadable(err)
		}
		switch {
		case counted.certs == 0:
			return fmt.Errorf("%w: there is no key in it", ErrData)
		case len(list) < counted.certs: // the library leaves those out without a word, and so somebody would get no mail
			return fmt.Errorf("%w: %d of %d keys cannot be read", ErrAlgorithm, counted.certs-len(list), counted.certs)
		}
		return nil
	})
	return list, counted, err
}

// Fingerprint is that of the primary key, in capital hexadecimal digits.
func (c *Cert) Fingerprint() string { return fingerprint(c.e.PrimaryKey.Fingerprint) }

func fingerprint(octets []byte) string { return strings.ToUpper(hex.EncodeToString(octets)) }

// Version is that of the primary key: 4 or 6.
func (c *Cert) Version() int { return c.e.PrimaryKey.Version }

// KeyIDs are those of the primary key and all subkeys.
func (c *Cert) KeyIDs() []KeyID {
	ids := []KeyID{KeyID(c.e.PrimaryKey.KeyId)}
	for _, s := range c.e.Subkeys {
		ids = append(ids, KeyID(s.PublicKey.KeyId))
	}
	return ids
}

// UserIDs are those that hold at a time, which must be neither revoked nor expired; the zero time is the present. The primary one comes first.
func (c *Cert) UserIDs(now time.Time) (ids []string) {
	config := policy(now)
	_ = guarded(func() error {
		for _, id := range c.identities() {
			if _, err := id.Verify(config.Now(), config); err == nil {
				ids = append(ids, id.Name)
			}
		}
		return nil
	})
	return ids
}

// CanEncrypt says why nothing can be encrypted to a certificate at a time; the zero time is the present. Errors: ErrCannotEncrypt with the
// reason, which may be that it is expired, revoked, weak, or that every user ID is revoked: the library would encrypt to that one.
func (c *Cert) CanEncrypt(now time.Time) error {
	if len(c.e.Identities) > 0 && len(c.UserIDs(now)) == 0 {
		return fmt.Errorf("%w: no user ID holds", ErrCannotEncrypt)
	}
	config := policy(now)
	return because(ErrCannotEncrypt, guarded(func() error {
		_, err := c.e.EncryptionKeyWithError(config.Now(), config)
		return err
	}))
}

// Revoked says whether the key was revoked by its owner before a time, or at any time if it is compromised.
func (c *Cert) Revoked(now time.Time) bool {
	revoked := true // if the library gives up, better not to use it
	_ = guarded(func() error {
		revoked = c.e.Revoked(policy(now).Now())
		return nil
	})
	return revoked
}

// identities are the user IDs in one order whenever they are asked for: the primary one, then as the letters go.
func (c *Cert) identities() []*openpgp.Identity {
	all := make([]*openpgp.Identity, 0, len(c.e.Identities))
	for _, id := range c.e.Identities {
		all = append(all, id)
	}
	slices.SortFunc(all, func(a, b *openpgp.Identity) int {
		if p, q := primary(a), primary(b); p != q {
			return cmp.Compare(q, p)
		}
		return cmp.Compare(a.Name, b.Name)
	})
	return all
}

// primary is 1 for a user ID that says that it is.
func primary(id *openpgp.Identity) int {
	for _, s := range id.SelfCertifications {
		if s.Packet.IsPrimaryId != nil && *s.Packet.IsPrimaryId {
			return 1
		}
	}
	return 0
}

// Write writes the certificate without armor; never a secret key.
func (c *Cert) Write(w io.Writer) error { return c.write(w, publicPart) }

// part is what of a key is written.
type part int

const (
	publicPart part = iota
	secretPart
)

// write writes the packets of a certificate or key in the order of RFC 9580 §10.1. The library's own way has its user IDs in any order.
func (c *Cert) write(w io.Writer, p part) error {
	return guarded(func() error {
		var err error
		if p == secretPart {
			err = c.e.PrivateKey.Serialize(w)
		} else {
			err = c.e.PrimaryKey.Serialize(w)
		}
		for _, s := range slices.Concat(c.e.Revocations, c.e.DirectSignatures) {
			if err == nil {
				err = s.Packet.Serialize(w)
			}
		}
		for _, id := range c.identities() {
			if err == nil {
				err = id.Serialize(w)
			}
		}
		for _, s := range c.e.Subkeys {
			if err == nil && (p == publicPart || s.PrivateKey != nil) {
				err = s.Serialize(w, p == secretPart)
			}
		}
		return err
	})
}

// WriteCerts writes certificates to w in one armor.
func WriteCerts(w io.Writer, all []*Cert) error {
	sum := checksum(!slices.ContainsFunc(all, func(c *Cert) bool { return c.Version() == 6 }))
	out, err := newArmor(w, labelCert, sum)
	if err != nil {
		return err
	}
	for _, c := range all {
		if err := c.Write(out); err != nil {
			return err
		}
	}
	return out.Close()
}
