package imapd

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"posthouse/imapd/wire"
	"posthouse/mailbox"
)

// metadata is METADATA: RFC 5464. Whose private entries are meant the account knows, as its user has it.
func metadata() extension {
	return extension{
		name: "METADATA", rfc: "RFC 5464",
		commands: []command{
			{name: "GETMETADATA", rfc: "RFC 5464 §4.2", in: loggedIn, beside: true, parse: parseGetMetadata},
			{name: "SETMETADATA", rfc: "RFC 5464 §4.3", in: loggedIn, parse: parseSetMetadata},
		},
		enable: func(s *session) error { // §4.4: from now on the client is told of what others change
			_, latest, err := s.account.Annotated(context.Background(), 0)
			s.client.metadata, s.client.annotated = true, latest
			return err
		},
	}
}

// listMetadata is LIST-METADATA: RFC 9590.
func listMetadata() extension {
	return extension{
		name: "LIST-METADATA", rfc: "RFC 9590", needs: "METADATA",
		lists: []listOption{{name: "METADATA", returns: func(p *parser, c *listCommand) bool {
			return p.SP() && p.List1(func() bool { return p.entry(&c.entries) })
		}}},
	}
}

// tellEntries tells the entries of a mailbox that were asked for, NIL for those it lacks: RFC 9590 §3.
func (c *listCommand) tellEntries(ctx context.Context, s *session, l *listed) error {
	if toAnnotate.check(l.at.rights) != nil {
		return nil
	}
	all, err := l.at.account.Annotations(ctx, l.box.ID, 0)
	if err != nil {
		return err
	}
	list := make([]mailbox.Annotation, len(c.entries))
	for i, name := range c.entries {
		list[i].Entry = name
		for _, a := range all {
			if a.Entry == name {
				list[i] = a
			}
		}
	}
	return s.write(func(b []byte) []byte {
		b = append(s.dialect.appendName(append(b, "* METADATA "...), l.name), ' ')
		return append(appendValues(b, list), "\r\n"...)
	})
}

// annotated is what a mailbox's name in these commands means: a mailbox, or with none the account itself.
func (s *session) annotated(ctx context.Context, raw string) (place, error) {
	if raw == "" {
		return place{account: s.account}, nil
	}
	return s.place(ctx, raw, toAnnotate)
}

// isEntry tells names of entries that clients may know, or levels above them: RFC 5464 §3.2. The server's own have others.
func isEntry(name string) bool {
	return strings.HasPrefix(name, "/private/") || strings.HasPrefix(name, "/shared/") || name == "/private" || name == "/shared"
}

// entry decodes the name of an entry.
func (p *parser) entry(entries *[]string) bool {
	var name string
	if !p.AString(&name) {
		return false
	}
	if len(*entries) >= maxEntries {
		return p.Refuse(errTooMany)
	}
	name = strings.ToLower(name)
	if !isEntry(name) {
		return p.Refuse(errEntry)
	}
	*entries = append(*entries, name)
	return true
}

type getMetadata struct {
	box     string
	entries []string
	most    int64 // octets of a value; -1: any
	depth   int   // levels below an entry; -1: all
}

// parseGetMetadata takes the options where the grammar of RFC 5464 §5 has them, before the mailbox, and where its examples have them.
func parseGetMetadata(p *parser) (runner, error) {
	c := &getMetadata{most: -1}
	option := func() bool { return p.metadataOption(c) }
	if !(p.SP() && (!p.At('(') || p.List1(option) && p.SP()) && p.AString(&c.box) && p.SP() && p.entries(c) && p.End()) {
		return nil, p.Err()
	}
	return c, nil
}

// entries decodes one entry or a list of them; a list of options may stand before.
func (p *parser) entries(c *getMetadata) bool {
	if !p.At('(') {
		return p.entry(&c.entries)
	}
	options := false
	ok := p.List1(func() bool {
		if p.At('/') || p.At('"') || p.At('{') {
			return p.entry(&c.entries)
		}
		options = true
		return p.metadataOption(c)
	})
	if ok && options && c.entries == nil {
		return p.SP() && p.entries(c)
	}
	return ok && (!options || p.Refuse(errOption))
}

func (p *parser) metadataOption(c *getMetadata) bool {
	var name string
	if !p.Label(&name) || !p.SP() {
		return false
	}
	switch name {
	case "MAXSIZE":
		return p.Number64(&c.most)
	case "DEPTH":
		var depth string
		if !p.Atom(&depth) {
			return false
		}
		depths := map[string]int{"0": 0, "1": 1, "infinity": -1}
		levels, known := depths[strings.ToLower(depth)]
		c.depth = levels
		return known || p.Refuse(errOption)
	}
	return p.Refuse(errOption)
}

func (c *getMetadata) run(ctx context.Context, s *session) (reply, error) {
	at, err := s.annotated(ctx, c.box)
	if err != nil {
		return reply{}, err
	}
	all, err := at.account.Annotations(ctx, at.ID, 0)
	if err != nil {
		return reply{}, err
	}
	var wanted []mailbox.Annotation
	longest := 0
	for _, a := range all {
		if a.Value == nil || !slices.ContainsFunc(c.entries, func(name string) bool { return below(a.Entry, name, c.depth) }) {
			continue
		}
		if c.most >= 0 && int64(len(a.Value)) > c.most {
			longest = max(longest, len(a.Value))
			continue
		}
		wanted = append(wanted, a)
	}
	if err := s.write(func(b []byte) []byte { return s.dialect.appendMetadata(b, c.box, wanted) }); err != nil || longest == 0 {
		return reply{}, err
	}
	return done("METADATA LONGENTRIES " + strconv.Itoa(longest)), nil
}

