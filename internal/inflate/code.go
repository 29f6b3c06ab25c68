package inflate

// code is a canonical Huffman code: how many symbols there are of each length, and the symbols in the order of their codes (RFC 1951
// §3.2.2).
type code struct {
	count   [maxBits + 1]uint16
	symbols [288]uint16
}

// newCode makes the code whose symbols have these lengths; 0: not there.
func newCode(sizes []byte) (c code, err error) {
	for _, n := range sizes {
		c.count[n]++
	}
	c.count[0] = 0
	left := 1
	var next [maxBits + 2]uint16
	for n := 1; n <= maxBits; n++ {
		if left = left<<1 - int(c.count[n]); left < 0 {
			return c, ErrFormat // more codes than there can be
		}
		next[n+1] = next[n] + c.count[n]
	}
	for symbol, n := range sizes {
		if n > 0 {
			c.symbols[next[n]] = uint16(symbol)
			next[n]++
		}
	}
	return c, nil
}

// decode finds the symbol that bits begin with, and how many it takes. Not ok: they are too few to tell.
func (c *code) decode(hold uint64, bits uint) (symbol int, used uint, ok bool, err error) {
	value, first, index := 0, 0, 0
	for n := uint(1); n <= maxBits; n++ {
		if n > bits {
			return 0, 0, false, nil
		}
		value |= int(hold & 1)
		hold >>= 1
		count := int(c.count[n])
		if value-count < first {
			return int(c.symbols[index+value-first]), n, true, nil
		}
		index += count
		first = (first + count) << 1
		value <<= 1
	}
	return 0, 0, false, ErrFormat
}

// fixedCodes are those of RFC 1951 §3.2.6.
func fixedCodes() (literals, offsets code) {
	var sizes [288]byte
	for i := range sizes {
		switch {
		case i < 144:
			sizes[i] = 8
		case i < 256:
			sizes[i] = 9
		case i < 280:
			sizes[i] = 7
		default:
			sizes[i] = 8
		}
	}
	literals, _ = newCode(sizes[:]) //nolint:errcheck // a table of the standard
	for i := range maxOffset {
		sizes[i] = 5
	}
	offsets, _ = newCode(sizes[:maxOffset]) //nolint:errcheck // the same
	return literals, offsets
}

// codeOrder is the order in which the lengths of the lengths' codes come: RFC 1951 §3.2.7.
var codeOrder = [...]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// repeats are the symbols that stand for several lengths: RFC 1951 §3.2.7.
var repeats = [...]struct {
	bits uint
	base int
}{16: {2, 3}, 17: {3, 3}, 18: {7, 11}}

// dynamicCodes reads the codes of a block: RFC 1951 §3.2.7.
func (r *Reader) dynamicCodes() error {
	var counts [3]int
	for i, n := range [...]struct {
		bits uint
		base int
	}{{5, 257}, {5, 1}, {4, 4}} {
		v, err := r.take(n.bits)
		if err != nil {
			return err
		}
		counts[i] = v + n.base
	}
	if counts[0] > maxLiteral || counts[1] > maxOffset {
		return ErrFormat
	}
	var sizes [maxLiteral + maxOffset]byte
	for _, symbol := range codeOrder[:counts[2]] {
		n, err := r.take(3)
		if err != nil {
			return err
		}
		sizes[symbol] = byte(n)
	}
	lengthCode, err := newCode(sizes[:len(codeOrder)])
	if err != nil {
		return err
	}
	if err := r.readSizes(&lengthCode, sizes[:counts[0]+counts[1]]); err != nil {
		return err
	}
	if sizes[endOfBlock] == 0 {
		return ErrFormat // it would never end
	}
	if r.literal, err = newCode(sizes[:counts[0]]); err != nil {
		return err
	}
	r.step = (*Reader).symbols
	r.offset, err = newCode(sizes[counts[0] : counts[0]+counts[1]])
	return err
}

// readSizes reads the lengths of codes, themselves coded.
func (r *Reader) readSizes(by *code, sizes []byte) error {
	clear(sizes)
	for i := 0; i < len(sizes); {
		symbol, err := r.wait(by)
		if err != nil {
			return err
		}
		if symbol < 16 {
			sizes[i] = byte(symbol)
			i++
			continue
		}
		n, err := r.take(repeats[symbol].bits)
		if err != nil {
			return err
		}
		n += repeats[symbol].base
		if n > len(sizes)-i || symbol == 16 && i == 0 {
			return ErrFormat
		}
		size := byte(0)
		if symbol == 16 {
			size = sizes[i-1]
		}
		for range n {
			sizes[i] = size
			i++
		}
	}
	return nil
}

// wait reads a symbol, waiting for its bits.
func (r *Reader) wait(by *code) (int, error) {
	for {
		symbol, used, ok, err := by.decode(r.hold, r.bits)
		if err != nil {
			return 0, err
		}
		if ok {
			r.drop(used)
			return symbol, nil
		}
		if err := r.more(); err != nil {
			return 0, err
		}
	}
}

// ranged is a symbol that stands for a range of numbers, told apart by bits that follow.
type ranged struct {
	base  int
	extra uint
}

// lengths and distances are those of RFC 1951 §3.2.5, from symbols 257 and 0 on.
var (
	lengths = [...]ranged{
		{3, 0}, {4, 0}, {5, 0}, {6, 0}, {7, 0}, {8, 0}, {9, 0}, {10, 0}, {11, 1}, {13, 1}, {15, 1}, {17, 1}, {19, 2}, {23, 2}, {27, 2},
		{31, 2}, {35, 3}, {43, 3}, {51, 3}, {59, 3}, {67, 4}, {83, 4}, {99, 4}, {115, 4}, {131, 5}, {163, 5}, {195, 5}, {227, 5}, {258, 0},
	}
	distances = [...]ranged{
		{1, 0}, {2, 0}, {3, 0}, {4, 0}, {5, 1}, {7, 1}, {9, 2}, {13, 2}, {17, 3}, {25, 3}, {33, 4}, {49, 4}, {65, 5}, {97, 5}, {129, 6},
		{193, 6}, {257, 7}, {385, 7}, {513, 8}, {769, 8}, {1025, 9}, {1537, 9}, {2049, 10}, {3073, 10}, {4097, 11}, {6145, 11}, {8193, 12},
		{12289, 12}, {16385, 13}, {24577, 13},
	}
)
