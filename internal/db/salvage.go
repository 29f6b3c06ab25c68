package db

import (
	"encoding/binary"
	"io"
	"iter"
	"math"
	"os"
)

// Row is a row as it lies on a page: of a table (Key is its rowid, and NULL stands for the column that says it once more), or of an
// index or a table WITHOUT ROWID (Key is 0). Values are nil, int64, float64, string or []byte.
type Row struct {
	Table  bool
	Key    int64
	Values []any
}

// Salvage yields the rows that can be read from a database file and its WAL, without what SQLite needs to find its way: a damaged page
// costs the rows on it and nothing else. Pages of the free list are left out; which table a row is of is for the caller to see, and so is
// whether a row was meant to be there. The files are not changed. Nobody may have the database open.
func Salvage(path string) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(Row{}, err)
			return
		}
		defer f.Close()
		p, err := readPages(f, path+"-wal")
		if err != nil {
			yield(Row{}, err)
			return
		}
		free := p.freeList()
		for n := uint32(1); n <= p.count; n++ {
			if free[n] {
				continue
			}
			for _, row := range p.rows(n) {
				if !yield(row, nil) {
					return
				}
			}
		}
	}
}

const (
	pageSize   = 4096    // of every database of ours, all of which is used: the header, which says so, may be damaged
	headerSize = 100     // of the file, on page 1
	maxPayload = 1 << 30 // octets of a row: SQLite's own limit is near
)

// Types of pages: https://www.sqlite.org/fileformat2.html §1.6.
const (
	indexInterior = 0x02
	indexLeaf     = 0x0a
	tableLeaf     = 0x0d
)

// pages are those of a database file, newer ones in the WAL instead.
type pages struct {
	file  io.ReaderAt
	count uint32
	newer map[uint32][]byte
}

func readPages(f *os.File, wal string) (*pages, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	p := &pages{file: f, count: uint32(min(info.Size()/pageSize, math.MaxUint32)), newer: make(map[uint32][]byte)}
	return p, p.readWAL(wal)
}

// page is a page's octets; nil if it cannot be read.
func (p *pages) page(n uint32) []byte {
	if b := p.newer[n]; b != nil {
		return b
	}
	if n == 0 || n > p.count {
		return nil
	}
	b := make([]byte, pageSize)
	if _, err := p.file.ReadAt(b, int64(n-1)*pageSize); err != nil {
		return nil
	}
	return b
}

// freeList is the set of pages that hold nothing, as far as their list can be followed.
func (p *pages) freeList() map[uint32]bool {
	free := make(map[uint32]bool)
	first := p.page(1)
	if first == nil {
		return free
	}
	for trunk := binary.BigEndian.Uint32(first[32:]); trunk != 0 && !free[trunk]; {
		b := p.page(trunk)
		if b == nil {
			break
		}
		free[trunk] = true
		leaves := min(int(binary.BigEndian.Uint32(b[4:])), pageSize/4-2)
		for i := range leaves {
			free[binary.BigEndian.Uint32(b[8+4*i:])] = true
		}
		trunk = binary.BigEndian.Uint32(b)
	}
	return free
}

// rows are those of one page that can be read.
func (p *pages) rows(n uint32) (rows []Row) {
	b, start := p.page(n), 0
	if n == 1 {
		start = headerSize
	}
	if b == nil {
		return nil
	}
	kind, cells, pointers := b[start], int(binary.BigEndian.Uint16(b[start+3:])), start+8
	switch kind {
	case indexInterior:
		pointers += 4
	case indexLeaf, tableLeaf:
	default:
		return nil
	}
	for i := range cells {
		if pointers+2*i+2 > pageSize {
			break
		}
		at := int(binary.BigEndian.Uint16(b[pointers+2*i:]))
		if row, ok := p.cell(b, kind, at); ok {
			rows = append(rows, row)
		}
	}
	return rows
}

// cell reads the row of a cell.
func (p *pages) cell(b []byte, kind byte, at int) (row Row, ok bool) {
	c := cursor{b: b, at: at}
	if kind == indexInterior {
		c.skip(4) // the page below it
	}
	size := c.varint()
	most := (pageSize-12)*64/255 - 23
	if kind == tableLeaf {
		row.Table, row.Key = true, int64(c.varint())
		most = pageSize - 35
	}
	if c.broken || size > maxPayload || size > uint64(p.count)*pageSize {
		return row, false
	}
	payload, ok := p.payload(&c, int(size), most)
	if !ok {
		return row, false
	}
	row.Values, ok = values(payload)
	return row, ok
}

// payload gathers a row's octets: most of them at most are in the cell, or fewer if there are more than that.
func (p *pages) payload(c *cursor, size, most int) ([]byte, bool) {
	local := size
	if size > most {
		least := (pageSize-12)*32/255 - 23
		if local = least + (size-least)%(pageSize-4); local > most {
			local = least
		}
	}
	payload := append([]byte(nil), c.take(local)...)
	if local == size || c.broken {
		return payload, !c.broken
	}
	for next := binary.BigEndian.Uint32(c.take(4)); !c.broken && len(payload) < size; {
		b := p.page(next)
		if b == nil {
			return nil, false
		}
		payload = append(payload, b[4:4+min(pageSize-4, size-len(payload))]...)
		next = binary.BigEndian.Uint32(b)
	}
	return payload, !c.broken
}

// values decodes a record: https://www.sqlite.org/fileformat2.html §2.1.
func values(payload []byte) (all []any, ok bool) {
	head := cursor{b: payload}
	size := head.varint()
	if head.broken || size > uint64(len(payload)) {
		return nil, false
	}
	head.b = payload[:size]
	body := cursor{b: payload, at: int(size)}
	for head.at < len(head.b) && !head.broken && !body.broken {
		all = append(all, body.value(head.varint()))
	}
	return all, !head.broken && !body.broken
}

// cursor reads octets from a point on; after reading past the end it is broken, and reads zeros.
type cursor struct {
	b      []byte
	at     int
	broken bool
}

func (c *cursor) skip(n int) { c.take(n) }

func (c *cursor) take(n int) []byte {
	if c.broken || n < 0 || c.at < 0 || n > len(c.b)-c.at {
		c.broken = true
		return make([]byte, min(max(n, 0), 8))
	}
	c.at += n
	return c.b[c.at-n : c.at]
}

func (c *cursor) varint() (v uint64) {
	for i := range 9 {
		b := c.take(1)[0]
		if i == 8 {
			return v<<8 | uint64(b)
		}
		v = v<<7 | uint64(b&0x7f)
		if b < 0x80 {
			break
		}
	}
	return v
}

// widths are the octets of the serial types of numbers.
var widths = [...]int{1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 8}

// value reads what a serial type says is there.
func (c *cursor) value(serial uint64) any {
	switch {
	case serial == 0:
		return nil
	case serial < 8:
		b := c.take(widths[serial])
		v := int64(int8(b[0]))
		for _, x := range b[1:] {
			v = v<<8 | int64(x)
		}
		if serial == 7 {
			return math.Float64frombits(uint64(v))
		}
		return v
	case serial < 10:
		return int64(serial - 8)
	case serial < 12 || serial > maxPayload*2:
		c.broken = true
		return nil
	}
	b := append([]byte(nil), c.take(int(serial-12)/2)...)
	if serial%2 == 1 {
		return string(b)
	}
	return b
}
