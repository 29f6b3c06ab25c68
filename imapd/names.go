package imapd

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/text/unicode/norm"

	"posthouse/mailbox"
)

// listed is a name that LIST may return: of a box, of a subscription, or of a level above them.
type listed struct {
	name        string
	at          *place       // nil if there is no box
	box         *mailbox.Box // of it, as it is shown
	subscribed  bool
	hasChildren bool // boxes
	parent      *listed

	matches   bool // a pattern
	selected  bool // by the selection options
	childInfo bool // something below it is: RFC 9051 §6.3.9.6
}

// isReadable tells whether the user may read the mailbox.
func (l *listed) isReadable() bool { return toRead.check(l.at.rights) == nil }

// names are all names of the account, and those of others' mailboxes that patterns may match, in order, INBOX first.
func (s *session) names(ctx context.Context, patterns []string) ([]*listed, error) {
	boxes, err := s.account.Boxes(ctx)
	if err != nil {
		return nil, err
	}
	subscriptions, err := s.account.Subscriptions(ctx)
	if err != nil {
		return nil, err
	}
	all := make(nameTree, len(boxes))
	for i := range boxes {
		all.add(place{Box: boxes[i], account: s.account, owner: s.who.ID, quota: s.who.Quota, rights: mailbox.AllRights})
	}
	if err := s.foreignPlaces(ctx, patterns, all.add); err != nil {
		return nil, err
	}
	if extra := s.server.opts.Extra; extra != nil && all[extra.Name] == nil && matchAny(patterns, extra.Name) {
		at, _, err := s.extraPlace(ctx, extra.Name)
		if err != nil {
			return nil, err
		}
		all.add(at)
	}
	for _, name := range subscriptions {
		all.at(name).subscribed = true
	}
	return all.sorted(), nil
}

// nameTree are names, with all levels above them.
type nameTree map[string]*listed

// at is the name's, with those of the levels above it.
func (t nameTree) at(name string) *listed {
	if l := t[name]; l != nil {
		return l
	}
	l := &listed{name: name}
	t[name] = l
	if i := strings.LastIndex(name, mailbox.Separator); i > 0 {
		l.parent = t.at(name[:i])
	}
	return l
}

// add adds a mailbox.
func (t nameTree) add(at place) {
	box := at.shown()
	l := t.at(box.Name)
	l.at, l.box = &at, &box
	for above := l.parent; above != nil && !above.hasChildren; above = above.parent {
		above.hasChildren = true
	}
}

func (t nameTree) sorted() []*listed {
	return slices.SortedFunc(maps.Values(t), func(a, b *listed) int {
		switch {
		case a.name == b.name:
			return 0
		case a.name == mailbox.Inbox:
			return -1
		case b.name == mailbox.Inbox:
			return 1
		}
		return cmp.Compare(a.name, b.name)
	})
}

// appendAttributes writes the attributes of RFC 9051 §7.3.1. Clients of the basic syntax know no \NonExistent.
func (l *listed) appendAttributes(b []byte, extended bool, which attributes) []byte {
	attrs := make([]imap.MailboxAttr, 0, 4)
	switch {
	case l.box == nil && extended:
		attrs = append(attrs, imap.MailboxAttrNonExistent)
	case l.box == nil || l.box.NoSelect:
		attrs = append(attrs, imap.MailboxAttrNoSelect)
	case which&withAccess != 0 && !l.isReadable():
		attrs = append(attrs, imap.MailboxAttr(`\NoAccess`)) // RFC 5465 §3.1
	}
	if l.hasChildren {
		attrs = append(attrs, imap.MailboxAttrHasChildren)
	} else {
		attrs = append(attrs, imap.MailboxAttrHasNoChildren)
	}
	if which&withSubscribed != 0 && l.subscribed {
		attrs = append(attrs, imap.MailboxAttrSubscribed)
	}
	if which&withSpecialUse != 0 && l.box != nil && l.box.Special != "" {
		attrs = append(attrs, imap.MailboxAttr(`\`+string(l.box.Special)))
	}
	for i, a := range attrs {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, a...)
	}
	return b
}

// patterns are the canonical patterns of RFC 9051 §6.3.9: the reference followed by each. Those that are no names are passed over.
func (d dialect) patterns(reference string, raw []string) []string {
	var patterns []string
	for _, pattern := range raw {
		if pattern == "" {
			continue
		}
		name, err := d.name(reference + pattern)
		if err != nil {
			continue
		}
		patterns = append(patterns, canonicalPattern(name))
	}
	return patterns
}

// canonicalPattern writes a pattern as mailbox.CanonicalName writes names: in NFC, and INBOX in capitals where it is the first level
// (RFC 9051 §5.1).
func canonicalPattern(p string) string {
	p = norm.NFC.String(p)
	first, _, _ := strings.Cut(p, mailbox.Separator)
	if strings.EqualFold(first, mailbox.Inbox) {
		return mailbox.Inbox + p[len(first):]
	}
	return p
}

func matchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, name) })
}

// match tells whether a name matches a pattern: "*" is anything, "%" anything within a level.
func match(pattern, name string) bool {
	if pattern == "*" {
		return true
	}
	m := newMatching(pattern)
	for i := range len(name) {
		m.step(name[i])
	}
	return m.states[len(pattern)]
}

// matching is a pattern on its way through a name. It follows all places of the pattern that it may be at, so that none takes longer than
// its length times that of the name.
type matching struct {
	pattern string
	states  []bool // k: what was read of the name matches pattern[:k]
}

func newMatching(pattern string) *matching {
	m := &matching{pattern, make([]bool, len(pattern)+1)}
	m.states[0] = true
	m.passWildcards()
	return m
}

// step reads an octet of the name.
func (m *matching) step(c byte) {
	for k := len(m.pattern); k >= 0; k-- {
		stays := k < len(m.pattern) && m.states[k] && (m.pattern[k] == '*' || m.pattern[k] == '%' && c != mailbox.Separator[0])
		m.states[k] = stays || k > 0 && m.states[k-1] && m.pattern[k-1] == c
	}
	m.passWildcards()
}

// passWildcards lets wildcards match nothing.
func (m *matching) passWildcards() {
	for k := range len(m.pattern) {
		if m.states[k] && (m.pattern[k] == '*' || m.pattern[k] == '%') {
			m.states[k+1] = true
		}
	}
}
