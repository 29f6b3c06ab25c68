package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/bits"
	"slices"
	"sort"
)

// ErrDamaged tells of an index that is not what was written.
var ErrDamaged = errors.New("index: damaged")

// segment is the words of some contents, as they are stored: see docs/FORMATS.md.
type segment struct {
	ids      []int64
	words    []byte // each after a separator, ascending, and one at the end
	groups   []byte // of each groupSize words, where they begin in words and in postings: 4 octets each
	noise    []byte // of each content: the length of its bitmap, and the bitmap
	postings []byte // of each word: its length, and which contents have it, as the steps between their places
}

const groupSize = 32

// everything is the noise of a content that cannot be told about: it has all grams.
const everything = 0xff

// builder puts a segment together.
type builder struct {
	ids   []int64
	place map[string]int32 // of a word in lists
	lists [][]uint32       // places of contents in ids
	noise []byte
	size  int // octets of words, places and noise, about

	grams []uint64 // of the content under way, a bit each
	count int      // of those set
}

func newBuilder() *builder {
	return &builder{place: make(map[string]int32), grams: make([]uint64, 1<<gramBits/64)}
}

// begin begins the next content.
func (b *builder) begin(id int64) {
	b.ids = append(b.ids, id)
	if b.count > 0 {
		clear(b.grams)
		b.count = 0
	}
}

// add adds a word of the last content.
func (b *builder) add(word []byte) {
	last := uint32(len(b.ids) - 1)
	i, known := b.place[string(word)]
	if !known {
		i = int32(len(b.lists))
		b.place[string(word)] = i
		b.lists = append(b.lists, nil)
		b.size += len(word) + 4
	}
	if list := b.lists[i]; len(list) == 0 || list[len(list)-1] != last {
		b.lists[i] = append(list, last)
		b.size++
	}
}

func (b *builder) addGram(g uint32) {
	if w, bit := &b.grams[g/64], uint64(1)<<(g%64); *w&bit == 0 {
		*w |= bit
		b.count++
	}
}

// end ends the content: its noise is folded to six bits or more for each gram, so that at most one in seven that are not there seems to
// be.
func (b *builder) end() {
	if b.count == 0 {
		b.addNoise(nil)
		return
	}
	size := min(1<<bits.Len(uint(6*b.count/8)), 1<<gramBits/8)
	bitmap := make([]byte, size)
	for i, w := range b.grams {
		for ; w != 0; w &= w - 1 {
			at := (i*64 + bits.TrailingZeros64(w)) & (size*8 - 1)
			bitmap[at/8] |= 1 << (at % 8)
		}
	}
	b.addNoise(bitmap)
}

func (b *builder) addNoise(bitmap []byte) {
	before := len(b.noise)
	b.noise = append(binary.AppendUvarint(b.noise, uint64(len(bitmap))), bitmap...)
	b.size += len(b.noise) - before
}

// segment is what was put together.
func (b *builder) segment() *segment {
	s := &segment{ids: b.ids, words: []byte(separators), noise: b.noise}
	words := make([]string, 0, len(b.place))
	for word := range b.place {
		words = append(words, word)
	}
	slices.Sort(words)
	var list []byte
	for i, word := range words {
		if i%groupSize == 0 {
			s.groups = binary.LittleEndian.AppendUint32(s.groups, uint32(len(s.words)))
			s.groups = binary.LittleEndian.AppendUint32(s.groups, uint32(len(s.postings)))
		}
		s.words = append(append(s.words, word...), separator)
		list = list[:0]
		next := uint32(0)
		for _, place := range b.lists[b.place[word]] {
			list = binary.AppendUvarint(list, uint64(place-next))
			next = place + 1
		}
		s.postings = append(binary.AppendUvarint(s.postings, uint64(len(list))), list...)
	}
	return s
}

// merge adds the contents of a segment that are kept.
func (b *builder) merge(s *segment, keep func(id int64) bool) error {
	places := make([]int32, len(s.ids)) // in b; -1: not kept
	noise := s.noise
	for i, id := range s.ids {
		bitmap, rest, ok := cut(noise)
		if !ok {
			return ErrDamaged
		}
		places[i], noise = -1, rest
		if keep(id) {
			places[i] = int32(len(b.ids))
			b.ids = append(b.ids, id)
			b.addNoise(bitmap)
		}
	}
	words, postings := s.words[1:], s.postings
	for len(words) > 0 {
		list, rest, ok := cut(postings)
		n := bytes.IndexByte(words, separator)
		if !ok || n < 0 {
			return ErrDamaged
		}
		ok = eachPlace(list, len(s.ids), func(i int) {
			if p := places[i]; p >= 0 {
				b.addAt(words[:n], uint32(p))
			}
		})
		if !ok {
			return ErrDamaged
		}
		words, postings = words[n+1:], rest
	}
	return nil
}

