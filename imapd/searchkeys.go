package imapd

import (
	"bytes"
	"math"
	netmail "net/mail"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"

	"posthouse/imapd/wire"
	"posthouse/mail/mime"
	"posthouse/mailbox"
)

// answer is whether a message matches, as far as what is known of it tells.
type answer int8

const (
	nope answer = iota
	maybe
	yes
)

func answerTo(b bool) answer {
	if b {
		return yes
	}
	return nope
}

// matcher is a search key.
type matcher func(*candidate) answer

// candidate is a message that may match.
type candidate struct {
	pos     int
	message *mailbox.Message
	texts   *mime.Texts // nil: not known yet, or too long
	header  []byte      // nil: not known yet
	found   []bool      // by needle, whether it is in the body; nil: not known yet
}

// searchKey is a search key by its name.
type searchKey struct {
	name  string
	parse func(*parser, *program) (matcher, bool)
}

func (k searchKey) label() string { return k.name }

// searchKeys are those of RFC 9051 §6.4.4 and RFC 3501 §6.4.4.
func searchKeys() []searchKey {
	keys := []searchKey{
		constant("ALL", yes),
		constant("NEW", nope), constant("RECENT", nope), constant("OLD", yes), // no message is recent
		{"KEYWORD", keywordKey(true)}, {"UNKEYWORD", keywordKey(false)},
		{"UID", func(p *parser, g *program) (matcher, bool) {
			if !p.SP() {
				return nil, false
			}
			return p.setKey(g, byUID)
		}},
		sizeKey("LARGER", func(size, n int64) bool { return size > n }),
		sizeKey("SMALLER", func(size, n int64) bool { return size < n }),
		{"NOT", parseNot}, {"OR", parseOr},
		{"HEADER", parseHeaderKey},
		fieldKey("BCC"), fieldKey("CC"), fieldKey("FROM"), fieldKey("SUBJECT"), fieldKey("TO"),
		textKey("BODY", false), textKey("TEXT", true),
	}
	for i, flag := range systemFlags {
		name := strings.ToUpper(strings.TrimPrefix(string(flag), `\`))
		keys = append(keys, flagKey(name, 1<<i, 1<<i), flagKey("UN"+name, 1<<i, 0))
	}
	for name, holds := range map[string]func(day, of int64) bool{
		"BEFORE": func(day, of int64) bool { return day < of },
		"ON":     func(day, of int64) bool { return day == of },
		"SINCE":  func(day, of int64) bool { return day >= of },
	} {
		keys = append(keys, internalDateKey(name, holds), sentDateKey("SENT"+name, holds))
	}
	return keys
}

// searchProgram decodes one or more keys, all of which must hold.
func (p *parser) searchProgram(g *program) bool {
	var all []matcher
	for {
		m, ok := p.searchKey(g)
		if !ok {
			return false
		}
		all = append(all, m)
		if p.AtEnd() {
			g.matches = and(all)
			return true
		}
		if !p.SP() {
			return false
		}
	}
}

// searchKey decodes one key.
func (p *parser) searchKey(g *program) (m matcher, ok bool) {
	if g.keys++; g.keys > maxSearchKeys {
		return nil, p.Refuse(errTooMany)
	}
	ok = p.Depth(func() bool {
		switch {
		case p.At('('):
			m, ok = p.allKeys(g)
		case p.At('*') || p.At('$') || p.AtDigit():
			m, ok = p.setKey(g, bySequence)
		default:
			m, ok = p.namedKey(g)
		}
		return ok
	})
	return m, ok
}

func (p *parser) namedKey(g *program) (matcher, bool) {
	var name string
	if !p.Label(&name) {
		return nil, false
	}
	key, known := p.table.search[name]
	if !known {
		return nil, p.Refuse(errKey)
	}
	return key.parse(p, g)
}

func (p *parser) allKeys(g *program) (matcher, bool) {
	var all []matcher
	ok := p.List1(func() bool {
		m, ok := p.searchKey(g)
		all = append(all, m)
		return ok
	})
	return and(all), ok
}

func and(all []matcher) matcher {
	if len(all) == 1 {
		return all[0]
	}
	return func(c *candidate) answer {
		least := yes
		for _, m := range all {
			if least = min(least, m(c)); least == nope {
				break
			}
		}
		return least
	}
}

func parseNot(p *parser, g *program) (matcher, bool) {
	if !p.SP() {
		return nil, false
	}
	outer := len(g.scopes)
	m, ok := p.searchKey(g)
	g.scopes = g.scopes[:outer]
	return func(c *candidate) answer { return yes - m(c) }, ok
}

func parseOr(p *parser, g *program) (matcher, bool) {
	if !p.SP() {
		return nil, false
	}
	outer := len(g.scopes)
	a, ok := p.searchKey(g)
	if !ok || !p.SP() {
		return nil, false
	}
	b, ok := p.searchKey(g)
	g.scopes = g.scopes[:outer]
	return func(c *candidate) answer {
		if left := a(c); left != yes {
			return max(left, b(c))
		}
		return yes
	}, ok
}

func constant(name string, a answer) searchKey {
	return searchKey{name, func(*parser, *program) (matcher, bool) { return func(*candidate) answer { return a }, true }}
}

func flagKey(name string, mask, want mailbox.Flags) searchKey {
	return searchKey{name, func(_ *parser, g *program) (matcher, bool) {
		g.varies = true
		return func(c *candidate) answer { return answerTo(c.message.Flags&mask == want) }, true
	}}
}

func keywordKey(want bool) func(*parser, *program) (matcher, bool) {
	return func(p *parser, g *program) (matcher, bool) {
		var flag imap.Flag
		if !p.SP() || !p.Flag(&flag) {
			return nil, false
		}
		var bit mailbox.Flags
		g.varies = true
		g.prepare = append(g.prepare, func(v *view) error {
			bit = keywordBit(string(flag), v.told.Keywords)
			return nil
		})
		return func(c *candidate) answer { return answerTo((c.message.Flags&bit != 0) == want) }, true
	}
}

// setKey is a set of messages.
func (p *parser) setKey(g *program, by numbering) (matcher, bool) {
	var set wire.Set
	if !p.Set(&set) {
		return nil, false
	}
	sel := g.scope()
	var meant mailbox.UIDSet // by a program that lasts
	g.prepare = append(g.prepare, func(v *view) error {
		if by == bySequence && !set.Saved && v.client.uidOnly {
			return errUIDRequired
		}
		if g.lasts && meant != nil {
			*sel = v.positions(meant)
			return nil
		}
		*sel, _ = v.present(set, by) // that not all are there is no error: RFC 7377 §2
		if g.lasts {
			meant = v.meant(set, by, *sel)
		}
		return nil
	})
	return func(c *candidate) answer { return answerTo(sel.has(c.pos)) }, true
}

// meant are the UIDs of a set that names the messages of a selection now: sequence numbers, "$" and "*" mean the messages that they name
// when the command is received (RFC 5267 §4.3), and UIDs those of messages to come too. It is not nil.
func (v *view) meant(set wire.Set, by numbering, sel selection) mailbox.UIDSet {
	ranges := slices.Concat(mailbox.UIDSet{}, v.uids(sel))
	for _, r := range set.Ranges {
		if by == bySequence || r.First == wire.Star {
			continue
		}
		if r.Last == wire.Star {
			r.Last = math.MaxUint32
		}
		ranges = append(ranges, mailbox.UIDRange{First: mailbox.UID(r.First), Last: mailbox.UID(r.Last)})
	}
	return slices.Concat(mailbox.UIDSet{}, mailbox.NewUIDSet(ranges...))
}

func sizeKey(name string, holds func(size, n int64) bool) searchKey {
	return searchKey{name, func(p *parser, _ *program) (matcher, bool) {
		var n int64
		if !p.SP() || !p.Number64(&n) {
			return nil, false
		}
		return func(c *candidate) answer { return answerTo(holds(c.message.Size, n)) }, true
	}}
}

const secondsPerDay = 24 * 60 * 60

// dayOf is the number of a day since 1970.
func dayOf(seconds int64) int64 {
	day := seconds / secondsPerDay
	if seconds%secondsPerDay < 0 {
		day--
	}
	return day
}

// internalDateKey compares days "disregarding time and timezone": the day is that of the zone it was given in.
func internalDateKey(name string, holds func(day, of int64) bool) searchKey {
	return searchKey{name, func(p *parser, _ *program) (matcher, bool) {
		var t time.Time
		if !p.SP() || !p.Date(&t) {
			return nil, false
		}
		of := dayOf(t.Unix())
		return func(c *candidate) answer {
			return answerTo(holds(dayOf(c.message.Internal+int64(c.message.Zone)*60), of))
		}, true
	}}
}

// sentDateKey compares with the Date field; a message without a date that can be read does not match.
func sentDateKey(name string, holds func(day, of int64) bool) searchKey {
	return searchKey{name, func(p *parser, g *program) (matcher, bool) {
		var t time.Time
		if !p.SP() || !p.Date(&t) {
			return nil, false
		}
		of := dayOf(t.Unix())
		return g.header("DATE", func(value []byte) bool {
			sent, err := netmail.ParseDate(string(mime.AppendUnfolded(nil, value)))
			_, zone := sent.Zone()
			return err == nil && holds(dayOf(sent.Unix()+int64(zone)), of)
		}), true
	}}
}

// header is a key that holds if a field of that name does.
func (g *program) header(name string, holds func(value []byte) bool) matcher {
	g.want |= mailbox.WantHeader
	return inHeader(name, holds)
}

// inHeader is header for what knows itself what it needs.
func inHeader(name string, holds func(value []byte) bool) matcher {
	wanted := []byte(name)
	return func(c *candidate) answer {
		if c.header == nil {
			return maybe
		}
		for field := range mime.Fields(c.header) {
			if bytes.EqualFold(field.Name, wanted) && holds(field.Value) {
				return yes
			}
		}
		return nope
	}
}

func (g *program) fieldContains(name, text string) matcher {
	exact := g.suspectingField(name, text, g.exactField(name, text))
	if place, known := mailbox.FieldPlace(name); known && text != "" {
		return g.ranked(place, text, exact)
	}
	return exact
}

func (g *program) exactField(name, text string) matcher {
	in := headerContains(name, text)
	if !mime.HasText(name) {
		g.want |= mailbox.WantHeader
		return in
	}
	g.want |= mailbox.WantTexts
	folded := mime.Collate(text)
	return func(c *candidate) answer {
		if c.texts != nil {
			return answerTo(c.texts.Contain(name, folded))
		}
		return in(c)
	}
}

func headerContains(name, text string) matcher {
	folded := fold(nil, []byte(text))
	var decoded, lower []byte
	return inHeader(name, func(value []byte) bool {
		decoded = mime.AppendDecoded(decoded[:0], value)
		lower = fold(lower[:0], decoded)
		return bytes.Contains(lower, folded)
	})
}

func fieldKey(name string) searchKey {
	return searchKey{name, func(p *parser, g *program) (matcher, bool) {
		var text string
		if !p.SP() || !p.searchString(g, &text) {
			return nil, false
		}
		return g.fieldContains(name, text), true
	}}
}

func parseHeaderKey(p *parser, g *program) (matcher, bool) {
	var name, text string
	if !(p.SP() && p.AString(&name) && p.SP() && p.searchString(g, &text)) {
		return nil, false
	}
	return g.fieldContains(name, text), true
}

// searchString decodes a string to look for.
func (p *parser) searchString(g *program, s *string) bool {
	if !p.AString(s) {
		return false
	}
	g.invalid = g.invalid || !utf8.ValidString(*s)
	return true
}

// textKey looks in the message's text, inHeader also in its header.
func textKey(name string, inHeader bool) searchKey {
	return searchKey{name, func(p *parser, g *program) (matcher, bool) {
		var text string
		if !p.SP() || !p.searchString(g, &text) {
			return nil, false
		}
		if text == "" {
			return func(*candidate) answer { return yes }, true
		}
		if len(g.needles) >= maxSearchStrings {
			return nil, p.Refuse(errTooMany)
		}
		at := len(g.needles)
		g.needles = append(g.needles, needle{fold(nil, []byte(text)), inHeader})
		place := mailbox.InText
		if inHeader {
			place = mailbox.Anywhere
		}
		return g.ranked(place, text, g.suspecting(text, func(c *candidate) answer {
			if c.found == nil {
				return maybe
			}
			return answerTo(c.found[at])
		})), true
	}}
}
