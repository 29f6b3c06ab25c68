package pgp

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
)

const armorWidth = 64 // octets of base64 in a line; RFC 9580 §6 lets it have 76

// armorWriter writes armor around what is written (RFC 9580 §6.2), without header lines: they tell others more than they need to know.
type armorWriter struct {
	out    *bufio.Writer
	base64 io.WriteCloser // to out, through lines
	label  string
	crc    *crc // nil without a checksum
}

// newArmor begins armor. Close ends it, and not what is below.
func newArmor(w io.Writer, label string, sum checksum) (io.WriteCloser, error) {
	a := &armorWriter{out: bufio.NewWriter(w), label: label}
	a.base64 = base64.NewEncoder(base64.StdEncoding, &lines{out: a.out})
	if sum == crc24 {
		a.crc = newCRC()
	}
	_, err := fmt.Fprintf(a.out, "%s%s-----\n\n", armorBegin, label)
	return a, err
}

func (a *armorWriter) Write(p []byte) (int, error) {
	if a.crc != nil {
		a.crc.add(p)
	}
	return a.base64.Write(p)
}

func (a *armorWriter) Close() error {
	if err := a.base64.Close(); err != nil {
		return err
	}
	sum := ""
	if a.crc != nil {
		sum = "\n=" + base64.StdEncoding.EncodeToString([]byte{byte(a.crc.sum >> 16), byte(a.crc.sum >> 8), byte(a.crc.sum)})
	}
	fmt.Fprintf(a.out, "%s\n-----END %s-----\n", sum, a.label)
	return a.out.Flush()
}

// lines breaks base64 into lines, the last of which it does not end.
type lines struct {
	out  *bufio.Writer
	used int // octets of the line we are in
}

func (l *lines) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if l.used == armorWidth {
			l.out.WriteByte('\n') // the last write tells of an error
			l.used = 0
		}
		n := min(len(rest), armorWidth-l.used)
		if _, err := l.out.Write(rest[:n]); err != nil {
			return len(p) - len(rest), err
		}
		rest, l.used = rest[n:], l.used+n
	}
	return len(p), nil
}

// crc is the checksum of RFC 9580 §6.1.1, an octet at a time.
type crc struct {
	sum   uint32
	table [256]uint32
}

func newCRC() *crc {
	c := &crc{sum: 0xb704ce}
	for i := range c.table {
		v := uint32(i) << 16
		for range 8 {
			if v <<= 1; v&0x1000000 != 0 {
				v ^= 0x1864cfb
			}
		}
		c.table[i] = v
	}
	return c
}

func (c *crc) add(p []byte) {
	for _, b := range p {
		c.sum = (c.sum<<8 ^ c.table[byte(c.sum>>16)^b]) & 0xffffff
	}
}
