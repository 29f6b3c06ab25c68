package mailboxtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"posthouse/mailbox"
)

// model is an account as simple as it can be said.
type model struct {
	modseq     mailbox.ModSeq
	boxes      map[string]*modelBox // by name
	subscribed map[string]bool
	keys       map[string]bool
}

type modelBox struct {
	id       mailbox.BoxID
	special  mailbox.SpecialUse
	noSelect bool
	validity uint32
	next     mailbox.UID
	modseq   mailbox.ModSeq
	created  mailbox.ModSeq
	messages []modelMessage
	gone     map[mailbox.UID]mailbox.ModSeq // when messages left
}

type modelMessage struct {
	uid      mailbox.UID
	text     string
	flags    []string // in order
	modseq   mailbox.ModSeq
	internal time.Time
	saved    int64
}

// clone is a deep copy: a change that fails is undone by going back to it.
func (m *model) clone() *model {
	c := &model{modseq: m.modseq, boxes: maps.Clone(m.boxes), subscribed: maps.Clone(m.subscribed), keys: maps.Clone(m.keys)}
	for name, b := range c.boxes {
		n := *b
		n.messages, n.gone = slices.Clone(b.messages), maps.Clone(b.gone)
		c.boxes[name] = &n
	}
	return c
}

// modelChange is one Apply.
type modelChange struct {
	*model
	modseq  mailbox.ModSeq
	touched bool
	texts   map[mailbox.BlobID]string // of the contents it may add
}

func (c *modelChange) byID(id mailbox.BoxID) *modelBox {
	for _, b := range c.boxes {
		if b.id == id && !b.noSelect {
			return b
		}
	}
	return nil
}

func (c *modelChange) touch(b *modelBox) {
	c.touched = true
	if b != nil {
		b.modseq = c.modseq
	}
}

// apply does one mutation; of its result it knows what it can. Boxes get their IDs and UIDVALIDITY when the store has given them.
func (c *modelChange) apply(mutation mailbox.Mutation) (mailbox.Result, error) {
	var none mailbox.Result
	switch m := mutation.(type) {
	case mailbox.CreateBox:
		return none, c.create(m.Name, m.Special)
	case mailbox.RenameBox:
		return c.rename(m.From, m.To)
	case mailbox.DeleteBox:
		return none, c.delete(m.Name)
	case mailbox.Subscribe:
		c.subscribe(m.Name, true)
		return none, nil
	case mailbox.Unsubscribe:
		c.subscribe(m.Name, false)
		return none, nil
	case mailbox.Add:
		return c.add(m)
	case mailbox.SetFlags:
		return c.setFlags(m)
	case mailbox.Copy:
		return c.transfer(m.From, m.To, m.UIDs, false)
	case mailbox.Move:
		return c.transfer(m.From, m.To, m.UIDs, true)
	case mailbox.Expunge:
		return c.expunge(m)
	}
	panic(fmt.Sprintf("%T", mutation))
}

func (c *modelChange) create(name string, special mailbox.SpecialUse) error {
	for _, b := range c.boxes {
		if special != "" && b.special == special {
			return mailbox.ErrSpecialUse
		}
	}
	if b := c.boxes[name]; b != nil && !b.noSelect {
		return mailbox.ErrBoxExists
	}
	c.makeLevels(name)
	c.make(name).special = special
	return nil
}

func (c *modelChange) makeLevels(name string) {
	for i, r := range name {
		if r == '/' && c.boxes[name[:i]] == nil {
			c.make(name[:i])
		}
	}
}

func (c *modelChange) make(name string) *modelBox {
	b := &modelBox{next: 1, created: c.modseq, gone: make(map[mailbox.UID]mailbox.ModSeq)}
	c.boxes[name] = b
	c.touch(b)
	return b
}

func (c *modelChange) rename(from, to string) (mailbox.Result, error) {
	b := c.boxes[from]
	switch {
	case b == nil:
		return mailbox.Result{}, mailbox.ErrNoBox
	case to == mailbox.Inbox:
		return mailbox.Result{}, mailbox.ErrInbox
	case c.boxes[to] != nil:
		return mailbox.Result{}, mailbox.ErrBoxExists
	case from == mailbox.Inbox:
		if err := c.create(to, ""); err != nil {
			return mailbox.Result{}, err
		}
		return c.carry(b, c.boxes[to], mailbox.AllUIDs(), true), nil
	case strings.HasPrefix(to, from+"/"):
		return mailbox.Result{}, mailbox.ErrBoxName
	}
	c.makeLevels(to)
	for name, b := range maps.Clone(c.boxes) {
		if name == from || strings.HasPrefix(name, from+"/") {
			delete(c.boxes, name)
			c.boxes[to+name[len(from):]] = b
			c.touch(b)
		}
	}
	return mailbox.Result{}, nil
}

