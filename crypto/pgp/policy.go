package pgp

import (
	"crypto"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/ProtonMail/go-crypto/openpgp/s2k"
)

// policy is what every call of the library goes by. There is always one: without, the library takes weaker algorithms, and a recipient who
// advertises SEIPDv2 makes it dereference nil. A zero time would turn expiry off in the library; here it is the present.
func policy(now time.Time) *packet.Config {
	if now.IsZero() {
		now = time.Now()
	}
	limit, strict, unchecked := int64(MaxMessage), true, false
	weak := map[crypto.Hash]bool{crypto.MD5: true, crypto.RIPEMD160: true, crypto.SHA1: true}
	return &packet.Config{
		Time:                        func() time.Time { return now },
		DefaultHash:                 crypto.SHA512,
		DefaultCipher:               packet.CipherAES256,
		MinRSABits:                  minRSA,
		RejectPublicKeyAlgorithms:   map[packet.PublicKeyAlgorithm]bool{packet.PubKeyAlgoDSA: true, packet.PubKeyAlgoElGamal: true},
		RejectHashAlgorithms:        weak,
		RejectMessageHashAlgorithms: weak,
		MaxDecompressedMessageSize:  &limit,
		CheckPacketSequence:         &strict,
		CheckIntendedRecipients:     &unchecked, // verifications does: the library is not told who decrypted
		S2KConfig:                   &s2k.Config{S2KMode: s2k.IteratedSaltedS2K, Hash: crypto.SHA256, S2KCount: 65_011_712},
	}
}

// encrypting is the policy for new messages. Their signatures name whom they are for, so that nobody can forward them as if for others, unless
// somebody is hidden: they would not count for him, and named he would not be hidden.
func encrypting(now time.Time, p Profile, hidden []*Cert) *packet.Config {
	c, named := policy(now), len(hidden) == 0
	c.CheckIntendedRecipients = &named
	if p == Modern {
		modern(c)
	}
	return c
}

// modern adds what only RFC 9580 has. Without it a key does not advertise SEIPDv2: programs that read only RFC 4880 could not read what
// others send to it.
func modern(c *packet.Config) {
	c.AEADConfig = &packet.AEADConfig{DefaultMode: packet.AEADModeOCB}
	argon2 := &s2k.Argon2Config{NumberOfPasses: 3, DegreeOfParallelism: 4, Memory: 64 << 10} // KiB (RFC 9106 §4)
	c.S2KConfig = &s2k.Config{S2KMode: s2k.Argon2S2K, Argon2Config: argon2}
}
