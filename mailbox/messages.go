package mailbox

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"math/bits"
	"slices"
	"strings"
	"time"

	"posthouse/internal/db"

	"zombiezen.com/go/sqlite"
)

// keepKeys is how long an Add's Key is known.
const keepKeys = 30 * 24 * time.Hour

// forgetKeys forgets a few old keys with each new one. (A LIMIT given as a parameter would have SQLite plan it anew each time.)
const forgetKeys = "DELETE FROM delivered WHERE id IN (SELECT id FROM delivered ORDER BY id LIMIT 4) AND at < ?"

// add files a content in a box.
func (c *change) add(m Add) (Result, error) {
	if _, err := c.selectable(m.Box); err != nil {
		return Result{}, err
	}
	if m.Key != "" {
		if known, err := c.knownKey(m.Key); err != nil || known {
			c.taken, c.doubles = append(c.taken, m.Blob), true
			return Result{Duplicate: known}, err
		}
	}
	if m.Unless != "" {
		if uids, err := c.alreadyFiled(m); err != nil || len(uids) > 0 {
			c.taken, c.doubles = append(c.taken, m.Blob), true
			return Result{Duplicate: true, UIDValidity: c.find(m.Box).UIDValidity, UIDs: uids}, err
		}
	}
	size, err := c.addReference(m.Blob)
	if err != nil {
		return Result{}, err
	}
	b := c.edit(m.Box)
	flags, err := b.flags(m.Marks, true)
	if err != nil {
		return Result{}, err
	}
	message := Message{Blob: m.Blob, Flags: flags, Size: size, Internal: c.now}
	if !m.Internal.IsZero() {
		_, east := m.Internal.Zone()
		message.Internal, message.Zone = m.Internal.Unix(), int16(east/60)
	}
	if c.user != "" {
		message.Flags &^= Seen
	}
	uid, err := c.append(b, message)
	if err == nil && c.user != "" {
		if _, err = c.markShown(b, &Message{UID: uid}, flags, 0); errors.Is(err, ErrLimit) { // then it is unseen
			err = nil
		}
	}
	if err != nil {
		return Result{}, err
	}
	if m.As != "" {
		if err := c.fileAs(m, uid); err != nil {
			return Result{}, err
		}
	}
	if m.UIDL != "" {
		if err := c.nameUIDL(b, uid, m.UIDL); err != nil {
			return Result{}, err
		}
	}
	return Result{UIDValidity: b.UIDValidity, UIDs: UIDSet{{uid, uid}}}, nil
}

// knownKey tells whether the key was used lately; now it was.
func (c *change) knownKey(key string) (bool, error) {
	sum := sha256.Sum256([]byte(key))
	old := c.now - int64(keepKeys/time.Second)
	err := db.Exec(c.conn, "INSERT INTO delivered(key, at) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET at = ?2 WHERE at < ?3",
		func(s *sqlite.Stmt) {
			s.BindBytes(1, sum[:])
			s.BindInt64(2, c.now)
			s.BindInt64(3, old)
		})
	if err != nil || c.conn.Changes() == 0 {
		return err == nil, err
	}
	return false, exec(c.conn, forgetKeys, old)
}

// flags are the flags of marks in the box. With learn its unknown keywords become known; without, they are left out.
func (b *box) flags(m Marks, learn bool) (Flags, error) {
	flags := m.System & (1<<FirstKeyword - 1)
	for _, k := range m.Keywords {
		i := slices.IndexFunc(b.keywords, func(known string) bool { return strings.EqualFold(known, k) })
		if i < 0 && !learn {
			continue
		}
		if i < 0 {
			if len(b.keywords) == MaxKeywords || !isKeyword(k) {
				return 0, ErrLimit
			}
			i = len(b.keywords)
			b.keywords = append(slices.Clip(b.keywords), k)
		}
		flags |= 1 << (FirstKeyword + i)
	}
	return flags, nil
}

// isKeyword is flag-keyword of RFC 9051 §9, an atom, but for 8-bit octets.
func isKeyword(k string) bool {
	return k != "" && len(k) <= MaxKeyword && !strings.ContainsFunc(k, func(r rune) bool {
		return r <= ' ' || r == 0x7f || strings.ContainsRune(`(){%*"\]`, r)
	})
}

// setFlags changes flags.
func (c *change) setFlags(m SetFlags) (Result, error) {
	if _, err := c.selectable(m.Box); err != nil {
		return Result{}, err
	}
	b := c.find(m.Box).clone()
	marks, err := b.flags(m.Marks, m.Op != RemoveFlags)
	if err != nil {
		return Result{}, err
	}
	var result Result
	changed, own := false, false
	var failed error
	err = c.update(b, m.UIDs, func(message *Message) bool {
		was := message
		if c.user != "" && failed == nil {
			was, failed = c.shown(b, message)
		}
		if failed != nil {
			return false
		}
		if m.UnchangedSince > 0 && was.ModSeq > m.UnchangedSince {
			result.Modified = result.Modified.Append(message.UID)
			return false
		}
		result.Source = result.Source.Append(message.UID)
		flags := m.Op.apply(was.Flags, marks)&^m.Keep | was.Flags&m.Keep
		if flags == was.Flags {
			return false
		}
		changed = true
		if c.user != "" {
			flags, failed = c.markShown(b, was, flags, message.Flags)
		}
		if failed != nil || flags == message.Flags {
			return false
		}
		own = true
		b.count(message, -1)
		message.Flags, message.ModSeq = flags, c.modseq
		b.count(message, 1)
		return true
	})
	switch {
	case err != nil || failed != nil:
		return result, cmp.Or(err, failed)
	case own:
		c.replace(b)
	case changed: // only what a reader has seen
		c.boxes[b.ID], c.touched = b, true
	}
	return result, nil
}