// below tells whether an entry is the one of that name, or so many levels below it at most.
func below(entry, name string, depth int) bool {
	rest, ok := strings.CutPrefix(entry, name)
	if !ok || rest == "" {
		return ok
	}
	return rest[0] == '/' && (depth < 0 || strings.Count(rest, "/") <= depth)
}

// appendMetadata tells values: RFC 5464 §4.4.1.
func (d dialect) appendMetadata(b []byte, rawName string, list []mailbox.Annotation) []byte {
	if len(list) == 0 {
		return b
	}
	b = append(wire.AppendAString(append(b, "* METADATA "...), rawName), ' ')
	b = appendValues(b, list)
	return append(b, "\r\n"...)
}

func appendValues(b []byte, list []mailbox.Annotation) []byte {
	separator := byte('(')
	for _, a := range list {
		b = append(append(b, separator), a.Entry...)
		b = append(b, ' ')
		switch {
		case a.Value == nil:
			b = append(b, "NIL"...)
		case slices.Contains(a.Value, 0): // literal8: RFC 5464 §5 value
			b = append(wire.AppendLiteral(append(b, '~'), int64(len(a.Value))), a.Value...)
		default:
			b = wire.AppendString(b, a.Value)
		}
		separator = ' '
	}
	return append(b, ')')
}

type setMetadata struct {
	box     string
	entries []string
	values  [][]byte
}

func parseSetMetadata(p *parser) (runner, error) {
	c := &setMetadata{}
	if !(p.SP() && p.AString(&c.box) && p.SP() && p.List1(func() bool { return p.entryValue(c) }) && p.End()) {
		return nil, p.Err()
	}
	return c, nil
}

// entryValue decodes an entry and its value; NIL takes it away.
func (p *parser) entryValue(c *setMetadata) bool {
	var value string
	if !p.entry(&c.entries) || !p.SP() {
		return false
	}
	if p.Word("NIL") {
		c.values = append(c.values, nil)
		return true
	}
	if !p.String(&value) && !p.String8(&value) {
		return false
	}
	c.values = append(c.values, []byte(value))
	return true
}

func (c *setMetadata) run(ctx context.Context, s *session) (reply, error) {
	at, err := s.annotated(ctx, c.box)
	if err != nil {
		return reply{}, err
	}
	changes := make([]mailbox.Mutation, len(c.entries))
	for i, entry := range c.entries {
		if len(c.values[i]) > mailbox.MaxAnnotation {
			return reply{}, errLongValue
		}
		if at.ID == 0 {
			if err := s.checkFilter(entry, c.values[i]); err != nil {
				return reply{}, err
			}
		}
		changes[i] = mailbox.SetAnnotation{Box: at.ID, Entry: entry, Value: c.values[i]}
	}
	applied, err := at.account.Apply(ctx, changes...)
	switch {
	case errors.Is(err, mailbox.ErrLimit):
		return reply{}, errManyEntries
	case errors.Is(err, mailbox.ErrBoxName):
		return reply{}, errEntry
	case err != nil:
		return reply{}, err
	}
	if at.account == s.account {
		s.client.annotated = applied.ModSeq // it is no news
	} else if n := s.notification; n != nil && n.of(at.owner) != nil {
		n.of(at.owner).annotated = applied.ModSeq
	}
	return reply{}, nil
}

// tellAnnotated tells which entries others have set or taken away, if the client wants to hear of it: RFC 5464 §4.4.2.
func (s *session) tellAnnotated(ctx context.Context) error {
	if !s.client.metadata && s.notification == nil {
		return nil
	}
	boxes, latest, err := s.account.Annotated(ctx, s.client.annotated)
	if err != nil || len(boxes) == 0 {
		return err
	}
	names := map[mailbox.BoxID]string{0: ""}
	all, err := s.account.Boxes(ctx)
	if err != nil {
		return err
	}
	for _, b := range all {
		names[b.ID] = b.Name
	}
	for _, id := range boxes {
		if !s.wantsMetadata(names[id]) {
			continue
		}
		at := place{Box: mailbox.Box{ID: id}, account: s.account}
		if err := s.tellAnnotatedSince(ctx, &at, names[id], s.client.annotated); err != nil {
			return err
		}
	}
	s.client.annotated = latest
	return nil
}

// tellAnnotatedSince tells which entries of a mailbox were set or taken away since.
func (s *session) tellAnnotatedSince(ctx context.Context, at *place, name string, since mailbox.ModSeq) error {
	list, err := at.account.Annotations(ctx, at.ID, since)
	if errors.Is(err, mailbox.ErrNoBox) {
		return nil
	}
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(a mailbox.Annotation) bool { return !isEntry(a.Entry) })
	if len(list) == 0 { // they are not for this user, or for none
		return nil
	}
	return s.write(func(b []byte) []byte {
		b = s.dialect.appendAnnotatedName(append(b, "* METADATA "...), name)
		for _, a := range list {
			b = append(append(b, ' '), a.Entry...)
		}
		return append(b, "\r\n"...)
	})
}

// appendAnnotatedName writes the name of a mailbox, or of the account itself.
func (d dialect) appendAnnotatedName(b []byte, name string) []byte {
	if name == "" {
		return append(b, `""`...)
	}
	return d.appendName(b, name)
}
