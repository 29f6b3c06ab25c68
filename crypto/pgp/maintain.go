package pgp

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Revoke revokes the key, for no reason that is told: such a revocation counts for all times (RFC 9580 §5.2.3.31). The zero time is the
// present. Errors: ErrLocked, ErrPrimary without its secret part.
func (k *Key) Revoke(now time.Time) error {
	if err := k.owned(); err != nil {
		return err
	}
	return guarded(func() error { return k.e.Revoke(packet.NoReason, "", policy(now)) })
}

// owned says why nothing can be signed with the primary key.
func (k *Key) owned() error {
	switch {
	case k.e.PrivateKey == nil || k.e.PrivateKey.Dummy():
		return fmt.Errorf("%w: its secret part is not there", ErrPrimary)
	case k.e.PrivateKey.Encrypted:
		return ErrLocked
	}
	return nil
}

// Merge adds what other knows of the same certificate: its user IDs, subkeys, certifications and revocations. Nothing is replaced or lost,
// so that what was revoked remains so. It says whether other is the same certificate.
func (c *Cert) Merge(other *Cert) bool {
	if c.Fingerprint() != other.Fingerprint() {
		return false
	}
	c.e.Revocations = union(c.e.Revocations, other.e.Revocations)
	c.e.DirectSignatures = union(c.e.DirectSignatures, other.e.DirectSignatures)
	for _, theirs := range other.identities() {
		ours := c.e.Identities[theirs.Name]
		if ours == nil {
			ours = &openpgp.Identity{Primary: c.e, Name: theirs.Name, UserId: theirs.UserId}
			c.e.Identities[theirs.Name] = ours
		}
		ours.SelfCertifications = union(ours.SelfCertifications, theirs.SelfCertifications)
		ours.OtherCertifications = union(ours.OtherCertifications, theirs.OtherCertifications)
		ours.Revocations = union(ours.Revocations, theirs.Revocations)
	}
	for _, theirs := range other.e.Subkeys {
		at := slices.IndexFunc(c.e.Subkeys, func(s openpgp.Subkey) bool {
			return bytes.Equal(s.PublicKey.Fingerprint, theirs.PublicKey.Fingerprint)
		})
		if at < 0 {
			c.e.Subkeys = append(c.e.Subkeys,
				openpgp.Subkey{Primary: c.e, PublicKey: theirs.PublicKey, Bindings: theirs.Bindings, Revocations: theirs.Revocations})
			continue
		}
		ours := &c.e.Subkeys[at]
		ours.Bindings, ours.Revocations = union(ours.Bindings, theirs.Bindings), union(ours.Revocations, theirs.Revocations)
	}
	return true
}

// union is what is in a, and what of b is not.
func union(a, b []*packet.VerifiableSignature) []*packet.VerifiableSignature {
	seen := map[string]bool{}
	all := make([]*packet.VerifiableSignature, 0, len(a)+len(b))
	for _, s := range slices.Concat(a, b) {
		var octets bytes.Buffer
		if err := s.Packet.Serialize(&octets); err != nil || seen[octets.String()] {
			continue
		}
		seen[octets.String()] = true
		all = append(all, packet.NewVerifiableSig(s.Packet))
	}
	return all
}

// Update is what may be done to keep a key good.
type Update struct {
	SigningOnly    bool // adds no subkey to encrypt to
	NoCapabilities bool // advertises nothing that the key does not advertise
	Now            time.Time
}

// Update signs anew what is signed with a hash that is weak today, and adds a subkey to encrypt to if there is none that holds. Errors:
// ErrPrimary if the primary key is revoked, weak or not there, ErrLocked.
func (k *Key) Update(u Update) error {
	config := policy(u.Now)
	if k.Version() == 6 {
		modern(config)
	}
	if err := k.owned(); err != nil {
		return err
	}
	if k.Revoked(u.Now) {
		return fmt.Errorf("%w: revoked", ErrPrimary)
	}
	return guarded(func() error {
		for _, id := range k.identities() {
			if err := k.renewUserID(id, u, config); err != nil {
				return err
			}
		}
		if _, err := k.e.VerifyPrimaryKey(config.Now(), config); err != nil {
			return because(ErrPrimary, err)
		}
		for i := range k.e.Subkeys {
			if err := k.renewSubkey(&k.e.Subkeys[i], config); err != nil {
				return err
			}
		}
		if _, err := k.e.EncryptionKeyWithError(config.Now(), config); err == nil || u.SigningOnly {
			return nil
		}
		config.Algorithm, config.Curve, config.V6Keys = packet.PubKeyAlgoEdDSA, packet.Curve25519, k.Version() == 6
		if config.V6Keys {
			config.Algorithm = packet.PubKeyAlgoEd25519
		}
		return k.e.AddEncryptionSubkey(config)
	})
}

// renewUserID signs a user ID anew if it does not hold because of the hash of its signature.
func (k *Key) renewUserID(id *openpgp.Identity, u Update, config *packet.Config) error {
	if s := latest(id.SelfCertifications); outdated(s, config) && len(id.Revocations) == 0 {
		renewed := *s
		renewed.Hash, renewed.CreationTime = config.Hash(), config.Now()
		if !u.NoCapabilities {
			renewed.SEIPDv1 = true
			renewed.PreferredSymmetric = []uint8{uint8(packet.CipherAES256), uint8(packet.CipherAES128)}
			renewed.PreferredHash = []uint8{10, 8} // SHA-512 and SHA-256 (RFC 9580 §9.5)
		}
		if err := renewed.SignUserId(id.Name, k.e.PrimaryKey, k.e.PrivateKey, config); err != nil {
			return err
		}
		id.SelfCertifications = append(id.SelfCertifications, packet.NewVerifiableSig(&renewed))
	}
	return nil
}

// renewSubkey binds a subkey anew if its binding does not hold because of its hash.
func (k *Key) renewSubkey(sub *openpgp.Subkey, config *packet.Config) error {
	s := latest(sub.Bindings)
	if !outdated(s, config) || len(sub.Revocations) > 0 || sub.PrivateKey == nil || sub.PrivateKey.Encrypted {
		return nil
	}
	renewed := *s
	renewed.Hash, renewed.CreationTime = config.Hash(), config.Now()
	if s.EmbeddedSignature != nil {
		back := *s.EmbeddedSignature
		back.Hash, back.CreationTime = config.Hash(), config.Now()
		if err := back.CrossSignKey(sub.PublicKey, k.e.PrimaryKey, sub.PrivateKey, config); err != nil {
			return err
		}
		renewed.EmbeddedSignature = &back
	}
	if err := renewed.SignKey(sub.PublicKey, k.e.PrivateKey, config); err != nil {
		return err
	}
	sub.Bindings = append(sub.Bindings, packet.NewVerifiableSig(&renewed))
	return nil
}

func latest(all []*packet.VerifiableSignature) (s *packet.Signature) {
	for _, one := range all {
		if s == nil || one.Packet.CreationTime.After(s.CreationTime) {
			s = one.Packet
		}
	}
	return s
}

// outdated says whether a signature has a hash that does not count any more.
func outdated(s *packet.Signature, config *packet.Config) bool {
	return s != nil && config.RejectHashAlgorithm(s.Hash)
}
