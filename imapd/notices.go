package imapd

import (
	"context"
	"slices"
	"strings"

	"posthouse/mailbox"
)

// notification is what a client that used NOTIFY hears, and what it has heard.
type notification struct {
	groups  []eventGroup // but for the selected mailbox
	changes <-chan mailbox.ModSeq
	stop    context.CancelFunc
	news    bool // there may be something to tell

	boxes      map[mailbox.BoxID]mailbox.Box // as the client knows them
	subscribed map[string]bool
}

// begin begins to follow the account. Only who wants to hear of other mailboxes has them compared.
func (n *notification) begin(ctx context.Context, s *session) (err error) {
	ctx, n.stop = context.WithCancel(ctx)
	if n.changes, err = s.account.Watch(ctx); err == nil {
		err = n.learn(ctx, s)
	}
	if err != nil {
		n.stop()
	}
	return err
}

// learn takes all mailboxes as known.
func (n *notification) learn(ctx context.Context, s *session) error {
	boxes, err := s.account.Boxes(ctx)
	if err != nil || len(n.groups) == 0 {
		return err
	}
	if len(boxes) > maxNotified {
		return errOverflow
	}
	subscriptions, err := s.account.Subscriptions(ctx)
	if err != nil {
		return err
	}
	n.boxes, n.subscribed = make(map[mailbox.BoxID]mailbox.Box, len(boxes)), setOf(subscriptions)
	for _, b := range boxes {
		n.boxes[b.ID] = b
	}
	if !s.client.metadata { // else it knows all up to where it was told
		_, s.client.annotated, err = s.account.Annotated(ctx, 0)
	}
	return err
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

// inOrder are the known mailboxes by name.
func (n *notification) inOrder() []mailbox.Box {
	boxes := make([]mailbox.Box, 0, len(n.boxes))
	for _, b := range n.boxes {
		boxes = append(boxes, b)
	}
	slices.SortFunc(boxes, func(a, b mailbox.Box) int { return strings.Compare(a.Name, b.Name) })
	return boxes
}

// listedAs is a mailbox with what sources ask of it.
func (n *notification) listedAs(name string) *listed {
	return &listed{name: name, subscribed: n.subscribed[name]}
}

// tellStatus tells how the mailboxes are whose messages are watched: RFC 5465 §3.1.
func (n *notification) tellStatus(s *session) error {
	for _, box := range n.inOrder() {
		l := n.listedAs(box.Name)
		if box.NoSelect || s.isSelected(box.ID) || !n.wants(l, eventsOfMessages) {
			continue
		}
		items := []string{"MESSAGES", "UIDNEXT", "UIDVALIDITY"}
		if s.client.modSeqs || n.wants(l, eventFlags) {
			items = append(items, "HIGHESTMODSEQ")
		}
		if err := s.tellStatusOf(&box, items...); err != nil {
			return err
		}
	}
	return nil
}

// isSelected tells whether a mailbox of the user's own is the selected one.
func (s *session) isSelected(id mailbox.BoxID) bool {
	return s.view != nil && s.view.account == s.account && s.view.box == id
}

// tellStatusOf tells items of a mailbox, as far as there are such items for this client.
func (s *session) tellStatusOf(box *mailbox.Box, names ...string) error {
	var items []statusItem
	for _, name := range names {
		if item, known := s.table.status[name]; known {
			items = append(items, item)
		}
	}
	return s.write(func(b []byte) []byte { return s.dialect.appendStatus(b, box, items) })
}

// hasNews tells whether the account may have changed since the client was told last.
func (n *notification) hasNews() bool {
	select {
	case <-n.changes:
		n.news = true
	default:
	}
	return n.news
}

// tellNotices tells what has happened in the account since it was told last.
func (s *session) tellNotices(ctx context.Context) error {
	n := s.notification
	if n == nil || !n.hasNews() {
		return nil
	}
	if len(n.groups) == 0 {
		n.news = false
		return nil
	}
	if err := s.tellAnnotated(ctx); err != nil {
		return err
	}
	boxes, err := s.account.Boxes(ctx)
	if err != nil {
		return err
	}
	subscriptions, err := s.account.Subscriptions(ctx)
	if err != nil {
		return err
	}
	d := n.compare(boxes, setOf(subscriptions), s)
	if len(d.names)+len(d.messages) > maxNotices || len(boxes) > maxNotified { // RFC 5465 §5.8
		s.notifyNone()
		return s.out.WriteString("* OK [NOTIFICATIONOVERFLOW] Too much happens; nothing more is told\r\n")
	}
	if err := s.tellNames(ctx, &d); err != nil {
		return err
	}
	for i := range d.messages {
		if err := s.tellStatusOf(&d.messages[i].Box, d.messages[i].items...); err != nil {
			return err
		}
	}
	n.boxes, n.subscribed, n.news = d.boxes, d.subscribed, false
	return nil
}

// difference is what has happened to mailboxes, as far as the client wants to hear of it.
type difference struct {
	boxes      map[mailbox.BoxID]mailbox.Box // as they are now
	subscribed map[string]bool
	names      []string          // that were created, deleted, renamed, subscribed to or not any more
	oldNames   map[string]string // of those that were renamed
	messages   []news
}

// news is a mailbox whose messages have changed, with what is told of it.
type news struct {
	mailbox.Box
	items []string
}

// compare finds out what the client does not know yet.
func (n *notification) compare(boxes []mailbox.Box, subscribed map[string]bool, s *session) difference {
	d := difference{boxes: make(map[mailbox.BoxID]mailbox.Box, len(boxes)), subscribed: subscribed, oldNames: make(map[string]string)}
	for _, b := range boxes {
		d.boxes[b.ID] = b
		was, known := n.boxes[b.ID]
		switch {
		case !known || was.NoSelect != b.NoSelect:
			d.nameAndParent(n, b.Name)
		case was.Name != b.Name:
			d.renamed(n, was.Name, b.Name)
		}
		if items := n.newsOf(&was, &b, s); known && items != nil && !s.isSelected(b.ID) {
			d.messages = append(d.messages, news{b, items})
		}
	}
	for _, was := range n.boxes {
		if _, there := d.boxes[was.ID]; !there {
			d.nameAndParent(n, was.Name)
		}
	}
	for _, set := range [][2]map[string]bool{{subscribed, n.subscribed}, {n.subscribed, subscribed}} {
		for name := range set[0] {
			if l := (&listed{name: name, subscribed: true}); !set[1][name] && n.wants(l, eventSubscriptions) {
				d.names = append(d.names, name)
			}
		}
	}
	slices.Sort(d.names)
	d.names = slices.Compact(d.names)
	return d
}

// nameAndParent adds a mailbox that was created or deleted; the level above it is affected too: RFC 5465 §5.4.
func (d *difference) nameAndParent(n *notification, name string) {
	d.name(n, name)
	if i := strings.LastIndex(name, mailbox.Separator); i > 0 {
		d.name(n, name[:i])
	}
}

func (d *difference) name(n *notification, name string) {
	if n.wants(&listed{name: name, subscribed: d.subscribed[name] || n.subscribed[name]}, eventNames) {
		d.names = append(d.names, name)
	}
}

// renamed adds a mailbox that has another name. Those below it are not told of; boxes come in order, so that it is before them.
func (d *difference) renamed(n *notification, old, name string) {
	for to, from := range d.oldNames {
		if isBelow(name, to) && isBelow(old, from) && name[len(to):] == old[len(from):] {
			return
		}
	}
	d.oldNames[name] = old
	d.name(n, name)
}

// newsOf is what is told of a mailbox that is not selected: RFC 5465 §5.1 to §5.3; nil: nothing.
func (n *notification) newsOf(was, is *mailbox.Box, s *session) (items []string) {
	if was.ModSeq == is.ModSeq || is.NoSelect {
		return nil
	}
	l := n.listedAs(is.Name)
	switch {
	case was.Messages != is.Messages || was.UIDNext != is.UIDNext:
		if n.wants(l, eventNew|eventExpunge) {
			items = []string{"MESSAGES", "UIDNEXT"}
		}
	case n.wants(l, eventFlags) && (s.client.modSeqs || was.Unseen != is.Unseen):
		items = []string{"UIDVALIDITY"}
	}
	if items == nil {
		return nil
	}
	if n.wants(l, eventFlags) && was.Unseen != is.Unseen {
		items = append(items, "UNSEEN")
	}
	if s.client.modSeqs {
		items = append(items, "HIGHESTMODSEQ")
	}
	return items
}

// tellNames tells of names by LIST responses: RFC 5465 §5.4, §5.5.
func (s *session) tellNames(ctx context.Context, d *difference) error {
	if len(d.names) == 0 {
		return nil
	}
	all, err := s.names(ctx, nil)
	if err != nil {
		return err
	}
	there := make(map[string]*listed, len(all))
	for _, l := range all {
		there[l.name] = l
	}
	for _, name := range d.names {
		l := there[name]
		if l == nil {
			l = &listed{name: name}
		}
		err := s.write(func(b []byte) []byte {
			b = l.appendAttributes(append(b, "* LIST ("...), true, withSubscribed)
			b = s.dialect.appendName(append(b, `) "`+mailbox.Separator+`" `...), name)
			if old, renamed := d.oldNames[name]; renamed {
				b = append(s.dialect.appendName(append(b, ` ("OLDNAME" (`...), old), "))"...)
			}
			return append(b, "\r\n"...)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ownNames has the client not hear of what it did itself to names, and to those above and below them: RFC 5465 §5.
func (s *session) ownNames(ctx context.Context, names ...string) error {
	n := s.notification
	if n == nil || len(n.groups) == 0 {
		return nil
	}
	boxes, err := s.account.Boxes(ctx)
	if err != nil {
		return err
	}
	subscriptions, err := s.account.Subscriptions(ctx)
	if err != nil {
		return err
	}
	concerns := func(box string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return isBelow(box, name) || isBelow(name, box) })
	}
	now := make(map[mailbox.BoxID]bool, len(boxes))
	for _, b := range boxes {
		now[b.ID] = true
		if was, known := n.boxes[b.ID]; concerns(b.Name) && !known {
			n.boxes[b.ID] = b
		} else if concerns(b.Name) {
			was.Name, was.NoSelect = b.Name, b.NoSelect
			n.boxes[b.ID] = was
		}
	}
	for id, was := range n.boxes {
		if !now[id] && concerns(was.Name) {
			delete(n.boxes, id)
		}
	}
	subscribed := setOf(subscriptions)
	for _, name := range names {
		if delete(n.subscribed, name); subscribed[name] {
			n.subscribed[name] = true
		}
	}
	return nil
}

// ownMessages has the client not hear of messages that it put into a mailbox itself, if nobody else has done anything there: RFC 5465 §5.
func (s *session) ownMessages(ctx context.Context, to *place, uids mailbox.UIDSet) error {
	n := s.notification
	if n == nil {
		return nil
	}
	if s.selectedIs(to) {
		s.view.own = mailbox.NewUIDSet(slices.Concat(s.view.own, uids)...)
		return nil
	}
	was, known := n.boxes[to.ID]
	if !known || len(uids) == 0 || to.account != s.account {
		return nil
	}
	now, err := to.account.Box(ctx, to.Name)
	if err == nil && now.ID == was.ID && now.Messages == was.Messages+uids.Len() && now.UIDNext == uids[len(uids)-1].Last+1 {
		n.boxes[to.ID] = now
	}
	return err
}
