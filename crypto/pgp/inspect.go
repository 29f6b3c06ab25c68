package pgp

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// census counts what a certificate has, before the library makes something of it.
type census struct {
	certs, secrets, publics      int // in all, and of which kind
	subkeys, userIDs, signatures int // of the last one
}

// inspect looks at the packets of certificates or keys: that there are not too many of them, and that no secret key asks for more memory or
// time than a password is worth.
func inspect(data []byte) (census, error) {
	var c census
	for p := newPackets(bytes.NewReader(data)); ; {
		tag, r, err := p.next()
		if errors.Is(err, io.EOF) {
			return c, nil
		}
		if err == nil {
			err = c.count(tag, r)
		}
		if err != nil {
			return c, err
		}
	}
}

func (c *census) count(tag byte, r io.Reader) error {
	switch tag {
	case tagPublicKey, tagSecretKey:
		c.subkeys, c.userIDs, c.signatures = 0, 0, 0
		c.certs++
		if tag == tagSecretKey {
			c.secrets++
		} else {
			c.publics++
		}
	case tagPublicSub, tagSecretSub:
		c.subkeys++
	case tagSignature:
		c.signatures++
	case tagUserID:
		c.userIDs++
		if _, err := readAtMost(r, maxUserID); err != nil {
			return err
		}
	}
	if c.certs > maxCerts || c.subkeys > maxSubkeys || c.userIDs > maxUserIDs || c.signatures > maxBindings {
		return fmt.Errorf("%w: %d certificates, %d subkeys, %d user IDs, %d signatures", ErrTooLarge, c.certs, c.subkeys, c.userIDs, c.signatures)
	}
	if tag == tagSecretKey || tag == tagSecretSub {
		content, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		return checkSecret(tag, content)
	}
	return nil
}

// checkSecret checks what the protection of a secret key costs (RFC 9580 §5.5.3). Where the secret part begins follows from the public part,
// as the library writes it; a key that it would write otherwise is none that anybody made in earnest.
func checkSecret(tag byte, content []byte) error {
	if len(content) > 0 && content[0] == 5 { // a draft's, whose length the library would believe and make room for
		return fmt.Errorf("%w: a secret key of version 5", ErrAlgorithm)
	}
	p, err := packet.Read(bytes.NewReader(appendPacket(nil, tag, content)))
	if err != nil {
		return nil // the library leaves it out too, or says why not
	}
	key, ok := p.(*packet.PrivateKey)
	if !ok {
		return nil
	}
	var public bytes.Buffer
	if err := key.PublicKey.Serialize(&public); err != nil {
		return unreadable(err)
	}
	_, body, err := newPackets(&public).next()
	if err != nil {
		return err
	}
	prefix, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	secret, ok := bytes.CutPrefix(content, prefix)
	if !ok || len(secret) == 0 {
		return fmt.Errorf("%w: a secret key whose public part is not as it is written", ErrData)
	}
	return checkProtection(key.Version, secret)
}

func checkProtection(version int, secret []byte) error {
	usage := secret[0]
	if usage < 253 {
		return nil // without protection, or in a way that has no S2K
	}
	skip := 2 // the usage and the cipher
	if usage == 253 {
		skip++ // the mode
	}
	if version >= 5 {
		skip++ // the length of what follows
	}
	if version == 6 {
		skip++ // the length of the S2K specifier
	}
	return checkS2K(secret, skip)
}

// checkSKESK checks what a session key for a password costs (RFC 9580 §5.3).
func checkSKESK(content []byte) error {
	if len(content) == 0 {
		return fmt.Errorf("%w: an empty session key", ErrData)
	}
	switch content[0] {
	case 4:
		return checkS2K(content, 2)
	case 5:
		return checkS2K(content, 3)
	case 6:
		return checkS2K(content, 5)
	}
	return nil // of no version that the library reads
}

// checkS2K checks the specifier at an offset (RFC 9580 §3.7.1).
func checkS2K(in []byte, at int) error {
	if len(in) <= at {
		return fmt.Errorf("%w: it ends within the parameters of a password", ErrData)
	}
	const argon2 = 4
	s := in[at:]
	if s[0] != argon2 {
		return nil // what the others cost is bounded: 62 MiB are hashed at most
	}
	if len(s) < 20 {
		return fmt.Errorf("%w: it ends within the parameters of Argon2", ErrData)
	}
	passes, threads, memory := s[17], s[18], s[19] // after sixteen octets of salt
	if passes == 0 || threads == 0 {
		return fmt.Errorf("%w: Argon2 with %d passes and %d threads", ErrData, passes, threads)
	}
	if passes > maxArgonPasses || threads > maxArgonThreads || memory > maxArgonMemory {
		return fmt.Errorf("%w: Argon2 with %d passes, %d threads and 2^%d KiB", ErrTooLarge, passes, threads, memory)
	}
	return nil
}
