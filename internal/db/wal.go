package db

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
)

// The write-ahead log: https://www.sqlite.org/fileformat2.html §4.
const (
	walHeader   = 32
	frameHeader = 24
	walMagic    = 0x377f0682 // the lowest bit says the byte order of its checksums
)

// readWAL reads the pages of the transactions that were committed to a WAL, as far as its checksums are right.
func (p *pages) readWAL(name string) error {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || len(b) < walHeader || binary.BigEndian.Uint32(b)&^1 != walMagic {
		return err
	}
	var order binary.ByteOrder = binary.LittleEndian
	if b[3]&1 != 0 {
		order = binary.BigEndian
	}
	sum := walSum{order: order}
	sum.add(b[:24])
	if !sum.is(b[24:32]) || int(binary.BigEndian.Uint32(b[8:])) != pageSize {
		return nil
	}
	salt, pending := string(b[16:24]), make(map[uint32][]byte)
	for at := walHeader; at+frameHeader+pageSize <= len(b); at += frameHeader + pageSize {
		head, page := b[at:at+frameHeader], b[at+frameHeader:at+frameHeader+pageSize]
		sum.add(head[:8])
		sum.add(page)
		if string(head[8:16]) != salt || !sum.is(head[16:24]) {
			break
		}
		pending[binary.BigEndian.Uint32(head)] = page
		if size := binary.BigEndian.Uint32(head[4:]); size != 0 { // the end of a transaction
			for n, page := range pending {
				p.newer[n] = page
			}
			clear(pending)
			p.count = size
		}
	}
	return nil
}

// walSum is the running checksum of a WAL.
type walSum struct {
	order binary.ByteOrder
	a, b  uint32
}

func (s *walSum) add(p []byte) {
	for ; len(p) >= 8; p = p[8:] {
		s.a += s.order.Uint32(p) + s.b
		s.b += s.order.Uint32(p[4:]) + s.a
	}
}

func (s *walSum) is(p []byte) bool {
	return binary.BigEndian.Uint32(p) == s.a && binary.BigEndian.Uint32(p[4:]) == s.b
}
