package pgp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Packet types (RFC 9580 §5).
const (
	tagPKESK      = 1
	tagSignature  = 2
	tagSKESK      = 3
	tagOnePass    = 4
	tagSecretKey  = 5
	tagPublicKey  = 6
	tagSecretSub  = 7
	tagCompressed = 8
	tagMarker     = 10
	tagLiteral    = 11
	tagUserID     = 13
	tagPublicSub  = 14
	tagSEIPD      = 18
	tagAEAD       = 20 // of GnuPG
	tagPadding    = 21
)

// packets reads packets one by one without knowing what is in them (RFC 9580 §4.2). It is our own so that we can look before the library
// reads, and holds one buffer whatever the packets say of their lengths.
type packets struct {
	in   *bufio.Reader
	body *body
}

// body is one packet's: left octets of the chunk we are in, and more chunks after it.
type body struct {
	in      *bufio.Reader
	left    int64
	partial bool
	toEnd   bool // an old packet of indeterminate length
}

func newPackets(r io.Reader) *packets {
	in, ok := r.(*bufio.Reader)
	if !ok {
		in = bufio.NewReader(r)
	}
	return &packets{in: in}
}

// next goes to the next packet, past what is left of the one before; io.EOF after the last.
func (p *packets) next() (tag byte, content io.Reader, err error) {
	if p.body != nil {
		if _, err := io.Copy(io.Discard, p.body); err != nil {
			return 0, nil, err
		}
	}
	first, err := p.in.ReadByte()
	if err != nil {
		return 0, nil, err
	}
	b := &body{in: p.in}
	switch {
	case first&0x80 == 0:
		return 0, nil, fmt.Errorf("%w: a packet begins with %#02x", ErrData, first)
	case first&0x40 != 0:
		tag, err = first&0x3f, b.length()
	default:
		tag, err = first>>2&0xf, b.oldLength(first&3)
	}
	p.body = b
	return tag, b, cut(err)
}

// tag is the type of the packet that comes, which stays where it is.
func (p *packets) tag() (byte, error) {
	first, err := p.in.Peek(1)
	if err != nil {
		return 0, err
	}
	if first[0]&0x40 != 0 {
		return first[0] & 0x3f, nil
	}
	return first[0] >> 2 & 0xf, nil
}

// length reads a length (RFC 9580 §4.2.1).
func (b *body) length() error {
	first, err := b.in.ReadByte()
	switch {
	case err != nil:
		return err
	case first < 192:
		b.left, b.partial = int64(first), false
	case first < 224:
		second, err := b.in.ReadByte()
		b.left, b.partial = int64(first-192)<<8+int64(second)+192, false
		return err
	case first < 255:
		b.left, b.partial = 1<<(first&0x1f), true
	default:
		b.partial = false
		return b.number(4)
	}
	return nil
}

// oldLength reads the length of an old packet (RFC 9580 §4.2.2).
func (b *body) oldLength(kind byte) error {
	if kind == 3 {
		b.toEnd = true
		return nil
	}
	return b.number(1 << kind)
}

func (b *body) number(octets int) error {
	var n [4]byte
	_, err := io.ReadFull(b.in, n[4-octets:])
	b.left = int64(binary.BigEndian.Uint32(n[:]))
	return err
}

func (b *body) Read(to []byte) (int, error) {
	if b.toEnd {
		return b.in.Read(to)
	}
	for b.left == 0 {
		if !b.partial {
			return 0, io.EOF
		}
		if err := b.length(); err != nil {
			return 0, cut(err)
		}
	}
	n, err := b.in.Read(to[:min(int64(len(to)), b.left)])
	b.left -= int64(n)
	return n, cut(err)
}

// cut says of input that ends within a packet that it does.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends within a packet", ErrData)
	}
	return err
}

// readAtMost reads all of r, which may have so many octets.
func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	var all bytes.Buffer
	if n, err := all.ReadFrom(io.LimitReader(r, limit+1)); err != nil {
		return nil, err
	} else if n > limit {
		return nil, fmt.Errorf("%w: over %d octets", ErrTooLarge, limit)
	}
	return all.Bytes(), nil
}

// appendPacket adds a packet to what is there, with a length in four octets, which holds any.
func appendPacket(to []byte, tag byte, content []byte) []byte {
	to = append(to, 0xc0|tag, 0xff)
	return append(binary.BigEndian.AppendUint32(to, uint32(len(content))), content...)
}
