package mailbox

import (
	"container/list"
	"context"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"unsafe"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
	"posthouse/mail/mime"
)

// What messages are searched, sorted and threaded by is held in memory once it was asked for, in blocks of contents that follow each
// other. A content never changes, so what was read of it stays true; only more contents come.
const (
	blockBits    = 10
	rowCacheSize = 64 << 20 // octets, of all accounts
)

// row is a row of the table search, decoded.
type row struct {
	keys  *mime.Keys // nil: the table has none
	texts *mime.Texts
}

// size is about what a row takes of memory.
func (r *row) size() int64 {
	n := int64(unsafe.Sizeof(*r))
	if k := r.keys; k != nil {
		n += int64(unsafe.Sizeof(*k)) + int64(len(k.References))*int64(unsafe.Sizeof(""))
		for _, s := range append([]string{k.Subject, k.From, k.To, k.Cc, k.DisplayFrom, k.DisplayTo, k.MessageID}, k.References...) {
			n += int64(len(s))
		}
	}
	if r.texts != nil {
		n += int64(unsafe.Sizeof(*r.texts)) + int64(r.texts.Len())
	}
	return n
}

// block is the rows of 1,024 contents; nil: not read, or not there.
type block [1 << blockBits]atomic.Pointer[row]

// rowCache bounds the blocks of all accounts. To make room for one, those of other accounts go that were not used for the longest time,
// and never one of the same account: going through more than there is room for must not push out what the next time begins with.
type rowCache struct {
	mu     sync.Mutex
	size   int64
	order  *list.List // of *cachedBlock, the last used first
	blocks map[blockKey]*list.Element
}

type blockKey struct {
	account *account
	n       int64 // BlobID >> blockBits
}

type cachedBlock struct {
	blockKey
	*block
	size int64
}

func newRowCache() rowCache {
	return rowCache{order: list.New(), blocks: make(map[blockKey]*list.Element)}
}

// get is a block, which counts as used now; nil: it is not held.
func (c *rowCache) get(key blockKey) *block {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.blocks[key]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*cachedBlock).block
}

// put holds a block, if there is room for it.
func (c *rowCache) put(key blockKey, b *block, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blocks[key] != nil {
		return
	}
	if !c.makeRoom(key.account, size) {
		return
	}
	c.blocks[key] = c.order.PushFront(&cachedBlock{key, b, size})
	c.size += size
}

// grow counts a row that was added to a block; one that there is no room for takes the block with it.
func (c *rowCache) grow(key blockKey, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.blocks[key]
	if e == nil {
		return
	}
	if !c.makeRoom(key.account, size) {
		c.drop(e)
		return
	}
	e.Value.(*cachedBlock).size += size
	c.size += size
}

// makeRoom drops blocks of other accounts, and tells whether there is room for so much then; mu is held.
func (c *rowCache) makeRoom(a *account, size int64) bool {
	for e := c.order.Back(); c.size+size > rowCacheSize && e != nil; {
		before := e.Prev()
		if e.Value.(*cachedBlock).account != a {
			c.drop(e)
		}
		e = before
	}
	return c.size+size <= rowCacheSize
}

// drop forgets a block; mu is held.
func (c *rowCache) drop(e *list.Element) {
	held := c.order.Remove(e).(*cachedBlock)
	delete(c.blocks, held.blockKey)
	c.size -= held.size
}

// forget drops an account's blocks.
func (c *rowCache) forget(a *account) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, e := range c.blocks {
		if key.account == a {
			c.drop(e)
		}
	}
}

// rowFacts is Facts of what the rows have, most of it from memory.
func (a *account) rowFacts(ctx context.Context, want FactSet, blobs iter.Seq[BlobID]) iter.Seq2[*Facts, error] {
	return func(yield func(*Facts, error) bool) {
		var f Facts
		var b *block // of the content before
		at := int64(-1)
		for id := range blobs {
			if n := int64(id) >> blockBits; n != at {
				var err error
				if b, err = a.block(ctx, n); err != nil {
					yield(nil, err)
					return
				}
				at = n
			}
			r, err := a.row(ctx, b, id)
			if err != nil {
				yield(nil, err)
				return
			}
			if r == nil {
				continue
			}
			f = Facts{Blob: id, Keys: r.keys}
			if want&WantTexts != 0 {
				f.Texts = r.texts
			}
			if !yield(&f, nil) {
				return
			}
		}
	}
}

// block is a block, read if need be.
func (a *account) block(ctx context.Context, n int64) (*block, error) {
	key := blockKey{a, n}
	if b := a.store.rows.get(key); b != nil {
		return b, nil
	}
	b := new(block)
	size := int64(unsafe.Sizeof(*b))
	err := a.with(func(d *db.DB) error {
		return d.Read(ctx, func(conn *sqlite.Conn) error {
			return rows(conn, "SELECT blob, keys, texts FROM search WHERE blob BETWEEN ? AND ?", func(s *sqlite.Stmt) error {
				r, err := decodeRow(s)
				if err != nil {
					return err
				}
				size += r.size()
				b[s.ColumnInt64(0)&(1<<blockBits-1)].Store(r)
				return nil
			}, n<<blockBits, (n+1)<<blockBits-1)
		})
	})
	if err != nil {
		return nil, err
	}
	a.store.rows.put(key, b, size)
	return b, nil
}

func decodeRow(s *sqlite.Stmt) (*row, error) {
	id := s.ColumnInt64(0)
	keys, err := mime.ParseKeys(db.Bytes(s, 1))
	if err != nil {
		return nil, fmt.Errorf("%w: the keys of content %d: %w", ErrCorrupt, id, err)
	}
	r := &row{keys: &keys}
	if s.ColumnLen(2) > 0 {
		texts, err := mime.ParseTexts(db.Bytes(s, 2))
		if err != nil {
			return nil, fmt.Errorf("%w: the texts of content %d: %w", ErrCorrupt, id, err)
		}
		r.texts = &texts
	}
	return r, nil
}

// row is a content's row in its block; one that came after the block was read is added. Nil: there is no such content.
func (a *account) row(ctx context.Context, b *block, id BlobID) (*row, error) {
	slot := &b[id&(1<<blockBits-1)]
	if r := slot.Load(); r != nil {
		return r, nil
	}
	reader := factReader{account: a, want: inSearch, batch: firstBatch, ids: []BlobID{id}}
	var found *row
	var failed error
	reader.drain(ctx, func(f *Facts, err error) bool {
		if failed = err; err == nil {
			found = &row{keys: f.Keys, texts: f.Texts}
		}
		return true
	})
	if found == nil || failed != nil {
		return nil, failed
	}
	slot.Store(found)
	a.store.rows.grow(blockKey{a, int64(id) >> blockBits}, found.size())
	return found, nil
}
