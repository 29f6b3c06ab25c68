package pgp

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Certify is what somebody vouches for.
type Certify struct {
	UserID   string
	Unsigned bool // also if the certificate does not say so itself
	Now      time.Time
}

// Certify has a key vouch for a user ID of another certificate. Only primary keys certify; the library would take a subkey that may sign.
// Errors: ErrUserID, ErrCannotCertify, ErrLocked.
func (k *Key) Certify(c *Cert, what Certify) error {
	config := policy(what.Now)
	id := c.e.Identities[what.UserID]
	if holds := slices.Contains(c.UserIDs(what.Now), what.UserID); !holds && !what.Unsigned {
		return fmt.Errorf("%w: %q of %s", ErrUserID, what.UserID, c.Fingerprint())
	}
	return guarded(func() error {
		self, err := k.e.VerifyPrimaryKey(config.Now(), config)
		if err != nil || self.FlagsValid && !self.FlagCertify || k.e.PrivateKey == nil || k.e.PrivateKey.Dummy() {
			return fmt.Errorf("%w: %s", ErrCannotCertify, k.Fingerprint())
		}
		if k.e.PrivateKey.Encrypted {
			return ErrLocked
		}
		if id == nil {
			id = &openpgp.Identity{Primary: c.e, Name: what.UserID, UserId: &packet.UserId{Id: what.UserID}}
			c.e.Identities[what.UserID] = id
		}
		lifetime := uint32(0)
		s := &packet.Signature{Version: k.e.PrimaryKey.Version, SigType: packet.SigTypeGenericCert, PubKeyAlgo: k.e.PrimaryKey.PubKeyAlgo,
			Hash: config.Hash(), CreationTime: config.Now(), IssuerKeyId: &k.e.PrimaryKey.KeyId, IssuerKeyVersion: uint8(k.e.PrimaryKey.Version),
			IssuerFingerprint: k.e.PrimaryKey.Fingerprint, SigLifetimeSecs: &lifetime}
		if err := s.SignUserId(what.UserID, c.e.PrimaryKey, k.e.PrivateKey, config); err != nil {
			return err
		}
		id.OtherCertifications = append(id.OtherCertifications, packet.NewVerifiableSig(s))
		return nil
	})
}

// Validate is which user ID somebody must vouch for.
type Validate struct {
	UserID      string
	AddressOnly bool // UserID is an address, and what else a user ID says does not matter
	Now         time.Time
}

// Validate says whether a certificate has a user ID for which one of the authorities vouches: a key that holds at that time, with a
// certification that is neither weak, expired nor revoked. An authority vouches for its own. Errors: ErrUserID.
func (c *Cert) Validate(v Validate, authorities []*Cert) error {
	config := policy(v.Now)
	for _, name := range c.UserIDs(v.Now) {
		if name != v.UserID && !(v.AddressOnly && strings.EqualFold(address(name), v.UserID)) {
			continue
		}
		for _, a := range authorities {
			if a.vouches(c.e.Identities[name], config) {
				return nil
			}
		}
	}
	return fmt.Errorf("%w: %q of %s", ErrUserID, v.UserID, c.Fingerprint())
}

// address is the one in a user ID.
func address(userID string) string {
	if open := strings.LastIndexByte(userID, '<'); open >= 0 {
		if a, ok := strings.CutSuffix(userID[open+1:], ">"); ok {
			return a
		}
	}
	return userID
}

// vouches says whether an authority's last word on a user ID is that it is right.
func (c *Cert) vouches(id *openpgp.Identity, config *packet.Config) (yes bool) {
	err := guarded(func() error {
		if c.Fingerprint() == fingerprint(id.Primary.PrimaryKey.Fingerprint) {
			yes = true
			return nil
		}
		if _, err := c.e.VerifyPrimaryKey(config.Now(), config); err != nil {
			return err
		}
		var last *packet.Signature
		for _, s := range id.OtherCertifications {
			if s.Packet.CheckKeyIdOrFingerprint(c.e.PrimaryKey) && c.holds(s.Packet, id, config) &&
				(last == nil || s.Packet.CreationTime.After(last.CreationTime) || s.Packet.SigType == packet.SigTypeCertificationRevocation) {
				last = s.Packet
			}
		}
		yes = last != nil && last.SigType != packet.SigTypeCertificationRevocation
		return nil
	})
	return yes && err == nil
}

func (c *Cert) holds(s *packet.Signature, id *openpgp.Identity, config *packet.Config) bool {
	return !config.RejectHashAlgorithm(s.Hash) && !s.SigExpired(config.Now()) &&
		c.e.PrimaryKey.VerifyUserIdSignature(id.Name, id.Primary.PrimaryKey, s) == nil
}
