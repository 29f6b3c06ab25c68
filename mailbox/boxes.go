package mailbox

import (
	"context"
	"slices"
	"strings"

	"posthouse/internal/db"

	"zombiezen.com/go/sqlite"
)

// maxSpecialUse is the longest name of a special use; RFC 6154 has none over 9 octets.
const maxSpecialUse = 32

// Boxes is Account.
func (a *account) Boxes(context.Context) ([]Box, error) {
	a.mu.RLock()
	boxes := make([]Box, 0, len(a.base.boxes))
	for _, b := range a.base.boxes {
		boxes = append(boxes, b.Box)
	}
	a.mu.RUnlock()
	slices.SortFunc(boxes, func(x, y Box) int { return compareNames(x.Name, y.Name) })
	return boxes, nil
}

// Box is Account.
func (a *account) Box(_ context.Context, name string) (Box, error) {
	name, err := CanonicalName(name)
	if err != nil {
		return Box{}, err
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	if b := a.base.byName(name); b != nil {
		return b.Box, nil
	}
	return Box{}, ErrNoBox
}

// Subscriptions is Account.
func (a *account) Subscriptions(context.Context) ([]string, error) {
	a.mu.RLock()
	names := make([]string, 0, len(a.base.subscribed))
	for name := range a.base.subscribed {
		names = append(names, name)
	}
	a.mu.RUnlock()
	slices.SortFunc(names, compareNames)
	return names, nil
}

// createBox makes a box; a level that DeleteBox left becomes a box again.
func (c *change) createBox(m CreateBox) (Result, error) {
	name, err := CanonicalName(m.Name)
	if err != nil {
		return Result{}, err
	}
	if err := c.checkSpecial(m.Special); err != nil {
		return Result{}, err
	}
	if b := c.byName(name); b != nil && !b.NoSelect {
		return Result{}, ErrBoxExists
	}
	for _, level := range levelsAbove(name) {
		if c.byName(level) == nil {
			if _, err := c.makeBox(level, ""); err != nil {
				return Result{}, err
			}
		}
	}
	b, err := c.makeBox(name, m.Special)
	if err != nil {
		return Result{}, err
	}
	return Result{Box: b.Box}, nil
}

func (c *change) checkSpecial(use SpecialUse) error {
	if len(use) > maxSpecialUse || strings.ContainsFunc(string(use), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ErrBoxName
	}
	if use == "" {
		return nil
	}
	for _, b := range c.all() {
		if b.Special == use {
			return ErrSpecialUse
		}
	}
	return nil
}

// makeBox makes one box, in the place of a level of that name.
func (c *change) makeBox(name string, special SpecialUse) (*box, error) {
	if c.countBoxes() >= MaxBoxes {
		return nil, ErrLimit
	}
	if level := c.byName(name); level != nil {
		c.boxes[level.ID] = nil
	}
	c.touched = true
	c.counters.uidValidity = max(c.counters.uidValidity+1, uint32(c.now))
	b := &box{Box: Box{
		ID: c.counters.nextBox, Name: name, Special: special, Subscribed: c.isSubscribed(name),
		UIDValidity: c.counters.uidValidity, UIDNext: 1, ModSeq: c.modseq, ACL: c.inherited(name),
	}, known: c.modseq}
	c.counters.nextBox++
	c.boxes[b.ID] = b
	return b, nil
}

// renameBox renames a box with everything below it; Inbox stays, and its messages move (RFC 9051 §6.3.6).
func (c *change) renameBox(m RenameBox) (Result, error) {
	from, err := CanonicalName(m.From)
	if err != nil {
		return Result{}, err
	}
	to, err := CanonicalName(m.To)
	if err != nil {
		return Result{}, err
	}
	b := c.byName(from)
	switch {
	case b == nil:
		return Result{}, ErrNoBox
	case to == Inbox:
		return Result{}, ErrInbox
	case c.byName(to) != nil:
		return Result{}, ErrBoxExists
	case isBelow(to, from) && from != Inbox:
		return Result{}, ErrBoxName
	case from == Inbox:
		return c.renameInbox(b, to)
	}
	for _, level := range levelsAbove(to) {
		if c.byName(level) == nil {
			if _, err := c.makeBox(level, ""); err != nil {
				return Result{}, err
			}
		}
	}
	for id, b := range c.all() {
		if b.Name != from && !isBelow(b.Name, from) {
			continue
		}
		name, err := CanonicalName(to + b.Name[len(from):])
		if err != nil {
			return Result{}, err
		}
		b = c.edit(id)
		b.Name, b.Subscribed = name, c.isSubscribed(name)
	}
	return Result{}, nil
}

func (c *change) renameInbox(inbox *box, to string) (Result, error) {
	made, err := c.createBox(CreateBox{Name: to})
	if err != nil {
		return Result{}, err
	}
	return c.moveMessages(Move{From: inbox.ID, UIDs: AllUIDs(), To: made.Box.ID})
}

// deleteBox removes a box. With others below it, it stays as a level without messages, which cannot be deleted again before they are
// (RFC 9051 §6.3.5).
func (c *change) deleteBox(m DeleteBox) (Result, error) {
	name, err := CanonicalName(m.Name)
	if err != nil {
		return Result{}, err
	}
	b := c.byName(name)
	if name == Inbox {
		return Result{}, ErrInbox
	}
	if b == nil {
		return Result{}, ErrNoBox
	}
	parent := c.hasBelow(name)
	if parent && b.NoSelect {
		return Result{}, ErrHasChildren
	}
	if err := c.dropMessages(b); err != nil {
		return Result{}, err
	}
	c.touched = true
	c.boxes[b.ID] = nil
	if !parent {
		return Result{}, nil
	}
	level, err := c.makeBox(name, "")
	if err != nil {
		return Result{}, err
	}
	level.NoSelect, level.ACL = true, nil // RFC 4314 §4 DELETE
	return Result{}, nil
}

func (c *change) hasBelow(name string) bool {
	for _, b := range c.all() {
		if isBelow(b.Name, name) {
			return true
		}
	}
	return false
}

// dropMessages gives up a box's references to contents.
func (c *change) dropMessages(b *box) error {
	for _, s := range b.slabs {
		messages, err := c.messages(b, s)
		if err != nil {
			return err
		}
		c.removed(b, messages)
	}
	return nil
}

func (c *change) subscribe(m Subscribe) (Result, error) {
	name, err := CanonicalName(m.Name)
	if err != nil {
		return Result{}, err
	}
	if c.isSubscribed(name) {
		return Result{}, nil
	}
	if c.countSubscribed() >= MaxBoxes {
		return Result{}, ErrLimit
	}
	return Result{}, c.setSubscribed(name, "INSERT OR IGNORE INTO subscription VALUES(?)")
}

// countSubscribed counts one that a layer took away as well: it is a bound, no more.
func (c *change) countSubscribed() (n int) {
	for l := c.layer; l != nil; l = l.under {
		n += len(l.subscribed)
	}
	return n
}

func (c *change) unsubscribe(m Unsubscribe) (Result, error) {
	name, err := CanonicalName(m.Name)
	if err != nil {
		return Result{}, err
	}
	if !c.isSubscribed(name) {
		return Result{}, nil
	}
	return Result{}, c.setSubscribed(name, "DELETE FROM subscription WHERE name = ?")
}

// setSubscribed turns the subscription to a name.
func (c *change) setSubscribed(name, query string) error {
	is := !c.isSubscribed(name)
	c.touched = true
	c.subscribed[name] = is
	if b := c.byName(name); b != nil {
		c.edit(b.ID).Subscribed = is
	}
	return db.Exec(c.conn, query, func(s *sqlite.Stmt) { s.BindText(1, name) })
}
