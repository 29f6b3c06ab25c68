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
	box         *mailbox.Box // nil if there is none
	subscribed  bool
	hasChildren bool // boxes
	parent      *listed

	matches   bool // a pattern
	selected  bool // by the selection options
	childInfo bool // something below it is: RFC 9051 §6.3.9.6
}

// names are all names of the account, in order, INBOX first.
func (s *session) names(ctx context.Context) ([]*listed, error) {
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
		l := all.at(boxes[i].Name)
		l.box = &boxes[i]
		for above := l.parent; above != nil && !above.hasChildren; above = above.parent {
			above.hasChildren = true
		}
	}
	for _, name := range subscriptions {
		all.at(name).subscribed = true
	}
	return all.sorted(), nil
}

// nameTree are names, with all levels above them.
type nameTree map[string]*listed

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

// match tells whether a name matches a pattern: "*" is anything, "%" anything within a level. It follows all places of the pattern
// that it may be at, so that none takes longer than its length times that of the name.
func match(pattern, name string) bool {
	if pattern == "*" {
		return true
	}
	at := make([]bool, len(pattern)+1) // at[k]: what was read of name matches pattern[:k]
	at[0] = true
	passWildcards(at, pattern)
	for i := range len(name) {
		for k := len(pattern); k >= 0; k-- {
			stays := k < len(pattern) && at[k] && (pattern[k] == '*' || pattern[k] == '%' && name[i:i+1] != mailbox.Separator)
			at[k] = stays || k > 0 && at[k-1] && pattern[k-1] == name[i]
		}
		passWildcards(at, pattern)
	}
	return at[len(pattern)]
}

// passWildcards lets wildcards match nothing.
func passWildcards(at []bool, pattern string) {
	for k := range len(pattern) {
		if at[k] && (pattern[k] == '*' || pattern[k] == '%') {
			at[k+1] = true
		}
	}
}
