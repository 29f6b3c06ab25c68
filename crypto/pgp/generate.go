package pgp

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Profile is a family of programs that must be able to read what we make.
type Profile int

// Profiles. The zero value is what every program in use reads.
const (
	// Classic keys have version 4: Ed25519 and Curve25519 under their older numbers (22 and 18), without a word of SEIPDv2.
	Classic Profile = iota
	// Modern keys have version 6: Ed25519 and X25519.
	Modern
)

// Generate is what a new key is to be.
type Generate struct {
	Profile     Profile
	UserIDs     []string      // the first is the primary one. With Classic there must be one
	SigningOnly bool          // no subkey for encrypting
	Lifetime    time.Duration // until it expires, at most 136 years; 0: it does not
	Now         time.Time     // when it was made; zero: now
}

// GenerateKey makes a key: a primary key that signs and certifies and, unless it is only to sign, a subkey to encrypt to. Errors: ErrUserID.
func GenerateKey(g Generate) (*Key, error) {
	for _, id := range g.UserIDs {
		if !utf8.ValidString(id) || len(id) > maxUserID || strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, fmt.Errorf("%w: not a line of UTF-8 of at most %d octets", ErrUserID, maxUserID)
		}
	}
	if g.Profile == Classic && len(g.UserIDs) == 0 {
		return nil, fmt.Errorf("%w: a version 4 key needs one", ErrUserID)
	}
	config := policy(g.Now)
	config.KeyLifetimeSecs = uint32(g.Lifetime / time.Second)
	config.Algorithm, config.Curve = packet.PubKeyAlgoEdDSA, packet.Curve25519
	if g.Profile == Modern {
		config.Algorithm, config.V6Keys = packet.PubKeyAlgoEd25519, true
		modern(config)
	}
	k := &Key{}
	return k, guarded(func() (err error) {
		if k.e, err = openpgp.NewEntity("", "", "", config); err != nil {
			return err
		}
		if g.SigningOnly {
			k.e.Subkeys = nil
		}
		return k.name(g.UserIDs, config)
	})
}

// name replaces the empty user ID that the library made, whose signature says what the key is good for: the library puts together user IDs
// of a name and an address, which not all are.
func (k *Key) name(userIDs []string, config *packet.Config) error {
	const none = ""
	template := k.e.Identities[none].SelfCertifications[0].Packet
	delete(k.e.Identities, none)
	for i, id := range userIDs {
		if k.e.Identities[id] != nil {
			continue // it is there twice
		}
		s, first := *template, i == 0
		s.IsPrimaryId = &first
		if err := s.SignUserId(id, k.e.PrimaryKey, k.e.PrivateKey, config); err != nil {
			return err
		}
		k.e.Identities[id] = &openpgp.Identity{Primary: k.e, Name: id, UserId: &packet.UserId{Id: id},
			SelfCertifications: []*packet.VerifiableSignature{packet.NewVerifiableSig(&s)}}
	}
	return nil
}
