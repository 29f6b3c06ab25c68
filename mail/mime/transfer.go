package mime

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// ErrEncoding tells of a Content-Transfer-Encoding that is not one of RFC 2045 §6.
var ErrEncoding = errors.New("mime: unknown transfer encoding")

// NewDecoder reads content without its transfer encoding ("base64", "quoted-printable"; the others change nothing). Broken encoding
// is read as well as can be: RFC 2045 §6.7, §6.8 tell to pass over what is not of the alphabet.
func NewDecoder(r io.Reader, encoding string) (io.Reader, error) {
	switch strings.ToLower(encoding) {
	case "", "7bit", "8bit", "binary":
		return r, nil
	case "base64":
		return &base64Reader{in: bufio.NewReader(r)}, nil
	case "quoted-printable":
		return &quotedReader{in: bufio.NewReaderSize(r, quotedWindow)}, nil
	}
	return nil, ErrEncoding
}

type base64Reader struct {
	in   *bufio.Reader
	bits uint32
	n    int // bits held
}

func (d *base64Reader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		c, err := d.in.ReadByte()
		if err != nil {
			if n > 0 && err == io.EOF {
				return n, nil
			}
			return n, err
		}
		v := base64Values[c]
		if c == '=' { // padding: what follows begins anew, as in content put together of several
			d.n = 0
		}
		if v < 0 {
			continue
		}
		d.bits, d.n = d.bits<<6|uint32(v), d.n+6
		if d.n >= 8 {
			d.n -= 8
			p[n] = byte(d.bits >> d.n)
			n++
		}
	}
	return n, nil
}

// base64Values is the alphabet of RFC 4648 §4; -1 for other octets.
var base64Values = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for i, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		t[c] = int8(i)
	}
	return t
}()

// quotedWindow is how far quoted-printable looks ahead for what ends a line.
const quotedWindow = 4096

type quotedReader struct {
	in     *bufio.Reader
	spaces int // white space that counts if no line end follows
}

func (d *quotedReader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		c, err := d.next()
		if err != nil {
			if n > 0 && err == io.EOF {
				return n, nil
			}
			return n, err
		}
		p[n] = c
		n++
	}
	return n, nil
}

// next is the next decoded octet.
func (d *quotedReader) next() (byte, error) {
	for {
		c, err := d.in.ReadByte()
		if err != nil {
			return 0, err
		}
		switch c {
		case ' ', '\t':
			if d.spaces > 0 {
				d.spaces--
			} else if d.endsLine() {
				continue // RFC 2045 §6.7 rule 3: it was added on the way
			}
			return c, nil
		case '=':
			if b, ok := d.escape(); ok {
				return b, nil
			}
			if d.softBreak() {
				continue
			}
			return c, nil
		}
		return c, nil
	}
}

// endsLine tells whether only white space is left on the line; if not, it notes how much of it counts, so that it is not looked at
// again.
func (d *quotedReader) endsLine() bool {
	for ahead := 1; ; ahead++ {
		b, _ := d.in.Peek(ahead)
		if len(b) < ahead && ahead <= quotedWindow {
			_, _ = d.in.Discard(len(b))
			return true
		}
		if len(b) < ahead {
			d.spaces = len(b)
			return false
		}
		switch b[ahead-1] {
		case ' ', '\t':
		case '\r', '\n':
			_, _ = d.in.Discard(ahead - 1)
			return true
		default:
			d.spaces = ahead - 1
			return false
		}
	}
}

// escape reads the two digits after "=".
func (d *quotedReader) escape() (byte, bool) {
	b, _ := d.in.Peek(2)
	if len(b) < 2 {
		return 0, false
	}
	hi, lo := unhex(b[0]), unhex(b[1])
	if hi < 0 || lo < 0 {
		return 0, false
	}
	_, _ = d.in.Discard(2)
	return byte(hi<<4 | lo), true
}

// softBreak passes over the line end after "=", with white space before it.
func (d *quotedReader) softBreak() bool {
	if b, _ := d.in.Peek(1); len(b) > 0 && b[0] != '\r' && b[0] != '\n' && !d.endsLine() {
		d.spaces = 0
		return false
	}
	if b, _ := d.in.Peek(1); len(b) > 0 && b[0] == '\r' {
		_, _ = d.in.Discard(1)
	}
	if b, _ := d.in.Peek(1); len(b) > 0 && b[0] == '\n' {
		_, _ = d.in.Discard(1)
	}
	return true
}
