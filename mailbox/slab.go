package mailbox

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"sync/atomic"
)

// A slab on disk: a version octet, the number of messages, then a column for each field of Message, and the CRC-32C of all that.
//
// A column is a head octet, a base and as many fixed-width little-endian numbers as there are messages, each the distance from the
// base. In a column of kind stepped the numbers are the steps from one value to the next, and the first value follows the base: what
// ascends, as UIDs do, mostly takes no octets at all. Fixed widths are read at a nanosecond a value, which varints are not.
const (
	slabVersion = 1
	maxSlab     = 4096 // messages that are read from one row

	widthMask = 0x0f
	stepped   = 0x10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// slab is a run of messages as a row of the database holds it: what it holds is read when it is needed.
type slab struct {
	key      UID    // not above its first message's; the row's key
	version  ModSeq // of the change that wrote the row
	last     UID
	n        int
	messages atomic.Pointer[Slab] // nil: only in the database
}

// newSlab is a slab that the change with this mod-sequence makes.
func newSlab(version ModSeq, key UID, messages []Message) *slab {
	s := &slab{key: key, version: version}
	s.set(messages)
	return s
}

// set replaces the messages of a slab no one else sees yet.
func (s *slab) set(messages []Message) {
	s.n = len(messages)
	if s.n > 0 {
		s.last = messages[s.n-1].UID
	}
	s.messages.Store(&Slab{Messages: messages})
}

// appendSlab encodes messages.
func appendSlab(b []byte, messages []Message) []byte {
	start := len(b)
	b = append(b, slabVersion)
	b = binary.AppendUvarint(b, uint64(len(messages)))
	v := make([]int64, len(messages))
	for _, get := range [...]func(*Message) int64{
		func(m *Message) int64 { return int64(m.UID) },
		func(m *Message) int64 { return int64(m.Blob) },
		func(m *Message) int64 { return int64(m.Flags) },
		func(m *Message) int64 { return int64(m.ModSeq) },
		func(m *Message) int64 { return m.Size },
		func(m *Message) int64 { return m.Internal },
		func(m *Message) int64 { return int64(m.Zone) },
		func(m *Message) int64 { return m.Saved },
	} {
		for i := range messages {
			v[i] = get(&messages[i])
		}
		b = appendColumn(b, v)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// appendColumn encodes values the shorter way. It changes v.
func appendColumn(b []byte, v []int64) []byte {
	lo, hi := v[0], v[0]
	stepLo, stepHi := int64(math.MaxInt64), int64(math.MinInt64)
	for i := 1; i < len(v); i++ {
		lo, hi = min(lo, v[i]), max(hi, v[i])
		step := v[i] - v[i-1]
		stepLo, stepHi = min(stepLo, step), max(stepHi, step)
	}
	width := widthOf(lo, hi)
	if len(v) == 1 || widthOf(stepLo, stepHi) >= width {
		b = append(b, byte(width))
		b = binary.AppendVarint(b, lo)
		return appendFixed(b, v, lo, width)
	}
	width = widthOf(stepLo, stepHi)
	b = append(b, byte(width)|stepped)
	b = binary.AppendVarint(b, stepLo)
	b = binary.AppendVarint(b, v[0])
	for i := len(v) - 1; i > 0; i-- {
		v[i] -= v[i-1]
	}
	return appendFixed(b, v[1:], stepLo, width)
}

// widthOf is the octets that distances up to hi-lo take.
func widthOf(lo, hi int64) int {
	switch span := uint64(hi) - uint64(lo); {
	case span == 0:
		return 0
	case span <= math.MaxUint8:
		return 1
	case span <= math.MaxUint16:
		return 2
	case span < 1<<24:
		return 3
	case span <= math.MaxUint32:
		return 4
	}
	return 8
}

// appendFixed appends the low octets of each distance from the base. A store of eight octets is one instruction, so what is over is
// written, too, and then written over.
func appendFixed(b []byte, v []int64, base int64, width int) []byte {
	const whole = 8
	at, end := len(b), len(b)+width*len(v)
	b = slices.Grow(b, width*len(v)+whole)[:end+whole]
	for _, x := range v {
		binary.LittleEndian.PutUint64(b[at:], uint64(x)-uint64(base))
		at += width
	}
	return b[:end]
}

// parseSlab decodes what appendSlab wrote.
func parseSlab(b []byte) ([]Message, error) {
	body := len(b) - crc32.Size
	if body < 2 || b[0] != slabVersion || crc32.Checksum(b[:body], castagnoli) != binary.LittleEndian.Uint32(b[body:]) {
		return nil, fmt.Errorf("%w: a slab's checksum or version", ErrCorrupt)
	}
	r := columnReader{b: b[1:body]}
	n := r.uvarint()
	if n == 0 || n > maxSlab {
		return nil, fmt.Errorf("%w: a slab of %d messages", ErrCorrupt, n)
	}
	m := make([]Message, n)
	r.v = make([]int64, n)
	for i, x := range r.column() {
		m[i].UID = UID(x)
	}
	for i, x := range r.column() {
		m[i].Blob = BlobID(x)
	}
	for i, x := range r.column() {
		m[i].Flags = Flags(x)
	}
	for i, x := range r.column() {
		m[i].ModSeq = ModSeq(x)
	}
	for i, x := range r.column() {
		m[i].Size = x
	}
	for i, x := range r.column() {
		m[i].Internal = x
	}
	for i, x := range r.column() {
		m[i].Zone = int16(x)
	}
	for i, x := range r.column() {
		m[i].Saved = x
	}
	if r.bad || len(r.b) > 0 || !ascending(m) {
		return nil, fmt.Errorf("%w: a slab's columns", ErrCorrupt)
	}
	return m, nil
}

func ascending(m []Message) bool {
	last := UID(0)
	for i := range m {
		if m[i].UID <= last {
			return false
		}
		last = m[i].UID
	}
	return true
}

// columnReader reads columns into v.
type columnReader struct {
	b   []byte
	v   []int64
	bad bool // what was read since is of no meaning
}

func (r *columnReader) fail() {
	r.b, r.bad = nil, true
}

func (r *columnReader) uvarint() uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *columnReader) varint() int64 {
	n, size := binary.Varint(r.b)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return n
}

// column reads one into v and is v, until the next is read.
func (r *columnReader) column() []int64 {
	if len(r.b) == 0 {
		r.fail()
		return r.v
	}
	head := r.b[0]
	r.b = r.b[1:]
	base := r.varint()
	v := r.v
	if head&stepped != 0 {
		v[0] = r.varint()
		v = v[1:]
	}
	size := len(v) * int(head&widthMask)
	if size > len(r.b) || !fixed(v, r.b[:size], base) {
		r.fail()
		return r.v
	}
	r.b = r.b[size:]
	if head&stepped != 0 {
		for i, x := 1, r.v[0]; i < len(r.v); i++ {
			x += r.v[i]
			r.v[i] = x
		}
	}
	return r.v
}

// fixed reads len(b)/len(v) octets a value.
func fixed(v []int64, b []byte, base int64) bool {
	if len(v) == 0 {
		return len(b) == 0
	}
	switch len(b) / len(v) {
	case 0:
		for i := range v {
			v[i] = base
		}
	case 1:
		for i := range v {
			v[i] = base + int64(b[i])
		}
	case 2:
		for i := range v {
			v[i] = base + int64(binary.LittleEndian.Uint16(b[2*i:]))
		}
	case 3:
		for i := range v {
			v[i] = base + int64(b[3*i]) + int64(b[3*i+1])<<8 + int64(b[3*i+2])<<16
		}
	case 4:
		for i := range v {
			v[i] = base + int64(binary.LittleEndian.Uint32(b[4*i:]))
		}
	case 8:
		for i := range v {
			v[i] = base + int64(binary.LittleEndian.Uint64(b[8*i:]))
		}
	default:
		return false
	}
	return true
}