func (c *modelChange) delete(name string) error {
	b := c.boxes[name]
	if name == mailbox.Inbox {
		return mailbox.ErrInbox
	}
	if b == nil {
		return mailbox.ErrNoBox
	}
	parent := false
	for other := range c.boxes {
		parent = parent || strings.HasPrefix(other, name+"/")
	}
	if parent && b.noSelect {
		return mailbox.ErrHasChildren
	}
	delete(c.boxes, name)
	c.touch(nil)
	if parent {
		c.make(name).noSelect = true
	}
	return nil
}

func (c *modelChange) subscribe(name string, is bool) {
	if c.subscribed[name] != is {
		c.touch(c.boxes[name])
		c.subscribed[name] = is
	}
}

func (c *modelChange) add(m mailbox.Add) (mailbox.Result, error) {
	b := c.byID(m.Box)
	if b == nil {
		return mailbox.Result{}, mailbox.ErrNoBox
	}
	if m.Key != "" && c.keys[m.Key] {
		return mailbox.Result{Duplicate: true}, nil
	}
	if m.Key != "" {
		c.keys[m.Key] = true
	}
	if m.Internal.IsZero() {
		m.Internal = time.Unix(time.Now().Unix(), 0)
	}
	uid := c.append(b, modelMessage{text: c.texts[m.Blob], flags: marksNames(m.Marks), internal: m.Internal})
	return mailbox.Result{UIDValidity: b.validity, UIDs: mailbox.UIDSet{}.Append(uid)}, nil
}

func (c *modelChange) append(b *modelBox, m modelMessage) mailbox.UID {
	m.uid, m.modseq, m.saved = b.next, c.modseq, time.Now().Unix()
	b.next++
	b.messages = append(b.messages, m)
	c.touch(b)
	return m.uid
}

// marksNames are marks as names, in order.
func marksNames(m mailbox.Marks) []string {
	names := slices.Clone(m.Keywords)
	for name, f := range systemFlags {
		if m.System&f != 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (c *modelChange) setFlags(m mailbox.SetFlags) (r mailbox.Result, err error) {
	b := c.byID(m.Box)
	if b == nil {
		return r, mailbox.ErrNoBox
	}
	marks := marksNames(m.Marks)
	for i := range b.messages {
		msg := &b.messages[i]
		if !m.UIDs.Contains(msg.uid) {
			continue
		}
		if m.UnchangedSince > 0 && msg.modseq > m.UnchangedSince {
			r.Modified = r.Modified.Append(msg.uid)
			continue
		}
		r.Source = r.Source.Append(msg.uid)
		flags := marks
		isMark := func(f string) bool { return slices.Contains(marks, f) }
		switch m.Op {
		case mailbox.AddFlags:
			flags = slices.Concat(msg.flags, marks)
		case mailbox.RemoveFlags:
			flags = slices.DeleteFunc(slices.Clone(msg.flags), isMark)
		}
		slices.Sort(flags)
		if flags = slices.Compact(flags); !slices.Equal(flags, msg.flags) {
			msg.flags, msg.modseq = flags, c.modseq
			c.touch(b)
		}
	}
	return r, nil
}

func (c *modelChange) transfer(from, to mailbox.BoxID, uids mailbox.UIDSet, move bool) (mailbox.Result, error) {
	source, target := c.byID(from), c.byID(to)
	if source == nil || target == nil {
		return mailbox.Result{}, mailbox.ErrNoBox
	}
	return c.carry(source, target, uids, move), nil
}

func (c *modelChange) carry(source, target *modelBox, uids mailbox.UIDSet, move bool) mailbox.Result {
	r := mailbox.Result{UIDValidity: target.validity}
	var picked []modelMessage
	for _, msg := range source.messages {
		if uids.Contains(msg.uid) {
			picked = append(picked, msg)
			r.Source = r.Source.Append(msg.uid)
		}
	}
	if move {
		c.take(source, r.Source)
	}
	for _, msg := range picked {
		r.UIDs = r.UIDs.Append(c.append(target, msg))
	}
	return r
}

// take removes messages.
func (c *modelChange) take(b *modelBox, uids mailbox.UIDSet) {
	if uids != nil {
		c.touch(b)
	}
	for uid := range uids.UIDs() {
		b.gone[uid] = c.modseq
	}
	b.messages = slices.DeleteFunc(b.messages, func(msg modelMessage) bool { return uids.Contains(msg.uid) })
}

func (c *modelChange) expunge(m mailbox.Expunge) (r mailbox.Result, err error) {
	b := c.byID(m.Box)
	if b == nil {
		return r, mailbox.ErrNoBox
	}
	for _, msg := range b.messages {
		if m.UIDs.Contains(msg.uid) && slices.Contains(msg.flags, `\Deleted`) {
			r.Source = r.Source.Append(msg.uid)
		}
	}
	c.take(b, r.Source)
	return r, nil
}
