package imapd

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// believer is a client that believes what it is told, and nothing else. What its numbers mean the world knows: told has its messages in
// their order.
type believer struct {
	g    *game
	n    int // which peer it is, from 1
	conn net.Conn
	r    *bufio.Reader
	tags int

	modSeqs, vanished, uidOnly, rev2 bool

	box      *modelBox // nil: none is selected
	readOnly bool
	told     []*belief
	coming   []*belief       // what is told at the beginning of the command, whatever that does then
	saved    []*modelMessage // "$"
	late     *pending        // a search that others may overtake
	waiting  *heard          // what it heard in IDLE; nil: it does not wait
	highest  int64           // up to which mod-sequence it knows everything: RFC 7162 §6
	cache    *cache          // of the mailbox it had before
}

// belief is what a client was told of a message.
type belief struct {
	m       *modelMessage
	synced  int    // which of m.was the server knew when it last looked for this client
	version int    // the first of m.was that it can be from
	known   bool   // flags were told
	flags   string // as told last
	modSeq  int64  // as told last; 0: never
}

// cache is what a client knows of a mailbox that it has not selected.
type cache struct {
	name     string
	box      *modelBox
	validity int64
	highest  int64
	whole    bool             // it has all messages that there were
	flags    map[int64]string // by UID
}

// heard is what a command was answered.
type heard struct {
	status  string
	codes   [][]datum // of OK responses, the last of the tagged one
	fetched map[*modelMessage]map[string]datum
	numbers []int64 // of SEARCH
	search  bool
	esearch []datum
	earlier []int64 // VANISHED (EARLIER)
	data    map[string]datum
	expunge bool // EXPUNGE may be told
	aware   bool // mod-sequences must be
	modSeq  int64
	asked   []*modelMessage // of FETCH: what it asked for
}

// code is a response code; nil: it was not there.
func (a *heard) code(name string) []datum {
	for _, c := range slices.Backward(a.codes) {
		if c[0].text == name {
			return c
		}
	}
	return nil
}

// view is what the server goes by when it runs a command that names messages: it tells of new ones first.
func (b *believer) view() []*belief { return slices.Concat(b.told, b.coming) }

// untold are beliefs about the first n messages that were not told yet.
func (b *believer) untold(n int) []*belief {
	more := slices.Clone(b.coming[:min(n, len(b.coming))])
	last := int64(0)
	if view := b.view(); len(view) > 0 {
		last = view[len(view)-1].m.uid
	}
	for _, m := range b.box.messages {
		if m.uid > last && len(more) < n {
			more = append(more, &belief{m: m, synced: len(m.was) - 1})
		}
	}
	return more
}

// read hears a response; ok is false after a failure.
func (b *believer) read() (raw string, words []datum, ok bool) {
	if b.g.failure != nil {
		return "", nil, false
	}
	if err := b.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		b.g.fail("%v", err)
	}
	raw, err := readResponse(b.r)
	b.g.record(b.n, 'S', raw)
	if err != nil {
		b.g.fail("the client waits for more: %v", err)
		return raw, nil, false
	}
	words, ok = parseResponse(raw)
	if !ok || len(words) < 2 {
		b.g.fail("%q is not a response", raw)
	}
	return raw, words, b.g.failure == nil
}

// hear takes an untagged response.
func (b *believer) hear(raw string, words []datum, a *heard) {
	if raw[:2] != "* " {
		b.g.fail("%q has another tag", raw)
		return
	}
	name := words[1].text
	if n := words[1].number(); n >= 0 && len(words) > 2 {
		b.hearNumbered(n, words[2].text, words, a)
		return
	}
	switch name {
	case "OK":
		if code := codeOf(raw); code != nil {
			b.hearCode(code, a)
		}
	case "VANISHED":
		b.hearVanished(words, a)
	case "SEARCH":
		a.search = true
		for _, w := range words[2:] {
			if w.list == nil {
				a.numbers = append(a.numbers, w.number())
			}
		}
	case "ESEARCH":
		a.esearch = words[2:]
	case "STATUS":
		a.data = pairs(words[3].list)
	case "FLAGS", "LIST", "CAPABILITY", "ENABLED":
	default:
		b.g.fail("%q was not expected", raw)
	}
}

