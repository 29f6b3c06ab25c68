package imapd

import (
	"context"
	"slices"
	"strings"

	"posthouse/mailbox"
)

// source is a mailbox specifier: mailboxes that are to be searched (RFC 7377 §2.2), or to be heard of (RFC 5465 §6).
type source struct {
	*specifier
	names []string // as they were given, then canonical
}

// specifier is a kind of source. Those that name mailboxes hold for each name.
type specifier struct {
	selected   bool // it is the selected mailbox, whichever that is
	delayed    bool // and EXPUNGE is not told at once; for NOTIFY only
	searchOnly bool // for ESEARCH only
	named      bool
	has        func(l *listed, name string) bool
}

func everyMailbox(*listed, string) bool { return true }

// specifiers are those of RFC 5465 §6 and RFC 7377 §2.2. Messages may be delivered into any mailbox, by a filter or a subaddress, so that
// inboxes are all personal ones (RFC 5465 §6.3).
var specifiers = map[string]*specifier{
	"SELECTED":         {selected: true},
	"SELECTED-DELAYED": {selected: true, delayed: true},
	"INBOXES":          {has: everyMailbox},
	"PERSONAL":         {has: everyMailbox},
	"SUBSCRIBED":       {has: func(l *listed, _ string) bool { return l.subscribed }},
	"MAILBOXES":        {named: true, has: func(l *listed, name string) bool { return l.name == name }},
	"SUBTREE":          {named: true, has: func(l *listed, name string) bool { return isBelow(l.name, name) }},
	"SUBTREE-ONE": {named: true, searchOnly: true, has: func(l *listed, name string) bool {
		return l.name == name || l.parent != nil && l.parent.name == name
	}},
}

// source decodes a filter-mailboxes: RFC 5465 §8.
func (p *parser) source(s *source) bool {
	var kind string
	if !p.Label(&kind) {
		return false
	}
	known := specifiers[kind]
	if known == nil {
		return p.Refuse(errSource)
	}
	s.specifier = known
	if !known.named {
		return true
	}
	name := func() bool {
		if len(s.names) >= maxSources {
			return p.Refuse(errTooMany)
		}
		s.names = append(s.names, "")
		return p.AString(&s.names[len(s.names)-1])
	}
	if !p.SP() {
		return false
	}
	if p.At('(') {
		return p.List1(name)
	}
	return name()
}

// canonical makes the names what they are in the list of all.
func (s *source) canonical(d dialect) error {
	for i, raw := range s.names {
		name, err := d.name(raw)
		if err != nil {
			return err
		}
		s.names[i] = canonicalPattern(name)
	}
	return nil
}

// covers tells whether a mailbox is one of the source's by its name, whether it is there or not.
func (s *source) covers(l *listed) bool {
	switch {
	case s.selected:
		return false
	case !s.named:
		return s.has(l, "")
	}
	return slices.ContainsFunc(s.names, func(name string) bool { return s.has(l, name) })
}

// isBelow tells whether a name is another one, or below it.
func isBelow(name, top string) bool {
	return name == top || strings.HasPrefix(name, top+mailbox.Separator)
}

// places are the mailboxes of sources, each once, in the order of LIST; the selected one only if its name is among them.
func (s *session) places(ctx context.Context, sources []source) (places []place, err error) {
	all, err := s.names(ctx, nil)
	if err != nil {
		return nil, err
	}
	for i := range sources {
		if err := sources[i].canonical(s.dialect); err != nil {
			return nil, err
		}
	}
	for _, l := range all {
		if l.box != nil && !l.box.NoSelect && slices.ContainsFunc(sources, func(s source) bool { return s.covers(l) }) {
			places = append(places, *l.at)
		}
	}
	return places, nil
}
