package pgp

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// SessionKey is what a message is encrypted with.
type SessionKey struct {
	Cipher byte // the number of the cipher (RFC 9580 §9.3)
	Key    []byte
}

// String is the cipher in decimal, a colon, and the key in hexadecimal digits.
func (s SessionKey) String() string { return fmt.Sprintf("%d:%X", s.Cipher, s.Key) }

// ParseSessionKey reads what String writes. Errors: ErrData.
func ParseSessionKey(text string) (SessionKey, error) {
	number, digits, _ := strings.Cut(text, ":")
	cipher, err := strconv.ParseUint(number, 10, 8)
	if err != nil {
		return SessionKey{}, fmt.Errorf("%w: a session key has the form NUMBER:HEX", ErrData)
	}
	key, err := hex.DecodeString(digits)
	if err != nil || len(key) != packet.CipherFunction(cipher).KeySize() {
		return SessionKey{}, fmt.Errorf("%w: a session key has the form NUMBER:HEX, of the length of its cipher", ErrData)
	}
	return SessionKey{byte(cipher), key}, nil
}

// Decrypt is with what a message may be opened, and whose signatures count.
type Decrypt struct {
	Keys        []*Key       // expired and revoked ones too: old mail remains ours
	Passwords   []string     // each is tried
	SessionKeys []SessionKey // are tried first
	Verify      Verify
}

// Decrypted is what is known of a message that was opened.
type Decrypted struct {
	SessionKey    SessionKey
	Verifications []Verification // none if it is not signed, or nobody's signature counts
}

// DecryptFrom decrypts the message that r has and writes its text to w: all of it, after its integrity is known, or nothing. Messages
// without integrity protection are refused. Errors: ErrCannotDecrypt, ErrLocked if a key would fit that is locked, ErrIntegrity if the message
// was changed, ErrData, ErrTooLarge.
func DecryptFrom(w io.Writer, r io.Reader, o Decrypt) (Decrypted, error) {
	text := &spooled{}
	defer text.close()
	var done Decrypted
	err := streams(w, r, func(w io.Writer, r io.Reader) (err error) {
		if done, err = o.decrypt(text, r); err != nil {
			return err
		}
		return text.to(w)
	})
	if err != nil {
		return Decrypted{}, err
	}
	return done, nil
}

func (o Decrypt) decrypt(text io.Writer, r io.Reader) (done Decrypted, err error) {
	in, err := dearmored(r)
	if err != nil {
		return done, err
	}
	outer := bufio.NewReader(in.body)
	session, err := readSessionKeys(newPackets(outer))
	if err != nil {
		return done, err
	}
	container, err := o.container(outer)
	if err != nil {
		return done, err
	}
	inner, opener, key, err := o.open(container, session)
	if err != nil {
		return done, err
	}
	md, err := readMessage(text, inner, o.Verify)
	if end := inner.Close(); end != nil { // the integrity is that of all octets, whatever they say
		return done, because(ErrIntegrity, end)
	}
	if err != nil {
		return done, err
	}
	if _, _, err := newPackets(outer).next(); !errors.Is(err, io.EOF) {
		return done, fmt.Errorf("%w: there is more after the message", ErrData)
	}
	return Decrypted{SessionKey: key, Verifications: o.Verify.counting(md, opener)}, nil
}

// container reads the beginning of the encrypted packet.
func (o Decrypt) container(in io.Reader) (packet.EncryptedDataPacket, error) {
	p, err := packet.Read(in)
	if err != nil {
		return nil, unreadable(err)
	}
	switch p := p.(type) {
	case *packet.SymmetricallyEncrypted:
		if !p.IntegrityProtected {
			return nil, fmt.Errorf("%w: it has no integrity protection (RFC 9580 §5.7)", ErrData)
		}
		return p, nil
	case *packet.AEADEncrypted:
		return p, nil
	}
	return nil, fmt.Errorf("%w: not an encrypted message", ErrData)
}

// attempt is a session key that may be the one, and whose key it came from, if from any. Those that came from a key are certain: what wraps
// them says whether it fits (RFC 9580 §5.1).
type attempt struct {
	key    SessionKey
	opener *reader
}

// open finds the session key and begins to decrypt.
func (o Decrypt) open(container packet.EncryptedDataPacket, session []sessionKeyPacket) (io.ReadCloser, *reader, SessionKey, error) {
	locked, fits := false, fitting(container)
	for a, err := range o.attempts(session) {
		if err != nil {
			locked = locked || errors.Is(err, ErrLocked)
			continue
		}
		if a.opener == nil && !fits(a.key) {
			continue
		}
		inner, err := container.Decrypt(packet.CipherFunction(a.key.Cipher), a.key.Key)
		if err != nil || inner == nil {
			continue
		}
		if v2, ok := container.(*packet.SymmetricallyEncrypted); ok && v2.Version == 2 {
			a.key.Cipher = byte(v2.Cipher)
		}
		return inner, a.opener, a.key, nil
	}
	if locked {
		return nil, nil, SessionKey{}, ErrLocked
	}
	return nil, nil, SessionKey{}, ErrCannotDecrypt
}

