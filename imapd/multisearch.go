package imapd

import (
	"context"
	"errors"
	"slices"

	"posthouse/imapd/wire"
	"posthouse/mailbox"
)

// multiSearch is MULTISEARCH: RFC 7377.
func multiSearch() extension {
	return extension{
		name: "MULTISEARCH", rfc: "RFC 7377", needs: "ESEARCH",
		commands: []command{{name: "ESEARCH", rfc: "RFC 7377 §2", in: loggedIn, beside: true, parse: parseMultiSearch}},
	}
}

// multiSearchCommand is ESEARCH: a search in several mailboxes, whichever is selected.
type multiSearchCommand struct {
	search  searchCommand
	sources []source // none: the selected mailbox
	left    []place  // the mailboxes that are not searched yet, the selected one last
}

func parseMultiSearch(p *parser) (runner, error) {
	c := &multiSearchCommand{}
	c.search.by, c.search.multi = byUID, true
	if !(p.SP() && p.searchSources(c) && p.searchReturn(&c.search) && p.searchCharset(&c.search) && p.searchProgram(&c.search.program) && p.End()) {
		return nil, p.Err()
	}
	if c.search.results&resultSave != 0 && !c.selectedOnly() { // RFC 7377 §2.2
		return nil, errSaveSelected
	}
	return c, c.search.check()
}

// searchSources decodes the source options and the space after them, if there are any. No scope options are defined.
func (p *parser) searchSources(c *multiSearchCommand) bool {
	if !p.Word("IN") {
		return true
	}
	return p.SP() && p.List1(func() bool {
		if p.At('(') {
			return p.Refuse(errOption)
		}
		if len(c.sources) >= maxSources {
			return p.Refuse(errTooMany)
		}
		c.sources = append(c.sources, source{})
		last := &c.sources[len(c.sources)-1]
		return p.source(last) && (!last.delayed || p.Refuse(errSource)) // RFC 7377 §2.2
	}) && p.SP()
}

func (c *multiSearchCommand) selectedOnly() bool {
	return !slices.ContainsFunc(c.sources, func(s source) bool { return !s.selected })
}

func (c *multiSearchCommand) withSelected() bool {
	return c.sources == nil || slices.ContainsFunc(c.sources, func(s source) bool { return s.selected })
}

func (c *multiSearchCommand) run(ctx context.Context, s *session) (reply, error) {
	if s.view == nil && (c.withSelected() || c.search.results&resultUpdate != 0) { // RFC 7377 §2.2
		return reply{}, errState
	}
	if err := s.sync(ctx, telling{}); err != nil {
		return reply{}, err
	}
	if c.selectedOnly() {
		return c.search.find(ctx, s, c)
	}
	places, err := c.places(ctx, s)
	if err == nil {
		err = c.search.allowed(ctx, s)
	}
	for _, at := range places {
		c.search.program.progress.goal += at.Messages
	}
	if limit := int64(s.server.opts.Limits.CommandMessages); err == nil && limit > 0 && c.search.program.progress.goal > limit {
		err = errManyMessages
	}
	if err != nil {
		return reply{}, err
	}
	c.left = places
	r, err := c.next(ctx, s)
	if n := len(places); err == nil && c.search.results&resultUpdate != 0 && (n == 0 || !s.selectedIs(&places[n-1])) {
		err = s.refuseUpdate() // updates are for the selected mailbox, which was not searched
	}
	return r, err
}

// next searches the mailboxes that are left, one after the other. If bodies of one are to be read, the others come after that.
func (c *multiSearchCommand) next(ctx context.Context, s *session) (r reply, err error) {
	for len(c.left) > 0 && err == nil && s.left == nil {
		at := c.left[0]
		c.left = c.left[1:]
		r, err = c.searchIn(ctx, s, at)
	}
	if e := s.left; e != nil {
		tell := e.tell
		e.tell = func(ctx context.Context) (reply, error) {
			if r, err := tell(ctx); err != nil {
				return r, err
			}
			return c.next(ctx, s)
		}
	}
	return r, err
}

// places are the mailboxes to search, the selected one last. Too many are refused as a whole (RFC 7377 §2.4): a part of them would look
// like all.
func (c *multiSearchCommand) places(ctx context.Context, s *session) ([]place, error) {
	places, err := s.places(ctx, c.sources)
	if err != nil {
		return nil, err
	}
	selected := c.withSelected()
	places = slices.DeleteFunc(places, func(at place) bool {
		is := s.selectedIs(&at)
		selected = selected || is
		return is
	})
	if selected {
		places = append(places, place{Box: s.view.told.Box, account: s.view.account, owner: s.view.owner})
	}
	if len(places) > maxSearched {
		return nil, errManyMailboxes
	}
	return places, nil
}

// selectedIs tells whether the mailbox is the selected one.
func (s *session) selectedIs(at *place) bool {
	return s.view != nil && s.view.box == at.ID && s.view.owner == at.owner
}

// searchIn searches one mailbox: the selected one as the client knows it, others as they stand.
func (c *multiSearchCommand) searchIn(ctx context.Context, s *session, at place) (reply, error) {
	v := s.view
	if !s.selectedIs(&at) {
		if at.Messages == 0 {
			return reply{}, nil
		}
		now, err := at.account.Snapshot(ctx, at.ID)
		if errors.Is(err, mailbox.ErrNoBox) { // it was deleted meanwhile
			return reply{}, nil
		}
		if err != nil {
			return reply{}, err
		}
		if at.prefix != "" && toRead.check(now.Box.RightsOf(s.who.ID)) != nil { // or may not be read any more
			return reply{}, nil
		}
		v = newView(&at, now, &s.client)
	}
	c.search.program.lasts = v == s.view && c.search.results&resultUpdate != 0
	return c.search.in(ctx, s, v, c)
}

func (c *multiSearchCommand) arrange(ctx context.Context, v *view, found selection) error {
	return c.search.arrange(ctx, v, found)
}

func (c *multiSearchCommand) tagless(dialect) bool { return false }

// tell answers for one mailbox, if there is anything to tell: RFC 7377 §2.1.
func (c *multiSearchCommand) tell(s *session, v *view) (reply, error) {
	found := c.search.found
	err := c.search.save(v, c.search.saved(found))
	if err == nil && len(found) > 0 {
		err = s.write(func(b []byte) []byte { return c.search.appendResponse(b, s, v, found) })
	}
	if err == nil && v == s.view {
		err = c.search.keepUpdated(s, found, nil)
	}
	if err != nil {
		return reply{}, err
	}
	return s.upTo(c.search.program.lowest, reply{})
}

// appendMailbox tells which mailbox a response is about: RFC 7377 §4 one-correlator.
func (d dialect) appendMailbox(b []byte, v *view) []byte {
	b = d.appendName(append(b, " MAILBOX "...), v.name())
	return wire.AppendNumber(append(b, " UIDVALIDITY "...), v.told.Box.UIDValidity)
}
