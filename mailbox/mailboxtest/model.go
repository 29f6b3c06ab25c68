package mailboxtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"posthouse/mail"
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
	gone     map[mailbox.UID]mailbox.ModSeq    // when messages left
	readers  map[mail.AccountID]mailbox.ModSeq // when other users marked something last
	acl      map[string]mailbox.Rights
}

type modelMessage struct {
	uid      mailbox.UID
	text     string
	flags    []string // in order
	modseq   mailbox.ModSeq
	internal time.Time
	saved    int64
	seen     map[mail.AccountID]modelMark // by other users; not to be changed
}

type modelMark struct {
	seen   bool
	modseq mailbox.ModSeq
}

// shownTo is the message as a user sees it; the empty one is the owner.
func (m modelMessage) shownTo(user mail.AccountID) modelMessage {
	if user == "" {
		return m
	}
	mark := m.seen[user]
	m.flags = slices.DeleteFunc(slices.Clone(m.flags), func(f string) bool { return f == `\Seen` })
	if mark.seen {
		m.flags = append(m.flags, `\Seen`)
		slices.Sort(m.flags)
	}
	m.modseq = max(m.modseq, mark.modseq)
	return m
}

// shownTo is the box's mod-sequence as a user sees it.
func (b *modelBox) shownTo(user mail.AccountID) mailbox.ModSeq { return max(b.modseq, b.readers[user]) }

// mark marks a message as seen by a user or not.
func (c *modelChange) mark(b *modelBox, m *modelMessage, user mail.AccountID, seen bool) {
	m.seen = maps.Clone(m.seen)
	if m.seen == nil {
		m.seen = make(map[mail.AccountID]modelMark)
	}
	m.seen[user] = modelMark{seen, c.modseq}
	b.readers[user] = c.modseq
	c.touched = true
}

// clone is a deep copy: a change that fails is undone by going back to it.
func (m *model) clone() *model {
	c := &model{modseq: m.modseq, boxes: maps.Clone(m.boxes), subscribed: maps.Clone(m.subscribed), keys: maps.Clone(m.keys)}
	for name, b := range c.boxes {
		n := *b
		n.messages, n.gone = slices.Clone(b.messages), maps.Clone(b.gone)
		n.readers, n.acl = maps.Clone(b.readers), maps.Clone(b.acl)
		c.boxes[name] = &n
	}
	return c
}

// modelChange is one Apply.
type modelChange struct {
	*model
	user    mail.AccountID // who makes it; empty: the owner
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
		return c.transfer(m, false)
	case mailbox.Move:
		return c.transfer(mailbox.Copy(m), true)
	case mailbox.Expunge:
		return c.expunge(m)
	case mailbox.SetRights:
		return none, c.setRights(m)
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
	b := &modelBox{next: 1, created: c.modseq, gone: make(map[mailbox.UID]mailbox.ModSeq), readers: make(map[mail.AccountID]mailbox.ModSeq),
		acl: make(map[string]mailbox.Rights)}
	for i := range name {
		if above := c.boxes[name[:i]]; name[i] == '/' && above != nil && !above.noSelect {
			b.acl = maps.Clone(above.acl)
		}
	}
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
		return c.carry(b, c.boxes[to], mailbox.Copy{UIDs: mailbox.AllUIDs()}, true), nil
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
		level := c.make(name)
		level.noSelect, level.acl = true, nil
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
	seen := m.Marks.System&mailbox.Seen != 0
	if c.user != "" {
		m.Marks.System &^= mailbox.Seen
	}
	uid := c.append(b, modelMessage{text: c.texts[m.Blob], flags: marksNames(m.Marks), internal: m.Internal})
	if c.user != "" && seen {
		c.mark(b, &b.messages[len(b.messages)-1], c.user, true)
	}
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
		was := msg.shownTo(c.user)
		if m.UnchangedSince > 0 && was.modseq > m.UnchangedSince {
			r.Modified = r.Modified.Append(msg.uid)
			continue
		}
		r.Source = r.Source.Append(msg.uid)
		flags := marks
		isMark := func(f string) bool { return slices.Contains(marks, f) }
		switch m.Op {
		case mailbox.AddFlags:
			flags = slices.Concat(was.flags, marks)
		case mailbox.RemoveFlags:
			flags = slices.DeleteFunc(slices.Clone(was.flags), isMark)
		}
		flags = slices.Concat(without(flags, m.Keep), only(was.flags, m.Keep))
		slices.Sort(flags)
		c.show(b, msg, was, slices.Compact(flags))
	}
	return r, nil
}

// show changes a message so that the change's user sees these flags.
func (c *modelChange) show(b *modelBox, msg *modelMessage, was modelMessage, flags []string) {
	if c.user != "" {
		if seen := slices.Contains(flags, `\Seen`); seen != slices.Contains(was.flags, `\Seen`) {
			c.mark(b, msg, c.user, seen)
		}
		flags = slices.Concat(without(flags, mailbox.Seen), only(msg.flags, mailbox.Seen))
		slices.Sort(flags)
	}
	if !slices.Equal(flags, msg.flags) {
		msg.flags, msg.modseq = flags, c.modseq
		c.touch(b)
	}
}

// without are the names that are not among the flags, only those that are.
func without(names []string, flags mailbox.Flags) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return bitOf(name)&flags != 0 })
}

func only(names []string, flags mailbox.Flags) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return bitOf(name)&flags == 0 })
}

func bitOf(name string) mailbox.Flags {
	if f := systemFlags[name]; f != 0 {
		return f
	}
	return mailbox.Keywords
}

func (c *modelChange) setRights(m mailbox.SetRights) error {
	b := c.byID(m.Box)
	if b == nil {
		return mailbox.ErrNoBox
	}
	had := b.acl[m.Who]
	has := m.Rights
	switch m.Op {
	case mailbox.AddFlags:
		has = had | m.Rights
	case mailbox.RemoveFlags:
		has = had &^ m.Rights
	}
	if has == had {
		return nil
	}
	c.touch(b)
	if b.acl[m.Who] = has; has == 0 {
		delete(b.acl, m.Who)
	}
	return nil
}

func (c *modelChange) transfer(m mailbox.Copy, move bool) (mailbox.Result, error) {
	source, target := c.byID(m.From), c.byID(m.To)
	if source == nil || target == nil {
		return mailbox.Result{}, mailbox.ErrNoBox
	}
	return c.carry(source, target, m, move), nil
}

func (c *modelChange) carry(source, target *modelBox, m mailbox.Copy, move bool) mailbox.Result {
	r := mailbox.Result{UIDValidity: target.validity}
	var picked []modelMessage
	for _, msg := range source.messages {
		if m.UIDs.Contains(msg.uid) {
			picked = append(picked, msg)
			r.Source = r.Source.Append(msg.uid)
		}
	}
	if move {
		c.take(source, r.Source)
	}
	for _, msg := range picked {
		seen := msg.seen
		drop := m.Without
		if c.user != "" { // his own \Seen is meant
			drop &^= mailbox.Seen
		}
		msg.seen, msg.flags = nil, without(msg.flags, drop)
		r.UIDs = r.UIDs.Append(c.append(target, msg))
		for user, mark := range seen {
			if mark.seen && !(user == c.user && m.Without&mailbox.Seen != 0) {
				c.mark(target, &target.messages[len(target.messages)-1], user, true)
			}
		}
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
