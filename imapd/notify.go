package imapd

import (
	"context"
	"math"
	"slices"

	"posthouse/mailbox"
)

// notify is NOTIFY: RFC 5465.
func notify() extension {
	return extension{
		name: "NOTIFY", rfc: "RFC 5465",
		commands: []command{{name: "NOTIFY", rfc: "RFC 5465 §3.1", in: loggedIn, parse: parseNotify}},
	}
}

// events is a set of the events of RFC 5465 §5.
type events uint8

const (
	eventNew events = 1 << iota
	eventExpunge
	eventFlags
	eventNames
	eventSubscriptions
	eventMetadata
	eventServerMetadata

	eventsOfMessages = eventNew | eventExpunge | eventFlags
)

// eventsByName are the events that there are. Messages have no annotations here.
var eventsByName = map[string]events{
	"MESSAGENEW": eventNew, "MESSAGEEXPUNGE": eventExpunge, "FLAGCHANGE": eventFlags, "MAILBOXNAME": eventNames,
	"SUBSCRIPTIONCHANGE": eventSubscriptions, "MAILBOXMETADATACHANGE": eventMetadata, "SERVERMETADATACHANGE": eventServerMetadata,
}

// eventGroup is what a client wants to hear of some mailboxes.
type eventGroup struct {
	source
	events events    // none: nothing of these mailboxes, whatever other groups say
	items  []fetcher // of new messages; of the selected mailbox only
}

type notifyCommand struct {
	status bool
	groups []eventGroup // none: NOTIFY NONE
}

func parseNotify(p *parser) (runner, error) {
	c := &notifyCommand{}
	var word string
	if !p.SP() || !p.Label(&word) {
		return nil, p.Err()
	}
	switch word {
	case "NONE":
		if !p.End() {
			return nil, p.Err()
		}
		return c, nil
	case "SET":
		if !p.SP() {
			return nil, p.Err()
		}
		if c.status = p.Word("STATUS"); c.status && !p.SP() {
			return nil, p.Err()
		}
		if !p.eventGroups(c) {
			return nil, p.Err()
		}
		return c, c.check()
	}
	return nil, errOption
}

func (p *parser) eventGroups(c *notifyCommand) bool {
	for {
		if len(c.groups) >= maxSources {
			return p.Refuse(errTooMany)
		}
		c.groups = append(c.groups, eventGroup{})
		g := &c.groups[len(c.groups)-1]
		if !(p.Special('(') && p.source(&g.source) && p.SP() && p.events(g) && p.Special(')')) {
			return false
		}
		if p.AtEnd() {
			return true
		}
		if !p.SP() {
			return false
		}
	}
}

// events decodes a list of events, or NONE.
func (p *parser) events(g *eventGroup) bool {
	last := events(0)
	return p.Word("NONE") || p.List1(func() bool {
		if last == eventNew && p.At('(') {
			last = 0
			return p.newItems(g)
		}
		var name string
		if !p.Label(&name) {
			return false
		}
		event, known := eventsByName[name]
		if !known {
			return p.Refuse(errBadEvent)
		}
		last = event
		g.events |= event
		return true
	})
}

// newItems decodes what is to be told of new messages of the selected mailbox.
func (p *parser) newItems(g *eventGroup) bool {
	return (g.selected || p.Refuse(errNotSelected)) && p.List1(func() bool { return p.fetchItem(&g.items) })
}

// check looks at the groups as a whole: RFC 5465 §5, §6.1, §8.
func (c *notifyCommand) check() error {
	selected := 0
	for _, g := range c.groups {
		both := g.events & (eventNew | eventExpunge)
		switch {
		case g.searchOnly:
			return errSource
		case both != 0 && both != eventNew|eventExpunge, g.events&eventFlags != 0 && both == 0:
			return errEventPair
		case g.selected && g.events&^eventsOfMessages != 0:
			return errNotSelected
		}
		if g.selected {
			selected++
		}
	}
	if selected > 1 {
		return errTwoSelected
	}
	return nil
}

