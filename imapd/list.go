package imapd

import (
	"context"

	"posthouse/mailbox"
)

// listOption is an option of LIST: RFC 5258 §3.
type listOption struct {
	name    string
	selects func(*listCommand)               // nil: it selects nothing
	returns func(*parser, *listCommand) bool // nil: it returns nothing
}

func (o listOption) label() string { return o.name }

// listCommand is LIST.
type listCommand struct {
	reference string
	patterns  []string
	extended  bool // the syntax of RFC 5258

	criteria   []func(*listed) bool // the selection options: a name must meet all
	subscribed bool                 // SUBSCRIBED is one of them
	recursive  bool                 // RECURSIVEMATCH
	returns    attributes
	status     []statusItem
	entries    []string // of METADATA
	rights     bool     // MYRIGHTS
}

// attributes are the return options beside STATUS.
type attributes uint8

const (
	withSubscribed attributes = 1 << iota
	withSpecialUse
	withAccess // of those that may not be read it is said
)

// children is always returned with LIST: RFC 3348 §3.
func children() extension {
	return extension{
		name: "CHILDREN", rfc: "RFC 3348",
		lists: []listOption{{name: "CHILDREN", returns: func(*parser, *listCommand) bool { return true }}},
	}
}

// listExtended is RFC 5258; IMAP4rev2 has it with one pattern at a time. There are no remote mailboxes.
func listExtended() extension {
	return extension{
		name: "LIST-EXTENDED", rfc: "RFC 5258",
		lists: []listOption{
			{
				name: "SUBSCRIBED",
				selects: func(c *listCommand) {
					c.subscribed = true
					c.selectBy(withSubscribed, func(l *listed) bool { return l.subscribed })
				},
				returns: func(_ *parser, c *listCommand) bool { c.returns |= withSubscribed; return true },
			},
			{name: "REMOTE", selects: func(*listCommand) {}},
			{name: "RECURSIVEMATCH", selects: func(c *listCommand) { c.recursive = true }},
		},
	}
}

func listStatus() extension {
	return extension{
		name: "LIST-STATUS", rfc: "RFC 5819",
		lists: []listOption{{
			name:    "STATUS",
			returns: func(p *parser, c *listCommand) bool { return p.SP() && p.statusItems(&c.status) },
		}},
	}
}

func specialUse() extension {
	return extension{
		name: "SPECIAL-USE", rfc: "RFC 6154",
		lists: []listOption{{
			name: "SPECIAL-USE",
			selects: func(c *listCommand) {
				c.selectBy(withSpecialUse, func(l *listed) bool { return l.box != nil && l.box.Special != "" })
			},
			returns: func(_ *parser, c *listCommand) bool { c.returns |= withSpecialUse; return true },
		}},
	}
}

// selectBy adds a criterion, which implies the return option of the same name: RFC 5258 §3.1, RFC 6154 §2.
func (c *listCommand) selectBy(attribute attributes, met func(*listed) bool) {
	c.criteria = append(c.criteria, met)
	c.returns |= attribute
}

func parseList(p *parser) (runner, error) {
	c := &listCommand{}
	if !(p.SP() && p.listSelection(c) && p.AString(&c.reference) && p.SP() && p.listPatterns(c) && p.listReturn(c) && p.End()) {
		return nil, p.Err()
	}
	if c.recursive && !c.subscribed { // RFC 9051 §6.3.9.1: it needs a selection option that is not independent.
		return nil, errRecursive
	}
	if !c.extended { // RFC 6154 §2: "MAY include".
		c.returns |= withSpecialUse
	}
	return c, nil
}

// listSelection decodes the selection options and the space after them, if there are any.
func (p *parser) listSelection(c *listCommand) bool {
	if !p.At('(') {
		return true
	}
	c.extended = true
	return p.List(func() bool {
		var name string
		if !p.Label(&name) {
			return false
		}
		option, known := p.table.lists[name]
		if !known || option.selects == nil {
			return p.Refuse(errOption)
		}
		option.selects(c)
		return true
	}) && p.SP()
}

func (p *parser) listPatterns(c *listCommand) bool {
	pattern := func() bool {
		if len(c.patterns) >= maxPatterns {
			return p.Refuse(errTooMany)
		}
		c.patterns = append(c.patterns, "")
		return p.ListMailbox(&c.patterns[len(c.patterns)-1])
	}
	if !p.At('(') {
		return pattern()
	}
	c.extended = true
	return p.List1(pattern)
}

func (p *parser) listReturn(c *listCommand) bool {
	if p.AtEnd() {
		return true
	}
	c.extended = true
	return p.SP() && p.Word("RETURN") && p.SP() && p.List(func() bool {
		var name string
		if !p.Label(&name) {
			return false
		}
		option, known := p.table.lists[name]
		if !known || option.returns == nil {
			return p.Refuse(errOption)
		}
		return option.returns(p, c)
	})
}

func (c *listCommand) run(ctx context.Context, s *session) (reply, error) {
	if !c.extended && c.patterns[0] == "" { // The separator is asked for: RFC 9051 §6.3.9.
		return reply{}, s.out.WriteString(`* LIST (\Noselect) "` + mailbox.Separator + `" ""` + "\r\n")
	}
	patterns := s.dialect.patterns(c.reference, c.patterns)
	names, err := s.names(ctx, patterns)
	if err != nil {
		return reply{}, err
	}
	c.mark(names, patterns)
	for _, l := range names {
		if !l.matches || !l.selected && !l.childInfo {
			continue
		}
		err := s.write(func(b []byte) []byte { return c.append(b, s.dialect, l) })
		if err == nil && c.entries != nil && l.selected && l.box != nil {
			err = c.tellEntries(ctx, s, l)
		}
		if err != nil {
			return reply{}, err
		}
	}
	return reply{}, ctx.Err()
}

// mark decides which names are returned: RFC 9051 §6.3.9.3, §6.3.9.6.
func (c *listCommand) mark(names []*listed, patterns []string) {
	for _, l := range names {
		l.matches = matchAny(patterns, l.name)
		l.selected = c.selects(l)
	}
	if !c.recursive {
		return
	}
	for _, l := range names {
		for above := l.parent; l.selected && above != nil; above = above.parent {
			if above.selected || !l.matches { // "servers SHOULD suppress redundant CHILDINFO responses"
				above.childInfo = true
			}
		}
	}
}

func (c *listCommand) selects(l *listed) bool {
	for _, met := range c.criteria {
		if !met(l) {
			return false
		}
	}
	return len(c.criteria) > 0 || l.box != nil || l.hasChildren
}

// append writes the responses about a name: RFC 9051 §7.3.1.
func (c *listCommand) append(b []byte, d dialect, l *listed) []byte {
	b = append(b, "* LIST ("...)
	b = l.appendAttributes(b, c.extended, c.returns)
	b = append(b, `) "`+mailbox.Separator+`" `...)
	b = d.appendName(b, l.name)
	if l.childInfo {
		b = append(b, ` ("CHILDINFO" ("SUBSCRIBED"))`...)
	}
	b = append(b, "\r\n"...)
	if !l.selected || l.box == nil || l.box.NoSelect {
		return b
	}
	if c.status != nil && toRead.check(l.at.rights) == nil { // RFC 5819 §2
		b = d.appendStatus(b, l.box, c.status)
	}
	if c.rights { // RFC 8440 §3
		b = d.appendMyRights(b, l.name, l.at.rights)
	}
	return b
}
