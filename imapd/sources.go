package imapd

import (
	"context"
	"errors"
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
	subscribed bool // it is all that is subscribed to
	delayed    bool // and EXPUNGE is not told at once; for NOTIFY only
	searchOnly bool // for ESEARCH only
	named      bool
	exact      bool // it is the mailboxes of the names themselves
	has        func(l *listed, name string) bool
}

func (l *listed) isPersonal(string) bool {
	if l.at != nil {
		return l.at.prefix == ""
	}
	_, foreign := parseForeign(l.name)
	return !foreign
}

// specifiers are those of RFC 5465 §6 and RFC 7377 §2.2. Messages may be delivered into any mailbox, by a filter or a subaddress, so that
// inboxes are all personal ones (RFC 5465 §6.3).
var specifiers = map[string]*specifier{
	"SELECTED":         {selected: true},
	"SELECTED-DELAYED": {selected: true, delayed: true},
	"INBOXES":          {has: (*listed).isPersonal},
	"PERSONAL":         {has: (*listed).isPersonal},
	"SUBSCRIBED":       {subscribed: true, has: func(l *listed, _ string) bool { return l.subscribed }},
	"MAILBOXES":        {named: true, exact: true, has: func(l *listed, name string) bool { return l.name == name }},
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
		s.names[i] = canonicalForeign(canonicalPattern(name))
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

// reach are the names that sources may cover beside those of the user's own mailboxes, as patterns for names: whole accounts of others, for
// covers looks closer.
func (s *session) reach(ctx context.Context, sources []source) (patterns []string, err error) {
	for _, source := range sources {
		names := source.names
		if source.specifier.subscribed {
			if names, err = s.account.Subscriptions(ctx); err != nil {
				return nil, err
			}
		}
		patterns = append(patterns, s.reachOf(names)...)
	}
	slices.Sort(patterns)
	return slices.Compact(patterns), nil
}

// reachOf is reach for names.
func (s *session) reachOf(names []string) (patterns []string) {
	for _, name := range names {
		f, foreign := parseForeign(name)
		switch {
		case foreign && !f.owner.IsNull():
			patterns = append(patterns, foreignPrefix(f.root, f.owner)+"*")
		case foreign && name == f.root:
			patterns = append(patterns, f.root+mailbox.Separator+"*")
		case s.server.opts.Extra != nil && name == s.server.opts.Extra.Name:
			patterns = append(patterns, name)
		}
	}
	return patterns
}

// places are the mailboxes of sources that the user may read, each once; the selected one only if its name is among them.
func (s *session) places(ctx context.Context, sources []source) (places []place, err error) {
	for i := range sources {
		if err := sources[i].canonical(s.dialect); err != nil {
			return nil, err
		}
	}
	patterns, err := s.reach(ctx, sources)
	if err != nil {
		return nil, err
	}
	all, err := s.names(ctx, patterns)
	if err != nil {
		return nil, err
	}
	known := make(map[string]bool)
	for _, l := range all {
		if l.box == nil || l.box.NoSelect || !slices.ContainsFunc(sources, func(s source) bool { return s.covers(l) }) {
			continue
		}
		known[l.name] = true
		if l.isReadable() {
			places = append(places, *l.at)
		}
	}
	for _, source := range sources {
		if !source.exact {
			continue
		}
		hidden := slices.DeleteFunc(slices.Clone(source.names), func(name string) bool {
			_, foreign := parseForeign(name)
			drop := !foreign || known[name]
			known[name] = true
			return drop
		})
		named, err := s.hiddenPlaces(ctx, hidden)
		if err != nil {
			return nil, err
		}
		places = append(places, named...)
	}
	return places, nil
}

// hiddenPlaces are mailboxes of others that may be read though they may not be listed. Who names them needs no right to do that: RFC 7377
// §2.2.
func (s *session) hiddenPlaces(ctx context.Context, names []string) (places []place, err error) {
	for _, name := range names {
		at, err := s.placeOf(ctx, name, toRead)
		switch {
		case errors.Is(err, mailbox.ErrNoBox), errors.Is(err, errNoPerm):
		case err != nil:
			return nil, err
		case !at.NoSelect:
			places = append(places, at)
		}
	}
	return places, nil
}