// fitting says whether a container may be one for a session key. A wrong password gives a session key that looks right once in 256 times
// (RFC 9580 §5.3.1), and the library spoils the container by trying; so the prefix is looked at, of which two octets are there twice
// (RFC 9580 §5.13.1).
func fitting(container packet.EncryptedDataPacket) func(SessionKey) bool {
	c, ok := container.(*packet.SymmetricallyEncrypted)
	switch {
	case !ok:
		return func(SessionKey) bool { return true }
	case c.Version == 2:
		return func(k SessionKey) bool { return len(k.Key) == c.Cipher.KeySize() }
	}
	ahead := bufio.NewReader(c.Contents)
	c.Contents = ahead
	prefix, err := ahead.Peek(aes.BlockSize + 2)
	return func(k SessionKey) bool {
		if k.Cipher < byte(packet.CipherAES128) || k.Cipher > byte(packet.CipherAES256) {
			return true // a cipher of former times
		}
		block, wrong := aes.NewCipher(k.Key)
		if err != nil || wrong != nil {
			return false
		}
		var first, second [aes.BlockSize]byte
		block.Encrypt(first[:], first[:])
		block.Encrypt(second[:], prefix[:aes.BlockSize])
		return first[14]^prefix[14] == second[0]^prefix[16] && first[15]^prefix[15] == second[1]^prefix[17]
	}
}

// attempts yields what session keys, keys and passwords give, the cheap ones first.
func (o Decrypt) attempts(session []sessionKeyPacket) func(yield func(attempt, error) bool) {
	return func(yield func(attempt, error) bool) {
		for _, k := range o.SessionKeys {
			if !yield(attempt{key: k}, nil) {
				return
			}
		}
		for _, s := range session {
			if s.tag == tagPKESK && !o.byKey(s.content, yield) {
				return
			}
		}
		for _, s := range session {
			if s.tag == tagSKESK && !o.byPassword(s.content, yield) {
				return
			}
		}
	}
}

func (o Decrypt) byKey(content []byte, yield func(attempt, error) bool) bool {
	id, err := recipient(content)
	if err != nil {
		return true
	}
	for _, k := range o.Keys {
		for _, secret := range k.secrets() {
			if id != 0 && KeyID(secret.KeyId) != id || !secret.PubKeyAlgo.CanEncrypt() {
				continue
			}
			if secret.Encrypted {
				if !yield(attempt{}, ErrLocked) {
					return false
				}
				continue
			}
			key, err := sessionKeyOf(content, secret)
			if !yield(attempt{key, &reader{k.e.PrimaryKey.Fingerprint}}, err) {
				return false
			}
		}
	}
	return true
}

func sessionKeyOf(content []byte, secret *packet.PrivateKey) (SessionKey, error) {
	p, err := packet.Read(bytes.NewReader(appendPacket(nil, tagPKESK, content)))
	if err != nil {
		return SessionKey{}, unreadable(err)
	}
	e, ok := p.(*packet.EncryptedKey)
	if !ok {
		return SessionKey{}, ErrData
	}
	if err := e.Decrypt(secret, policy(time.Time{})); err != nil {
		return SessionKey{}, because(ErrCannotDecrypt, err)
	}
	return SessionKey{byte(e.CipherFunc), e.Key}, nil
}

func (o Decrypt) byPassword(content []byte, yield func(attempt, error) bool) bool {
	p, err := packet.Read(bytes.NewReader(appendPacket(nil, tagSKESK, content)))
	if err != nil {
		return true
	}
	s, ok := p.(*packet.SymmetricKeyEncrypted)
	if !ok {
		return true
	}
	for _, password := range o.Passwords {
		key, cipher, err := s.Decrypt([]byte(password))
		if !yield(attempt{key: SessionKey{byte(cipher), key}}, err) {
			return false
		}
	}
	return true
}

// readingFailed is why a message could not be read to its end, or its text not be kept.
func readingFailed(err error) error {
	if _, ours := errors.AsType[*fs.PathError](err); ours {
		return err
	}
	if _, changed := errors.AsType[pgperrors.SignatureError](err); changed {
		return because(ErrIntegrity, err)
	}
	if errors.Is(err, pgperrors.ErrMDCHashMismatch) {
		return because(ErrIntegrity, err)
	}
	return because(ErrData, err)
}