func (op FlagOp) apply(flags, marks Flags) Flags {
	switch op {
	case AddFlags:
		return flags | marks
	case RemoveFlags:
		return flags &^ marks
	}
	return marks
}

// count adds a message to the box's numbers, or by -1 takes it away.
func (b *box) count(m *Message, sign int64) {
	b.Messages += sign
	b.Size += sign * m.Size
	if m.Flags&Seen == 0 {
		b.Unseen += sign
	}
	if m.Flags&Deleted != 0 {
		b.Deleted += sign
		b.DeletedSize += sign * m.Size
	}
}

// copyMessages copies messages; their contents are shared.
func (c *change) copyMessages(m Copy) (Result, error) {
	messages, result, err := c.pick(m)
	if err != nil || len(messages) == 0 {
		return result, err
	}
	blobs := make([]BlobID, len(messages))
	for i := range messages {
		blobs[i] = messages[i].Blob
	}
	if err := c.countReferences(blobs, 1); err != nil {
		return Result{}, err
	}
	source := c.find(m.From)
	if result, err = c.transfer(messages, result, source.keywords, m.To); err == nil {
		err = c.carry(source, m, result)
	}
	return result, err
}

// moveMessages moves messages.
func (c *change) moveMessages(m Move) (Result, error) {
	messages, result, err := c.pick(Copy(m))
	if err != nil || len(messages) == 0 {
		return result, err
	}
	if err := c.remove(c.edit(m.From), result.Source, func(*Message) bool { return true }); err != nil {
		return Result{}, err
	}
	source := c.find(m.From)
	if result, err = c.transfer(messages, result, source.keywords, m.To); err == nil {
		err = c.carry(source, Copy(m), result)
	}
	return result, err
}

// pick copies out the messages that go from one box to another, with the flags that go with them.
func (c *change) pick(m Copy) (messages []Message, result Result, err error) {
	source, err := c.selectable(m.From)
	if err != nil {
		return nil, result, err
	}
	target, err := c.selectable(m.To)
	if err != nil {
		return nil, result, err
	}
	result.UIDValidity = target.UIDValidity
	without := m.Without
	if c.user != "" { // whose \Seen is not the message's own
		without &^= Seen
	}
	err = c.update(source, m.UIDs, func(message *Message) bool {
		result.Source = result.Source.Append(message.UID)
		message.Flags &^= without
		messages = append(messages, *message)
		return false
	})
	c.account.store.cache.note(c.account, m.From, source)
	return messages, result, err
}

// transfer appends messages to a box, their keywords under its bits.
func (c *change) transfer(messages []Message, result Result, keywords []string, to BoxID) (Result, error) {
	target := c.edit(to)
	bitOf := make(map[Flags]Flags)
	for i := range messages {
		m := messages[i]
		m.Flags = m.Flags & (1<<FirstKeyword - 1)
		for left := messages[i].Flags &^ (1<<FirstKeyword - 1); left != 0; left &= left - 1 {
			bit := left & -left
			there, known := bitOf[bit]
			if !known {
				var err error
				if there, err = target.flags(keywordOf(keywords, bit), true); err != nil {
					return Result{}, err
				}
				bitOf[bit] = there
			}
			m.Flags |= there
		}
		uid, err := c.append(target, m)
		if err != nil {
			return Result{}, err
		}
		result.UIDs = result.UIDs.Append(uid)
	}
	return result, nil
}

// keywordOf is the keyword of a bit; nothing for one that the box does not know.
func keywordOf(keywords []string, bit Flags) Marks {
	i := bits.TrailingZeros64(uint64(bit)) - FirstKeyword
	if i >= len(keywords) {
		return Marks{}
	}
	return Marks{Keywords: keywords[i : i+1]}
}

// expunge removes the messages that are marked Deleted.
func (c *change) expunge(m Expunge) (Result, error) {
	b, err := c.selectable(m.Box)
	if err != nil {
		return Result{}, err
	}
	var result Result
	if b.Deleted == 0 {
		return result, nil
	}
	work := b.clone()
	var expunged []Message
	err = c.remove(work, m.UIDs, func(message *Message) bool {
		if message.Flags&Deleted == 0 {
			return false
		}
		result.Source = result.Source.Append(message.UID)
		expunged = append(expunged, *message)
		return true
	})
	if err != nil || len(result.Source) == 0 {
		return result, err
	}
	c.removed(work, expunged)
	c.replace(work)
	return result, nil
}