// codeOf is the response code of a status response; nil: it has none.
func codeOf(raw string) []datum {
	_, text, found := strings.Cut(raw, " [")
	if !found {
		return nil
	}
	code, _, _ := strings.Cut(text, "]")
	words, _, ok := parseData(code)
	if !ok || len(words) == 0 {
		return nil
	}
	return words
}

func (b *believer) hearCode(code []datum, a *heard) {
	a.codes = append(a.codes, code)
	if code[0].text == "HIGHESTMODSEQ" && b.box != nil {
		a.modSeq = -code[1].number() // which settles it: RFC 7162 §6
	}
}

// hearNumbered takes what is about a message, or the number of messages.
func (b *believer) hearNumbered(n int64, what string, words []datum, a *heard) {
	if what == "RECENT" && n == 0 && !b.rev2 {
		return
	}
	if b.box == nil {
		b.g.fail("%d %s without a mailbox", n, what)
		return
	}
	at := int(n) - 1
	if what == "UIDFETCH" && b.uidOnly {
		at = slices.IndexFunc(b.told, func(t *belief) bool { return t.m.uid == n })
		what = "FETCH"
	} else if what == "FETCH" && b.uidOnly {
		at = -1
	}
	switch what {
	case "EXISTS":
		if more := b.untold(int(n) - len(b.told)); n < int64(len(b.told)) || len(more) != int(n)-len(b.told) {
			b.g.fail("EXISTS %d: the client knows of %d messages, and there are %d more", n, len(b.told), len(b.untold(len(b.box.messages))))
		} else {
			b.told = append(b.told, more...)
			b.coming = b.coming[min(len(more), len(b.coming)):]
		}
	case "EXPUNGE":
		switch {
		case at < 0 || at >= len(b.told), b.vanished, b.uidOnly, !a.expunge:
			b.g.fail("EXPUNGE %d, of %d messages, is not allowed here: RFC 9051 §7.5.1", n, len(b.told))
		case !b.told[at].m.gone:
			b.g.fail("EXPUNGE %d, but UID %d is there", n, b.told[at].m.uid)
		default:
			b.told = slices.Delete(b.told, at, at+1)
		}
	case "FETCH":
		if at < 0 || at >= len(b.told) || len(words) != 4 {
			b.g.fail("FETCH of %d, of %d messages", n, len(b.told))
			return
		}
		b.hearItems(b.told[at], pairs(words[3].list), a)
	default:
		b.g.fail("%d %s", n, what)
	}
}

// hearItems takes the data items of a message.
func (b *believer) hearItems(t *belief, items map[string]datum, a *heard) {
	uid, hasUID := items["UID"]
	flags, hasFlags := items["FLAGS"]
	modSeq, hasModSeq := items["MODSEQ"]
	body, hasBody := items["BODY[]"]
	size, hasSize := items["RFC822.SIZE"]
	asked := slices.Contains(a.asked, t.m)
	switch {
	case hasUID && uid.number() != t.m.uid:
		b.g.fail("the client's UID %d has UID %s", t.m.uid, uid.text)
	case hasBody && body.text != t.m.body || hasSize && size.number() != int64(len(t.m.body)):
		b.g.fail("UID %d has other octets than were appended: %q, size %s", t.m.uid, body.text, size.text)
	case hasModSeq && len(modSeq.list) != 1:
		b.g.fail("UID %d has the mod-sequence %v", t.m.uid, modSeq)
	case hasFlags && !asked && (!hasUID && !b.uidOnly || !hasModSeq && a.aware):
		b.g.fail("UID %d has new flags, without UID or mod-sequence: RFC 9051 appendix E, RFC 7162 §3.1", t.m.uid)
	case hasBody && !asked:
		b.g.fail("nobody asked for UID %d", t.m.uid)
	}
	if b.g.failure != nil {
		return
	}
	value := int64(0)
	if hasModSeq {
		value = modSeq.list[0].number()
		if !asked && a.modSeq >= 0 {
			a.modSeq = max(a.modSeq, value)
		}
	}
	if !t.hear(flagsOf(flags), hasFlags, value) {
		b.g.fail("UID %d never had (%s) and mod-sequence %d since the client was told (%s) and %d; it had %v",
			t.m.uid, flagsOf(flags), value, t.flags, t.modSeq, t.m.was)
	}
	have := a.fetched[t.m]
	if have == nil {
		have = map[string]datum{}
		a.fetched[t.m] = have
	}
	for name, d := range items {
		have[name] = d
	}
}

