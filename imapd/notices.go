package imapd

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"posthouse/mailbox"
)

// notification is what a client that used NOTIFY hears, and what it has heard.
type notification struct {
	groups     []eventGroup // but for the selected mailbox
	accounts   []*followed  // the user's own is the first
	watch      func(mailbox.Account) (<-chan mailbox.ModSeq, error)
	stop       context.CancelFunc
	subscribed map[string]bool // as the client knows it
}

// begin begins to follow the accounts. Only who wants to hear of other mailboxes has them compared.
func (n *notification) begin(ctx context.Context, s *session) error {
	ctx, n.stop = context.WithCancel(ctx)
	n.watch = func(a mailbox.Account) (<-chan mailbox.ModSeq, error) { return a.Watch(ctx) }
	err := n.followOwn(s)
	if err == nil && len(n.groups) > 0 {
		err = n.learn(ctx, s)
	}
	if err != nil {
		n.end(s)
	}
	return err
}

// end lets go of the accounts.
func (n *notification) end(s *session) {
	n.stop()
	for _, f := range n.accounts {
		if !f.foreign {
			continue
		}
		if err := f.account.Close(); err != nil {
			s.log.Warn("closing an account", "err", err)
		}
	}
}

// learn takes all mailboxes as known.
func (n *notification) learn(ctx context.Context, s *session) error {
	if err := n.followReached(ctx, s); err != nil {
		return err
	}
	subscriptions, err := s.account.Subscriptions(ctx)
	if err != nil {
		return err
	}
	n.subscribed = setOf(subscriptions)
	boxes := 0
	for _, f := range n.accounts {
		if err := f.learn(ctx, n.subscribed); err != nil {
			return err
		}
		if boxes += len(f.boxes); boxes > maxNotified {
			return errOverflow
		}
	}
	if !s.client.metadata { // else it knows all up to where it was told
		s.client.annotated = n.accounts[0].annotated
	}
	return nil
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

// inOrder are the known mailboxes by name.
func (n *notification) inOrder() (all []*listed) {
	for _, f := range n.accounts {
		all = slices.AppendSeq(all, maps.Values(f.boxes))
	}
	slices.SortFunc(all, func(a, b *listed) int { return strings.Compare(a.name, b.name) })
	return all
}

// tellNoAccess tells which of the mailboxes that are asked for may be listed, and not read: RFC 5465 §3.1.
func (n *notification) tellNoAccess(ctx context.Context, s *session) error {
	d := difference{}
	for _, l := range n.inOrder() {
		if !l.box.NoSelect && !l.isReadable() && n.wants(l, ^events(0)) {
			d.names = append(d.names, l.name)
		}
	}
	return s.tellNames(ctx, &d)
}

// tellStatus tells how the mailboxes are whose messages are watched: RFC 5465 §3.1.
func (n *notification) tellStatus(s *session) error {
	for _, l := range n.inOrder() {
		if l.box.NoSelect || !l.isReadable() || s.selectedIs(l.at) || !n.wants(l, eventsOfMessages) {
			continue
		}
		items := []string{"MESSAGES", "UIDNEXT", "UIDVALIDITY"}
		if s.client.modSeqs || n.wants(l, eventFlags) {
			items = append(items, "HIGHESTMODSEQ")
		}
		if err := s.tellStatusOf(l.box, items...); err != nil {
			return err
		}
	}
	return nil
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

// hasNews tells whether there may be something to tell.
func (n *notification) hasNews() (news bool) {
	for _, f := range n.accounts {
		news = f.hasNews() || news
	}
	return news
}

// tellNotices tells what has happened in the accounts since it was told last.
func (s *session) tellNotices(ctx context.Context) error {
	n := s.notification
	if n == nil || !n.hasNews() {
		return nil
	}
	if len(n.groups) == 0 {
		n.accounts[0].news = false
		return nil
	}
	if err := s.tellAnnotated(ctx); err != nil {
		return err
	}
	d, err := n.compare(ctx, s)
	if errors.Is(err, errOverflow) { // RFC 5465 §5.8
		s.notifyNone()
		return s.out.WriteString("* OK [NOTIFICATIONOVERFLOW] Too much happens; nothing more is told\r\n")
	}
	if err != nil {
		return err
	}
	if err := s.tellForeignAnnotated(ctx, &d); err != nil {
		return err
	}
	if err := s.tellNames(ctx, &d); err != nil {
		return err
	}
	for _, m := range d.messages {
		if err := s.tellStatusOf(m.box, m.items...); err != nil {
			return err
		}
	}
	for f, boxes := range d.boxes {
		f.boxes, f.news = boxes, false
	}
	n.subscribed = d.subscribed
	return nil
}

// difference is what has happened to mailboxes, as far as the client wants to hear of it.
type difference struct {
	boxes      map[*followed]map[mailbox.BoxID]*listed // as they are now, of accounts that have news
	subscribed map[string]bool
	names      []string          // that were created, deleted, renamed, subscribed to or not any more
	oldNames   map[string]string // of those that were renamed
	messages   []news
}

// news is a mailbox whose messages have changed, with what is told of it.
type news struct {
	*listed
	items []string
}

// compare finds out what the client does not know yet.
func (n *notification) compare(ctx context.Context, s *session) (difference, error) {
	d := difference{boxes: make(map[*followed]map[mailbox.BoxID]*listed), oldNames: make(map[string]string)}
	if err := n.followReached(ctx, s); err != nil {
		return d, err
	}
	subscriptions, err := s.account.Subscriptions(ctx)
	if err != nil {
		return d, err
	}
	d.subscribed = setOf(subscriptions)
	boxes := 0
	for _, f := range n.accounts {
		if boxes += len(f.boxes); !f.news {
			continue
		}
		now, err := f.look(ctx, d.subscribed)
		if err != nil {
			return d, err
		}
		boxes += len(now) - len(f.boxes)
		d.boxes[f] = byID(now)
		d.compare(s, f, now)
	}
	for _, set := range [][2]map[string]bool{{d.subscribed, n.subscribed}, {n.subscribed, d.subscribed}} {
		for name := range set[0] {
			if l := (&listed{name: name, subscribed: true}); !set[1][name] && n.wants(l, eventSubscriptions) {
				d.names = append(d.names, name)
			}
		}
	}
	slices.Sort(d.names)
	d.names = slices.Compact(d.names)
	if boxes > maxNotified || len(d.names)+len(d.messages) > maxNotices {
		err = errOverflow
	}
	return d, err
}

// compare adds what has happened to the mailboxes of an account. To get or lose the right to list one is as if it was created or deleted
// (RFC 5465 §5.4), and how one is that may not be read is not told (§5).
func (d *difference) compare(s *session, f *followed, now []*listed) {
	n := s.notification
	for _, l := range now {
		was := f.boxes[l.box.ID]
		switch {
		case was == nil || was.box.NoSelect != l.box.NoSelect:
			d.nameAndParent(n, l.name)
		case was.name != l.name:
			d.renamed(n, was.name, l.name)
		case was.isReadable() != l.isReadable():
			d.name(n, l.name)
		}
		if was == nil || !was.isReadable() || !l.isReadable() || s.selectedIs(l.at) {
			continue
		}
		if items := n.newsOf(was.box, l, s); items != nil {
			d.messages = append(d.messages, news{l, items})
		}
	}
	for id, was := range f.boxes {
		if d.boxes[f][id] == nil {
			d.nameAndParent(n, was.name)
		}
	}
}

// nameAndParent adds a mailbox that was created or deleted; the level above it is affected too: RFC 5465 §5.4.
func (d *difference) nameAndParent(n *notification, name string) {
	d.name(n, name)
	if above := parent(name); above != "" {
		d.name(n, above)
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
func (n *notification) newsOf(was *mailbox.Box, l *listed, s *session) (items []string) {
	is := l.box
	if was.ModSeq == is.ModSeq || is.NoSelect {
		return nil
	}
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
	all, err := s.names(ctx, s.reachOf(d.names))
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
			b = l.appendAttributes(append(b, "* LIST ("...), true, withSubscribed|withAccess)
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

// tellForeignAnnotated tells what has happened to metadata of others' mailboxes.
func (s *session) tellForeignAnnotated(ctx context.Context, d *difference) error {
	for _, f := range s.notification.accounts[1:] {
		now := d.boxes[f]
		if len(now) == 0 {
			continue
		}
		boxes, latest, err := f.account.Annotated(ctx, f.annotated)
		if err != nil {
			return err
		}
		for _, id := range boxes {
			l := now[id]
			if l == nil || !l.isReadable() || !s.notification.wants(l, eventMetadata) {
				continue
			}
			if err := s.tellAnnotatedSince(ctx, l.at, l.name, f.annotated); err != nil {
				return err
			}
		}
		f.annotated = max(f.annotated, latest)
	}
	return nil
}

// ownNames has the client not hear of what it did itself to names, and to those above and below them: RFC 5465 §5.
func (s *session) ownNames(ctx context.Context, names ...string) error {
	n := s.notification
	if n == nil || len(n.groups) == 0 {
		return nil
	}
	for _, f := range n.accounts {
		within := func(name string) bool { return strings.HasPrefix(name, f.prefix) }
		if f.boxes != nil && slices.ContainsFunc(names, within) {
			if err := f.learnNames(ctx, names); err != nil {
				return err
			}
		}
	}
	subscriptions, err := s.account.Subscriptions(ctx)
	if err != nil {
		return err
	}
	subscribed := setOf(subscriptions)
	for _, name := range names {
		if delete(n.subscribed, name); subscribed[name] {
			n.subscribed[name] = true
		}
	}
	return nil
}

// learnNames takes as known what mailboxes there are by these names, above and below them.
func (f *followed) learnNames(ctx context.Context, names []string) error {
	now, err := f.look(ctx, nil)
	if err != nil {
		return err
	}
	concerns := func(l *listed) bool {
		return slices.ContainsFunc(names, func(name string) bool { return isBelow(l.name, name) || isBelow(name, l.name) })
	}
	there := byID(now)
	for id, l := range there {
		if !concerns(l) {
			continue
		}
		if was := f.boxes[id]; was != nil { // of its messages nothing was told
			box := *was.box
			box.Name, box.NoSelect = l.box.Name, l.box.NoSelect
			l.box = &box
		}
		f.boxes[id] = l
	}
	for id, was := range f.boxes {
		if there[id] == nil && concerns(was) {
			delete(f.boxes, id)
		}
	}
	return nil
}

// ownMessages has the client not hear of messages that it put into a mailbox itself, if nobody else has done anything there: RFC 5465 §5.
func (s *session) ownMessages(ctx context.Context, to *place, uids mailbox.UIDSet) error {
	if s.notification == nil {
		return nil
	}
	if s.selectedIs(to) {
		s.view.own = mailbox.NewUIDSet(slices.Concat(s.view.own, uids)...)
		return nil
	}
	f := s.notification.of(to.owner)
	if f == nil || f.boxes[to.ID] == nil || len(uids) == 0 {
		return nil
	}
	was := f.boxes[to.ID].box
	now, err := to.account.Box(ctx, to.Name)
	if err == nil && now.ID == was.ID && now.Messages == was.Messages+uids.Len() && now.UIDNext == uids[len(uids)-1].Last+1 {
		f.boxes[to.ID] = f.listed(now)
	}
	return err
}
