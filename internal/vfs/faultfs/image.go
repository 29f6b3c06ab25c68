package faultfs

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
)

// sector is what a disk writes as a whole.
const sector = 512

// image is one of SQLite's files as stable storage has it, and what was written since.
type image struct {
	durable []byte
	pending []change
}

// change is a write, or a truncation if data is nil.
type change struct {
	off  int64
	data []byte
}

// imageOf is a file's image; one that was there before is durable.
func (f *Faults) imageOf(name string) (*image, error) {
	if i := f.images[name]; i != nil {
		return i, nil
	}
	data, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	i := &image{durable: data}
	f.images[name] = i
	return i, nil
}

func (i *image) sync() {
	for _, c := range i.pending {
		i.durable = c.apply(i.durable)
	}
	i.pending = nil
}

func (c change) apply(file []byte) []byte {
	if c.data == nil {
		return resize(file, c.off)
	}
	if end := c.off + int64(len(c.data)); end > int64(len(file)) {
		file = resize(file, end)
	}
	copy(file[c.off:], c.data)
	return file
}

func resize(file []byte, size int64) []byte {
	if size <= int64(len(file)) {
		return file[:size]
	}
	return append(file, make([]byte, size-int64(len(file)))...)
}

// survivor is the file after the power was cut: what was not synced is there by chance, sector by sector; with a nil r none of it is.
func (i *image) survivor(r *rand.Rand) []byte {
	file := i.durable
	if r == nil {
		return file
	}
	for _, c := range i.pending {
		if c.data == nil {
			if r.IntN(2) == 0 {
				file = c.apply(file)
			}
			continue
		}
		for from := 0; from < len(c.data); {
			part := min(sector-int((c.off+int64(from))%sector), len(c.data)-from)
			if r.IntN(2) == 0 {
				file = change{c.off + int64(from), c.data[from : from+part]}.apply(file)
			}
			from += part
		}
	}
	return file
}

// PowerCut leaves SQLite's files as they are found after the power was cut at the moment of the last operation that did not fail. All
// databases below the directory must be closed. With a nil r nothing that was not synced survives; else any part of it.
func (f *Faults) PowerCut(r *rand.Rand) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.from = 0
	for name, i := range f.images {
		err := os.WriteFile(name, i.survivor(r), 0o600)
		if strings.HasSuffix(name, "-shm") {
			err = os.Remove(name)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		delete(f.images, name)
	}
	return nil
}
