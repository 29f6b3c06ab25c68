package pgp

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
)

// Labels of armor (RFC 9580 §6.2.1).
const (
	labelMessage   = "PGP MESSAGE"
	labelCert      = "PGP PUBLIC KEY BLOCK"
	labelKey       = "PGP PRIVATE KEY BLOCK"
	labelSignature = "PGP SIGNATURE"
)

const (
	armorBegin = "-----BEGIN "
	armorStart = armorBegin + "PGP "
	armorEnd   = "-----END PGP "
	cleartext  = "-----BEGIN PGP SIGNED MESSAGE-----"
)

// input is OpenPGP data as it came, armor taken off.
type input struct {
	body io.Reader
	raw  *bufio.Reader // what it is read from
	bare bool          // there was no armor
}

// dearmored takes the armor off, if there is some. What begins with a set bit is binary; anything else must have armor, before which some
// lines may stand.
func dearmored(r io.Reader) (input, error) {
	in := bufio.NewReaderSize(r, maxArmorLine)
	first, err := in.Peek(1)
	if err != nil {
		return input{}, ended(err)
	}
	if first[0]&0x80 != 0 {
		return input{in, in, true}, nil
	}
	if err := findArmor(in); err != nil {
		return input{}, err
	}
	lines := &armorLines{in: in}
	if err := lines.head(); err != nil {
		return input{}, err
	}
	return input{body: armored{base64.NewDecoder(base64.StdEncoding, lines)}, raw: in}, nil
}

// armored is the inside of armor, whose errors are those of the data.
type armored struct{ io.Reader }

func (a armored) Read(to []byte) (int, error) {
	n, err := a.Reader.Read(to)
	if _, bad := errors.AsType[base64.CorruptInputError](err); bad || errors.Is(err, io.ErrUnexpectedEOF) {
		err = because(ErrData, err)
	}
	return n, err
}

// armorLines are the lines of base64 within armor, up to the one that ends it. The checksum is not looked at (RFC 9580 §6.1).
type armorLines struct {
	in   *bufio.Reader
	rest []byte // of the line we are in
	done bool
}

// line is the next one without the blanks at its end.
func (a *armorLines) line() ([]byte, error) {
	line, err := a.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("%w: a line of armor over %d octets", ErrData, maxArmorLine)
	}
	if err != nil && (len(line) == 0 || !errors.Is(err, io.EOF)) {
		return nil, ended(err)
	}
	return bytes.TrimRight(line, " \t\r\n"), nil
}

// head goes past the first line and the headers, whatever they say.
func (a *armorLines) head() error {
	for {
		if line, err := a.line(); err != nil || len(line) == 0 {
			return err
		}
	}
}

func (a *armorLines) Read(to []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.done {
			return 0, io.EOF
		}
		line, err := a.line()
		if err != nil {
			return 0, err
		}
		if !bytes.HasPrefix(line, []byte(armorEnd)) && (len(line) != 5 || line[0] != '=') { // a checksum
			a.rest = line
		}
		a.done = bytes.HasPrefix(line, []byte(armorEnd))
	}
	n := copy(to, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// findArmor goes past the lines before armor.
func findArmor(in *bufio.Reader) error {
	for {
		start, err := in.Peek(len(armorStart))
		if string(start) == armorStart {
			return nil
		}
		if err != nil {
			return ended(err)
		}
		if _, err := in.ReadSlice('\n'); err != nil {
			if errors.Is(err, bufio.ErrBufferFull) {
				return fmt.Errorf("%w: neither packets nor armor", ErrData)
			}
			return ended(err)
		}
	}
}

// nothingAfter says whether there is nothing but empty lines after the data.
func (in input) nothingAfter() (bool, error) {
	if _, err := io.Copy(io.Discard, in.body); err != nil {
		return false, err
	}
	for {
		c, err := in.raw.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return true, nil
		case err != nil:
			return false, err
		case !bytes.Contains([]byte(" \t\r\n"), []byte{c}):
			return false, nil
		}
	}
}

// Dearmor writes what r has to w without armor; data without armor pass through. Errors: ErrData.
func Dearmor(w io.Writer, r io.Reader) error {
	in, err := dearmored(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, in.body)
	return err
}

// Armor writes what r has to w in armor; data in armor pass through. The label is told by the first packets. Errors: ErrData.
func Armor(w io.Writer, r io.Reader) error {
	in := bufio.NewReaderSize(r, maxSignatureFile)
	start, err := in.Peek(maxSignatureFile)
	if len(start) == 0 {
		return ended(err)
	}
	if start[0]&0x80 == 0 {
		if !bytes.Contains(start, []byte(armorStart)) {
			return fmt.Errorf("%w: neither packets nor armor", ErrData)
		}
		_, err := io.Copy(w, in)
		return err
	}
	label, sum, err := labelOf(start)
	if err != nil {
		return err
	}
	out, err := newArmor(w, label, sum)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}

// labelOf tells from the first packets what to call them, and whether a checksum follows.
func labelOf(start []byte) (label string, sum checksum, err error) {
	p := newPackets(bytes.NewReader(start))
	tag, body, err := p.next()
	if err != nil {
		return "", sum, ended(err)
	}
	var version [1]byte
	if _, err := io.ReadFull(body, version[:]); err != nil {
		return "", sum, ended(err)
	}
	if sum = crc24; version[0] == 6 && tag != tagLiteral && tag != tagCompressed || tag == tagSEIPD && version[0] == 2 {
		sum = noChecksum
	}
	switch tag {
	case tagPublicKey:
		return labelCert, sum, nil
	case tagSecretKey:
		return labelKey, sum, nil
	case tagPKESK, tagSKESK, tagOnePass, tagCompressed, tagLiteral, tagSEIPD, tagAEAD:
		return labelMessage, sum, nil
	case tagSignature:
		for tag == tagSignature && err == nil {
			tag, _, err = p.next()
		}
		if err == nil {
			return labelMessage, sum, nil // an old message: its signatures stand before the text
		}
		return labelSignature, sum, nil
	}
	return "", sum, fmt.Errorf("%w: a packet of type %d at the beginning", ErrData, tag)
}

// checksum says what stands at the end of armor.
type checksum bool

const (
	noChecksum checksum = false // what has version 6 must not have one (RFC 9580 §6.1)
	crc24      checksum = true  // some older programs want one
)

// form is what output has around it.
type form bool

const (
	octets form = false
	ascii  form = true
)

// wrapped is w, in armor if that is the form.
func wrapped(w io.Writer, f form, label string, sum checksum) (io.WriteCloser, error) {
	if f == ascii {
		return newArmor(w, label, sum)
	}
	return noClose{w}, nil
}

type noClose struct{ io.Writer }

func (noClose) Close() error { return nil }