func (b *builder) addAt(word []byte, place uint32) {
	i, known := b.place[string(word)]
	if !known {
		i = int32(len(b.lists))
		b.place[string(word)] = i
		b.lists = append(b.lists, nil)
	}
	b.lists[i] = append(b.lists[i], place)
}

// cut cuts off what has its length before it.
func cut(b []byte) (head, rest []byte, ok bool) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return nil, nil, false
	}
	return b[k : k+int(n)], b[k+int(n):], true
}

// eachPlace calls each for the places in a posting; false: it is damaged.
func eachPlace(list []byte, n int, each func(int)) bool {
	next := 0
	for len(list) > 0 {
		step, k := binary.Uvarint(list)
		if k <= 0 || step >= uint64(n-next) {
			return false
		}
		each(next + int(step))
		next += int(step) + 1
		list = list[k:]
	}
	return true
}

// sum is the checksum of a segment but for its postings.
func (s *segment) sum(ids []byte) uint32 { return sumOf(ids, s.words, s.groups, s.noise) }

// sumOf is the CRC-32C of some columns, each with its length before it.
func sumOf(columns ...[]byte) (sum uint32) {
	for _, b := range columns {
		sum = crc32.Update(sum, castagnoli, binary.LittleEndian.AppendUint32(nil, uint32(len(b))))
		sum = crc32.Update(sum, castagnoli, b)
	}
	return sum
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// set is some numbers, a bit each: places in a segment, or contents.
type set []uint64

func newSet(n int) set { return make(set, (n+63)/64) }

func (s set) add(i int) { s[i/64] |= 1 << (i % 64) }

// put is add to a set that may be too small.
func (s *set) put(i int) {
	for len(*s) <= i/64 {
		*s = append(*s, 0)
	}
	s.add(i)
}

func (s set) has(i int64) bool { return i>>6 < int64(len(s)) && s[i>>6]>>(i&63)&1 != 0 }

func (s set) count() (n int) {
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

func (s set) each(f func(int)) {
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			f(i*64 + bits.TrailingZeros64(w))
		}
	}
}

// suspects are the contents that may have all the terms; nil: none. The postings are loaded when they are needed.
func (s *segment) suspects(all []term, load func() error) (set, error) {
	var left set
	for _, t := range all {
		found := newSet(len(s.ids))
		if t.noise {
			if err := s.noisy(t, found); err != nil {
				return nil, err
			}
		}
		if err := s.lookUp(t, found, load); err != nil {
			return nil, err
		}
		some := uint64(0)
		for i := range found {
			if left != nil {
				found[i] &= left[i]
			}
			some |= found[i]
		}
		if left = found; some == 0 {
			return nil, nil
		}
	}
	return left, nil
}

// noisy adds the contents in whose noise the term may be.
func (s *segment) noisy(t term, found set) error {
	rest := s.noise
	for i := range s.ids {
		bitmap, after, ok := cut(rest)
		if !ok || len(bitmap)&(len(bitmap)-1) != 0 {
			return ErrDamaged
		}
		rest = after
		all := len(bitmap) > 0
		for _, g := range t.grams {
			if !all {
				break
			}
			at := int(g) & (len(bitmap)*8 - 1)
			all = bitmap[at/8]>>(at%8)&1 != 0
		}
		if all {
			found.add(i)
		}
	}
	return nil
}

// lookUp adds the contents that have a word with the pattern.
func (s *segment) lookUp(t term, found set, load func() error) error {
	for at := 0; ; {
		i := bytes.Index(s.words[at:], t.pattern)
		if i < 0 {
			return nil
		}
		if s.postings == nil {
			if err := load(); err != nil {
				return err
			}
		}
		word := at + i
		if t.pattern[0] == separator {
			word++
		}
		list, err := s.posting(word)
		if err != nil {
			return err
		}
		if !eachPlace(list, len(s.ids), found.add) {
			return ErrDamaged
		}
		end := bytes.IndexByte(s.words[word:], separator)
		if end < 0 || found.count() == len(s.ids) {
			return nil
		}
		at = word + end
	}
}

// posting is that of the word at the offset.
func (s *segment) posting(offset int) ([]byte, error) {
	n := len(s.groups) / 8
	group := sort.Search(n, func(i int) bool { return int(binary.LittleEndian.Uint32(s.groups[8*i:])) > offset }) - 1
	if group < 0 {
		return nil, ErrDamaged
	}
	start := int(binary.LittleEndian.Uint32(s.groups[8*group:]))
	rest := int(binary.LittleEndian.Uint32(s.groups[8*group+4:]))
	if start > offset || rest > len(s.postings) {
		return nil, ErrDamaged
	}
	postings := s.postings[rest:]
	for range bytes.Count(s.words[start:offset], []byte(separators)) {
		_, after, ok := cut(postings)
		if !ok {
			return nil, ErrDamaged
		}
		postings = after
	}
	list, _, ok := cut(postings)
	if !ok {
		return nil, ErrDamaged
	}
	return list, nil
}
