package pgp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// KeyID names a key in a message: the last octets of a version 4 fingerprint, the first ones of a version 6 fingerprint. 0 is a hidden recipient.
type KeyID uint64

// String is the key ID in sixteen hexadecimal digits.
func (id KeyID) String() string { return fmt.Sprintf("%016X", uint64(id)) }

// Encrypted says whether all of r, armored or not, is one encrypted message, and to which keys: session keys, one of them at least for a key,
// then exactly one container with integrity protection, and nothing after it (RFC 9580 §10.3). What the sender says of a message's type is
// worth nothing: whoever could make us take plaintext for ciphertext would have it stored as it is. The error is that of reading r, or
// ErrTooLarge; bytes that are no such message are none.
func Encrypted(r io.Reader) (to []KeyID, ok bool, err error) {
	err = streams(io.Discard, r, func(_ io.Writer, r io.Reader) error {
		buffered := bufio.NewReaderSize(r, maxArmorLine)
		start, _ := buffered.Peek(len(armorStart))
		in, err := dearmored(buffered)
		if err != nil || !in.bare && string(start) != armorStart { // words before it would be in clear
			return err
		}
		if to, ok, err = walkEncrypted(newPackets(in.body)); ok {
			ok, err = in.nothingAfter()
		}
		return err
	})
	if errors.Is(err, ErrData) {
		ok, err = false, nil
	}
	if !ok {
		to = nil
	}
	return to, ok, err
}

func walkEncrypted(p *packets) (to []KeyID, ok bool, err error) {
	session, err := readSessionKeys(p)
	if err != nil {
		return nil, false, err
	}
	for _, s := range session {
		if s.tag == tagPKESK {
			id, err := recipient(s.content)
			if err != nil {
				return nil, false, err
			}
			to = append(to, id)
		}
	}
	tag, content, err := p.next()
	if err != nil {
		return nil, false, ended(err)
	}
	var version [1]byte
	if _, err := io.ReadFull(content, version[:]); err != nil {
		return nil, false, ended(err)
	}
	if tag != tagSEIPD || version[0] != 1 && version[0] != 2 || len(to) == 0 {
		return nil, false, nil
	}
	if _, _, err = p.next(); errors.Is(err, io.EOF) {
		return to, true, nil
	}
	return nil, false, err
}

// ended says of input that ends where more must come that it is not what we want.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends too early", ErrData)
	}
	return err
}

// sessionKeyPacket holds a session key for one recipient or one password.
type sessionKeyPacket struct {
	tag     byte
	content []byte
}

// readSessionKeys reads the packets before the encrypted container.
func readSessionKeys(p *packets) (all []sessionKeyPacket, err error) {
	passwords := 0
	for {
		tag, err := p.tag()
		if err != nil {
			return nil, ended(err)
		}
		if tag != tagPKESK && tag != tagSKESK {
			return all, nil
		}
		tag, r, err := p.next()
		if err != nil {
			return nil, ended(err)
		}
		content, err := readAtMost(r, maxSessionKey)
		if err != nil {
			return nil, err
		}
		if tag == tagSKESK {
			passwords++
			if err := checkSKESK(content); err != nil {
				return nil, err
			}
		}
		all = append(all, sessionKeyPacket{tag, content})
		if len(all) > MaxRecipients || passwords > maxPasswordKeys {
			return nil, fmt.Errorf("%w: %d recipients, %d passwords", ErrTooLarge, len(all)-passwords, passwords)
		}
	}
}

// recipient is the key that a PKESK is for (RFC 9580 §5.1).
func recipient(content []byte) (KeyID, error) {
	switch {
	case len(content) > 9 && content[0] == 3:
		return KeyID(binary.BigEndian.Uint64(content[1:])), nil
	case len(content) > 2 && content[0] == 6 && content[1] == 0:
		return 0, nil // hidden
	case len(content) > 23 && content[0] == 6 && content[1] == 21 && content[2] == 4:
		return KeyID(binary.BigEndian.Uint64(content[15:])), nil
	case len(content) > 35 && content[0] == 6 && content[1] == 33 && content[2] == 6:
		return KeyID(binary.BigEndian.Uint64(content[3:])), nil
	}
	return 0, fmt.Errorf("%w: an encrypted session key of no known version", ErrData)
}