// hear takes flags and mod-sequence; false: the message never was like that since the client was told last.
func (t *belief) hear(flags string, hasFlags bool, modSeq int64) bool {
	if modSeq != 0 && modSeq < t.modSeq {
		return false
	}
	for v := t.version; v < len(t.m.was); v++ {
		s := t.m.was[v]
		if hasFlags && s.flags != flags || modSeq != 0 && s.modSeq != 0 && s.modSeq != modSeq {
			continue
		}
		t.version = v
		t.modSeq = max(t.modSeq, modSeq)
		if hasFlags {
			t.known, t.flags = true, flags
		}
		return true
	}
	return false
}

func (b *believer) hearVanished(words []datum, a *heard) {
	earlier := words[2].list != nil
	numbers := parseNumbers(words[len(words)-1].text)
	if numbers == nil || earlier && flagsOf(words[2]) != "earlier" {
		b.g.fail("VANISHED %v", words)
		return
	}
	if earlier {
		a.earlier = append(a.earlier, numbers...)
		return
	}
	for _, uid := range numbers {
		at := slices.IndexFunc(b.told, func(t *belief) bool { return t.m.uid == uid })
		if at < 0 || !b.told[at].m.gone || !a.expunge || !b.vanished && !b.uidOnly {
			b.g.fail("VANISHED %d is not so, or not allowed here", uid)
			return
		}
		b.told = slices.Delete(b.told, at, at+1)
	}
}

// behind says what the client does not know of its mailbox; empty: it knows all that it may.
func (b *believer) behind(expunge bool) string {
	if b.box == nil {
		return ""
	}
	if more := b.untold(1); len(more) > 0 {
		return fmt.Sprintf("UID %d was not told of by EXISTS", more[0].m.uid)
	}
	for i, t := range b.told {
		now := t.m.now()
		switch {
		case t.m.gone && expunge:
			return fmt.Sprintf("message %d, UID %d, is expunged, and the client was not told", i+1, t.m.uid)
		case t.m.gone:
		case t.known && t.flags != now.flags:
			return fmt.Sprintf("UID %d has (%s), and the client believes (%s)", t.m.uid, now.flags, t.flags)
		case b.modSeqs && t.modSeq != 0 && (t.modSeq < now.modSeq || now.modSeq == 0 && t.modSeq <= t.m.known()):
			return fmt.Sprintf("UID %d has a new mod-sequence, %d, and the client believes %d", t.m.uid, now.modSeq, t.modSeq)
		}
	}
	return ""
}

// settle is the end of a command: the client knows everything, and takes note.
func (b *believer) settle(a *heard) {
	if b.box == nil || b.g.failure != nil {
		return
	}
	if what := b.behind(a.expunge); what != "" {
		b.g.fail("%s", what)
	}
	for _, t := range b.told {
		if t.m.gone {
			continue
		}
		t.synced = len(t.m.was) - 1
		if now := t.m.now(); now.modSeq == 0 && t.modSeq > t.m.known() {
			now.modSeq = t.modSeq
		}
	}
	b.highest = max(b.highest, a.modSeq)
	if a.modSeq < 0 {
		b.highest = -a.modSeq
	}
}

// leave is what remains of a mailbox that is not selected any more.
func (b *believer) leave() {
	if b.box != nil && b.vanished {
		b.cache = &cache{name: b.box.name, box: b.box, validity: b.box.validity, highest: b.highest, whole: true, flags: map[int64]string{}}
		for _, t := range b.told {
			if t.known {
				b.cache.flags[t.m.uid] = t.flags
			}
			b.cache.whole = b.cache.whole && t.known
		}
	}
	b.box, b.told, b.coming, b.saved, b.readOnly = nil, nil, nil, nil, false
}