// run tells what has happened up to now (RFC 5465 §3.1), and then begins anew.
func (c *notifyCommand) run(ctx context.Context, s *session) (reply, error) {
	if err := s.sync(ctx, telling{expunge: true}); err != nil {
		return reply{}, err
	}
	if len(c.groups) == 0 {
		s.notifyNone()
		return reply{}, nil
	}
	n, selected := &notification{}, &eventGroup{} // of messages nothing, if no group says otherwise
	for i := range c.groups {
		g := &c.groups[i]
		if g.selected {
			selected = g
			continue
		}
		if err := g.canonical(s.dialect); err != nil {
			return reply{}, err
		}
		n.groups = append(n.groups, *g)
	}
	if err := n.begin(ctx, s); err != nil {
		return reply{}, err
	}
	s.stopNotifying()
	s.notification, s.client.selected = n, selected
	if err := n.tellNoAccess(ctx, s); err != nil {
		return reply{}, err
	}
	if c.status {
		return reply{}, n.tellStatus(s)
	}
	return reply{}, nil
}

// updateItems decodes what UPDATE is to tell of new messages: RFC 5465 §7.
func (p *parser) updateItems(c *searchCommand) bool {
	if _, known := p.table.commands["NOTIFY"]; !known {
		return p.Refuse(errOption)
	}
	return p.List1(func() bool { return p.fetchItem(&c.items) })
}

// notifyNone is NOTIFY NONE: the client hears only what its commands do.
func (s *session) notifyNone() {
	s.stopNotifying()
	s.client.selected = &eventGroup{}
}

// stopNotifying ends what NOTIFY began.
func (s *session) stopNotifying() {
	if s.notification != nil {
		s.notification.end(s)
		s.notification = nil
	}
}

// wants tells whether an event of a mailbox is to be told. A group without events speaks against all others.
func (n *notification) wants(l *listed, e events) bool {
	wanted := false
	for i := range n.groups {
		if g := &n.groups[i]; g.covers(l) {
			if g.events == 0 {
				return false
			}
			wanted = wanted || g.events&e != 0
		}
	}
	return wanted
}

// wantsOfServer tells whether changes of the account's own metadata are to be told: they are of no mailbox.
func (n *notification) wantsOfServer() bool {
	return slices.ContainsFunc(n.groups, func(g eventGroup) bool { return g.events&eventServerMetadata != 0 })
}

// deaf tells whether the client wants to hear nothing of messages of the selected mailbox.
func (a *awareness) deaf() bool { return a.selected != nil && a.selected.events == 0 }

// wantsMetadata tells whether changes of a mailbox's metadata are to be told; no name: of the account's own.
func (s *session) wantsMetadata(name string) bool {
	switch n := s.notification; {
	case s.client.selected == nil:
		return s.client.metadata // NOTIFY was not used
	case n == nil:
		return false
	case name == "":
		return n.wantsOfServer()
	default:
		return n.wants(&listed{name: name, subscribed: n.subscribed[name]}, eventMetadata)
	}
}

// hearsFlags tells whether it wants to hear of flags that others change.
func (a *awareness) hearsFlags() bool { return a.selected == nil || a.selected.events&eventFlags != 0 }

// expungesAtOnce tells whether EXPUNGE may be told while no command runs: RFC 5465 §6.1.
func (a *awareness) expungesAtOnce() bool {
	return a.selected != nil && a.selected.specifier != nil && !a.selected.delayed
}

// tellNew tells what the client wants to know of new messages, but for those it made itself: RFC 5465 §5.2.
func (s *session) tellNew(ctx context.Context, before *mailbox.Snapshot) error {
	if s.notification == nil || len(s.client.selected.items) == 0 {
		return nil
	}
	fresh := mailbox.UIDSet{{First: before.Box.UIDNext, Last: math.MaxUint32}}
	return s.tellItems(ctx, s.client.selected.items, fresh.Minus(s.view.own))
}

// tellItems tells items of messages of the selected mailbox, though no command asks for them.
func (s *session) tellItems(ctx context.Context, items []fetcher, uids mailbox.UIDSet) error {
	sel := s.view.positions(uids)
	if len(sel) == 0 || len(items) == 0 {
		return nil
	}
	f := &fetching{s: s, items: items}
	for _, item := range items {
		f.want |= item.wants()
	}
	return f.all(ctx, sel)
}
