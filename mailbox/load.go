package mailbox

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"zombiezen.com/go/sqlite"

	"posthouse/internal/db"
)

// load reads what the account keeps in memory: its counters, boxes, subscriptions and the directory of its slabs. A new account gets
// its first boxes.
func (a *account) load(ctx context.Context) error {
	a.loading.Lock()
	defer a.loading.Unlock()
	if a.loaded {
		return nil
	}
	base := &layer{boxes: make(map[BoxID]*box), names: make(map[string]BoxID), subscribed: make(map[string]bool)}
	var leftovers bool
	err := a.with(func(d *db.DB) error {
		return d.Write(ctx, func(tx *db.Tx) (err error) { // by the writer, which delivery needs; many accounts never need a reader
			leftovers, err = readState(tx.Conn, base)
			return err
		})
	})
	if err != nil {
		return err
	}
	fresh := base.counters.modseq == 0
	if fresh {
		base.counters = counters{nextBox: 1, nextBlob: 1}
	}
	a.mu.Lock()
	a.base, a.nextBlob = base, base.counters.nextBlob
	a.mu.Unlock()
	if fresh {
		if err := a.createFirstBoxes(ctx); err != nil {
			return err
		}
	}
	a.pending = nil // base has it all
	a.loaded = true
	if leftovers {
		a.sweep()
	}
	return nil
}

func (a *account) createFirstBoxes(ctx context.Context) error {
	var first []Mutation
	for _, b := range append([]CreateBox{{Name: Inbox}}, DefaultBoxes()...) {
		first = append(first, b, Subscribe{b.Name})
	}
	_, err := a.applyAs(ctx, "", first)
	return err
}

// readState fills the base layer, and tells whether there is content to be swept.
func readState(c *sqlite.Conn, base *layer) (leftovers bool, err error) {
	err = rows(c, "SELECT modseq, uidvalidity, next_box, next_blob FROM account", func(s *sqlite.Stmt) error {
		base.counters = counters{ModSeq(s.ColumnInt64(0)), uint32(s.ColumnInt64(1)), BoxID(s.ColumnInt64(2)), BlobID(s.ColumnInt64(3))}
		return nil
	})
	if err != nil {
		return false, err
	}
	err = rows(c, "SELECT name FROM subscription", func(s *sqlite.Stmt) error {
		base.subscribed[s.ColumnText(0)] = true
		return nil
	})
	if err != nil {
		return false, err
	}
	unsized, err := readBoxes(c, base)
	if err != nil {
		return false, err
	}
	if err := readSlabs(c, base); err != nil {
		return false, err
	}
	if err := readReaders(c, base); err != nil {
		return false, err
	}
	for _, b := range unsized {
		if err := b.sizeDeleted(c); err != nil {
			return false, err
		}
	}
	err = rows(c, `SELECT max(blob), EXISTS(SELECT 1 FROM content WHERE refs = 0) OR EXISTS(SELECT 1 FROM garbage)
		OR EXISTS(SELECT 1 FROM expunged) FROM content`,
		func(s *sqlite.Stmt) error {
			base.counters.nextBlob = max(base.counters.nextBlob, BlobID(s.ColumnInt64(0))+1)
			leftovers = s.ColumnBool(1)
			return nil
		})
	return leftovers, err
}

const selectBoxes = `SELECT id, name, special, noselect, keywords, uidvalidity, uidnext, modseq, known, graves, messages, unseen,
	deleted, size, deleted_size, acl FROM box`

// readBoxes also returns those that were written before format 2, which had no DeletedSize.
func readBoxes(c *sqlite.Conn, base *layer) (unsized []*box, err error) {
	return unsized, rows(c, selectBoxes, func(s *sqlite.Stmt) error {
		b := &box{
			Box: Box{
				ID: BoxID(s.ColumnInt64(0)), Name: s.ColumnText(1), Special: SpecialUse(s.ColumnText(2)), NoSelect: s.ColumnBool(3),
				UIDValidity: uint32(s.ColumnInt64(5)), UIDNext: UID(s.ColumnInt64(6)), ModSeq: ModSeq(s.ColumnInt64(7)),
				Messages: s.ColumnInt64(10), Unseen: s.ColumnInt64(11), Deleted: s.ColumnInt64(12), Size: s.ColumnInt64(13),
				DeletedSize: s.ColumnInt64(14),
			},
			known: ModSeq(s.ColumnInt64(8)), graves: s.ColumnInt64(9),
		}
		b.Subscribed = base.subscribed[b.Name]
		if k := s.ColumnText(4); k != "" {
			b.keywords = strings.Split(k, keywordSeparator)
		}
		if s.ColumnIsNull(14) && b.Deleted > 0 {
			unsized = append(unsized, b)
		}
		base.boxes[b.ID] = b
		base.names[b.Name] = b.ID
		var err error
		b.ACL, err = parseACL(s.ColumnText(15))
		return err
	})
}

// sizeDeleted counts the DeletedSize of a box.
func (b *box) sizeDeleted(c *sqlite.Conn) error {
	for _, s := range b.slabs {
		held, err := readSlab(c, b.ID, s)
		if err != nil || held == nil {
			return cmp.Or(err, ErrCorrupt)
		}
		for i := range held.Messages {
			if m := &held.Messages[i]; m.Flags&Deleted != 0 {
				b.DeletedSize += m.Size
			}
		}
	}
	return nil
}

// keywordSeparator divides the keywords in a row; none contains it.
const keywordSeparator = " "

// slabKey is the row key of a slab: boxes one after the other, each ascending by UID.
func slabKey(box BoxID, first UID) int64 { return int64(box)<<32 | int64(first) }

func readSlabs(c *sqlite.Conn, base *layer) error {
	return rows(c, "SELECT key, version, messages, last FROM slab ORDER BY key", func(s *sqlite.Stmt) error {
		key := s.ColumnInt64(0)
		b := base.boxes[BoxID(key>>32)]
		if b == nil {
			return fmt.Errorf("%w: a slab of box %d, which is not", ErrCorrupt, key>>32)
		}
		b.slabs = append(b.slabs, &slab{
			key: UID(key), version: ModSeq(s.ColumnInt64(1)), n: s.ColumnInt(2), last: UID(s.ColumnInt64(3)),
		})
		return nil
	})
}
