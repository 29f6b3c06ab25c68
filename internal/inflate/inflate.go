// Package inflate reads DEFLATE (RFC 1951) from a connection: every octet is given on as soon as its bits have come.
//
// It knows no mail. Other readers look a few bits ahead, as is right for files; a peer that ends what it says with zlib's partial flush
// keeps up to seven bits of the next block to itself, and both sides would wait. The flow: Read → step: a block's header, then its
// symbols, into the window → Read gives on what is new before it waits for more input.
package inflate

import (
	"bufio"
	"errors"
	"io"
)

// ErrFormat is what the input is not: RFC 1951.
var ErrFormat = errors.New("inflate: not DEFLATE")

const (
	windowSize = 32 << 10 // RFC 1951 §2: how far back a distance goes
	inputSize  = 4 << 10
	maxBits    = 15  // of a code: RFC 1951 §3.2.7
	endOfBlock = 256 // RFC 1951 §3.2.5
	maxLiteral = 286 // symbols of literals and lengths
	maxOffset  = 30  // symbols of distances
)

// Reader reads what was compressed. It never ends before its input does: a connection has no last block.
type Reader struct {
	in      *bufio.Reader
	hold    uint64 // bits that were read and not used, the next lowest
	bits    uint   // how many
	window  [windowSize]byte
	at      int // where the next octet goes
	from    int // the first that was not given on
	new     int // how many were not
	step    func(*Reader) error
	stored  int // octets left of a stored block
	literal code
	offset  code
	copied  struct{ length, distance int } // of a copy that the window had no room for
	err     error
}

// NewReader reads from r.
func NewReader(r io.Reader) *Reader {
	return &Reader{in: bufio.NewReaderSize(r, inputSize), step: (*Reader).header}
}

// Read is io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	for r.new == 0 && len(p) > 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.err = r.step(r)
	}
	n := 0
	for n < len(p) && r.new > 0 {
		k := copy(p[n:], r.window[r.from:min(r.from+r.new, windowSize)])
		n, r.new, r.from = n+k, r.new-k, (r.from+k)%windowSize
	}
	return n, nil
}

// put adds an octet to the window. There is room: new is less than its size.
func (r *Reader) put(b byte) {
	r.window[r.at] = b
	r.at = (r.at + 1) % windowSize
	r.new++
}

func (r *Reader) full() bool { return r.new == windowSize }

// more reads eight bits more.
func (r *Reader) more() error {
	b, err := r.in.ReadByte()
	if err != nil {
		return err
	}
	r.hold |= uint64(b) << r.bits
	r.bits += 8
	return nil
}

// waits tells whether more would wait for the peer.
func (r *Reader) waits() bool { return r.in.Buffered() == 0 }

// take reads n bits, waiting for them.
func (r *Reader) take(n uint) (int, error) {
	for r.bits < n {
		if err := r.more(); err != nil {
			return 0, err
		}
	}
	v := r.hold & (1<<n - 1)
	r.drop(n)
	return int(v), nil
}

func (r *Reader) drop(n uint) {
	r.hold >>= n
	r.bits -= n
}

// header reads the beginning of a block: RFC 1951 §3.2.3. All before it was given on.
func (r *Reader) header() error {
	v, err := r.take(3)
	if err != nil {
		return err
	}
	// The bit of the last block says nothing on a connection that goes on.
	switch v >> 1 {
	case 0:
		return r.beginStored()
	case 1:
		r.literal, r.offset = fixedCodes()
		r.step = (*Reader).symbols
		return nil
	case 2:
		return r.dynamicCodes()
	}
	return ErrFormat
}

// beginStored is RFC 1951 §3.2.4.
func (r *Reader) beginStored() error {
	r.drop(r.bits % 8)
	length, err := r.take(16)
	if err != nil {
		return err
	}
	complement, err := r.take(16)
	if err != nil {
		return err
	}
	if length != ^complement&0xffff {
		return ErrFormat
	}
	r.stored, r.step = length, (*Reader).copyStored
	return nil
}

func (r *Reader) copyStored() error {
	for r.stored > 0 && !r.full() {
		if r.new > 0 && r.bits == 0 && r.waits() {
			return nil
		}
		b, err := r.take(8)
		if err != nil {
			return err
		}
		r.put(byte(b))
		r.stored--
	}
	if r.stored == 0 {
		r.step = (*Reader).header
	}
	return nil
}

// symbols reads the symbols of a block until something is new and the rest has not come, or the window is full.
func (r *Reader) symbols() error {
	for {
		for r.copied.length > 0 {
			if r.full() {
				return nil
			}
			r.put(r.window[(r.at-r.copied.distance+windowSize)%windowSize])
			r.copied.length--
		}
		if r.full() {
			return nil
		}
		done, whole, err := r.symbol()
		switch {
		case err != nil:
			return err
		case done:
			r.step = (*Reader).header
			return nil
		case whole:
		case r.new > 0 && r.waits():
			return nil
		default:
			if err := r.more(); err != nil {
				return err
			}
		}
	}
}

// symbol reads one symbol, if all its bits are there: a literal, or a length with its distance (48 bits at most).
func (r *Reader) symbol() (done, whole bool, err error) {
	symbol, used, ok, err := r.literal.decode(r.hold, r.bits)
	if err != nil || !ok {
		return false, false, err
	}
	switch {
	case symbol < endOfBlock:
		r.drop(used)
		r.put(byte(symbol))
		return false, true, nil
	case symbol == endOfBlock:
		r.drop(used)
		return true, true, nil
	case symbol >= maxLiteral:
		return false, false, ErrFormat
	}
	l := lengths[symbol-endOfBlock-1]
	if r.bits < used+l.extra {
		return false, false, nil
	}
	length := l.base + int(r.hold>>used&(1<<l.extra-1))
	used += l.extra
	symbol, more, ok, err := r.offset.decode(r.hold>>used, r.bits-used)
	if err != nil || !ok {
		return false, false, err
	}
	if symbol >= maxOffset {
		return false, false, ErrFormat
	}
	d := distances[symbol]
	if used += more; r.bits < used+d.extra {
		return false, false, nil
	}
	// A distance to before the beginning finds zeros: they are nobody's.
	r.copied.length, r.copied.distance = length, d.base+int(r.hold>>used&(1<<d.extra-1))
	r.drop(used + d.extra)
	return false, true, nil
}
