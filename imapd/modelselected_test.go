package imapd

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// selectCommand selects, with QRESYNC if the client knows something of the mailbox.
func (b *believer) selectCommand(r *rand.Rand) *modelCommand {
	verb, name, params := pick(r, []string{"SELECT", "SELECT", "EXAMINE"}), pick(r, modelNames), ""
	known := b.cache
	if !b.vanished || b.box != nil || r.IntN(5) == 0 || known != nil && known.highest == 0 {
		known = nil
	}
	set := "" // of messages it knows; empty: all there were
	if known != nil {
		name = known.name
		if uids := known.uids(); !known.whole || r.IntN(2) == 0 {
			set = " " + string(appendList(uids))
			if len(uids) == 0 {
				known = nil
			}
		}
		if known != nil {
			params = fmt.Sprintf(" (QRESYNC (%d %d%s))", known.validity, known.highest, set)
		}
	} else if r.IntN(6) == 0 {
		params = " (CONDSTORE)"
	}
	return &modelCommand{text: verb + " " + name + params, begin: func(a *heard) func() {
		b.leave()
		box := b.g.world.boxes[name]
		if box == nil {
			return b.expect(a, "NO")
		}
		b.box, b.readOnly, b.highest = box, verb == "EXAMINE", 0
		b.modSeqs = b.modSeqs || params != ""
		if known != nil && known.box == box {
			return func() { b.selected(a, known, set == "") }
		}
		return func() { b.selected(a, nil, false) }
	}}
}

func (c *cache) uids() (uids []int64) {
	for uid := range c.flags {
		uids = append(uids, uid)
	}
	slices.Sort(uids)
	return uids
}

func appendList(numbers []int64) (b []byte) {
	for i, n := range numbers {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Append(b, n)
	}
	return b
}

// selected checks the answer to SELECT. Who knew the mailbox knows it again as it is now, and if all was to be told, new messages too:
// RFC 7162 §3.2.5.
func (b *believer) selected(a *heard, known *cache, all bool) {
	if b.expect(a, "OK")(); b.g.failure != nil {
		return
	}
	for name, want := range map[string]int64{"UIDNEXT": b.box.uidNext, "UIDVALIDITY": b.box.validity} {
		code := a.code(name)
		if len(code) != 2 || want != 0 && code[1].number() != want {
			b.g.fail("%s should be %d", name, want)
			return
		}
		if name == "UIDVALIDITY" {
			b.learnValidity(b.box, code[1].number())
		}
	}
	if code := a.code("HIGHESTMODSEQ"); len(code) != 2 {
		b.g.fail("there is no HIGHESTMODSEQ")
	}
	if mode := a.codes[len(a.codes)-1][0].text; mode != "READ-WRITE" && !b.readOnly || mode != "READ-ONLY" && b.readOnly {
		b.g.fail("the mailbox is %s", mode)
	}
	if known == nil {
		return
	}
	there := map[int64]bool{}
	for _, t := range b.told {
		there[t.m.uid] = true
		old, knew := known.flags[t.m.uid]
		if knew && !t.known {
			t.known, t.flags = true, old
		}
		if slices.Contains(a.earlier, t.m.uid) {
			b.g.fail("VANISHED (EARLIER) of UID %d, which is there", t.m.uid)
		}
		if t.known && t.flags != t.m.now().flags || !t.known && all {
			b.g.fail("UID %d has (%s), and the client believes (%s)", t.m.uid, t.m.now().flags, t.flags)
		}
	}
	for _, uid := range known.uids() {
		if !there[uid] && !slices.Contains(a.earlier, uid) {
			b.g.fail("UID %d has vanished, and the client was not told", uid)
		}
	}
}

func (b *believer) unselect(r *rand.Rand) *modelCommand {
	text := pick(r, []string{"CLOSE", "UNSELECT"})
	return &modelCommand{text: text, selected: true, begin: func(a *heard) func() {
		box, expunges := b.box, text == "CLOSE" && !b.readOnly
		b.leave()
		if expunges {
			box.remove(func(m *modelMessage) bool { return hasFlag(m.now().flags, `\deleted`) })
		}
		return b.expect(a, "OK")
	}}
}

func (b *believer) store(r *rand.Rand) *modelCommand {
	set, op, silent := b.pickNumbers(r), pick(r, []string{"+", "+", "-", ""}), r.IntN(3) == 0
	var words []string
	for range r.IntN(3) {
		words = append(words, pick(r, modelFlags))
	}
	since, modifier, suffix := int64(-1), "", ""
	if r.IntN(5) == 0 {
		since = b.anyModSeq(r)
		modifier = fmt.Sprintf(" (UNCHANGEDSINCE %d)", since)
	}
	if silent {
		suffix = ".SILENT"
	}
	flags := canonical(words)
	c := &modelCommand{selected: true, syncs: true, numbered: !set.byUID, quiet: !set.byUID}
	c.text = fmt.Sprintf("%sSTORE %s%s %sFLAGS%s (%s)", set.prefix(), set, modifier, op, suffix, strings.Join(words, " "))
	c.begin = func(a *heard) func() {
		found, ok := b.find(set, b.view())
		if b.readOnly {
			return b.expect(a, "NO")
		}
		if !ok {
			return b.expect(a, "BAD")
		}
		b.modSeqs = b.modSeqs || since >= 0 && len(found) > 0
		var modified, stored []*belief
		for _, t := range found {
			now := t.m.now()
			switch {
			case since == 0, since > 0 && !t.m.gone && (now.modSeq == 0 || now.modSeq > since):
				modified = append(modified, t)
				continue
			case since > 0 && t.m.gone:
				continue
			}
			stored = append(stored, t)
			if silent && t.known {
				t.flags = changeFlags(t.flags, op, flags) // the client knows what it does
			}
			if !t.m.gone {
				t.m.set(changeFlags(now.flags, op, flags))
			}
		}
		return func() { b.stored(a, set, messagesOf(stored), messagesOf(modified), silent) }
	}
	return c
}

// anyModSeq is one that the client may name.
func (b *believer) anyModSeq(r *rand.Rand) int64 {
	if r.IntN(6) == 0 {
		return 0
	}
	return max(1, b.g.world.floor-int64(r.IntN(8)))
}

func changeFlags(old, op, flags string) string {
	have, change := strings.Fields(old), strings.Fields(flags)
	switch op {
	case "+":
		return canonical(append(have, change...))
	case "-":
		return canonical(slices.DeleteFunc(have, func(f string) bool { return slices.Contains(change, f) }))
	}
	return flags
}

// stored checks the answer to STORE.
func (b *believer) stored(a *heard, set numbers, stored, modified []*modelMessage, silent bool) {
	if b.expect(a, "OK")(); b.g.failure != nil {
		return
	}
	for _, m := range stored {
		if _, told := a.fetched[m]["FLAGS"]; !told && !silent {
			b.g.fail("the flags of UID %d are not told", m.uid)
		}
	}
	code := a.code("MODIFIED")
	if (len(modified) == 0) != (code == nil) {
		b.g.fail("MODIFIED %v, and it should name %v", code, uidsOf(modified))
	}
	if len(modified) > 0 && set.byUID && !slices.Equal(parseNumbers(code[1].text), uidsOf(modified)) {
		b.g.fail("MODIFIED %v, and it should be %v", code, uidsOf(modified))
	}
}

// learn fetches the flags of all messages, as clients do.
func (b *believer) learn(*rand.Rand) *modelCommand {
	items := []string{"FLAGS"}
	if b.modSeqs {
		items = append(items, "MODSEQ")
	}
	return b.fetchOf(numbers{byUID: true, ranges: [][2]int64{{1, 0}}}, items, -1)
}

func (b *believer) fetch(r *rand.Rand) *modelCommand {
	var items []string
	for _, item := range []string{"FLAGS", "UID", "MODSEQ", "RFC822.SIZE", "BODY[]", "BODY.PEEK[]"} {
		if r.IntN(4) == 0 && !(item == "BODY.PEEK[]" && slices.Contains(items, "BODY[]")) {
			items = append(items, item)
		}
	}
	if items == nil {
		items = []string{"FLAGS"}
	}
	since := int64(-1)
	if r.IntN(6) == 0 {
		since = b.anyModSeq(r)
	}
	return b.fetchOf(b.pickNumbers(r), items, since)
}

func (b *believer) fetchOf(set numbers, items []string, since int64) *modelCommand {
	c := &modelCommand{selected: true, syncs: true, numbered: !set.byUID, quiet: !set.byUID, beside: true}
	c.text = fmt.Sprintf("%sFETCH %s (%s)", set.prefix(), set, strings.Join(items, " "))
	if since >= 0 {
		c.text += fmt.Sprintf(" (CHANGEDSINCE %d)", since)
	}
	c.begin = func(a *heard) func() {
		found, ok := b.find(set, b.view())
		if !ok {
			return b.expect(a, "BAD")
		}
		b.modSeqs = b.modSeqs || since >= 0 || slices.Contains(items, "MODSEQ")
		gone := false
		for _, t := range found {
			if s := t.m.was[t.synced]; since >= 0 && (t.m.gone && s.modSeq <= since || !t.m.gone && t.m.now().modSeq != 0 && t.m.now().modSeq <= since) {
				continue
			}
			gone = gone || t.m.gone
			a.asked = append(a.asked, t.m)
			if slices.Contains(items, "BODY[]") && !b.readOnly && !t.m.gone {
				t.m.set(changeFlags(t.m.now().flags, "+", `\seen`))
			}
		}
		reads := slices.Contains(items, "BODY[]") || slices.Contains(items, "BODY.PEEK[]")
		return func() { b.fetched(a, items, reads && gone) }
	}
	return c
}

// fetched checks the answer to FETCH: what is expunged may have lost its octets, and nothing else.
func (b *believer) fetched(a *heard, items []string, maybe bool) {
	statuses := []string{"OK"}
	if maybe {
		statuses = append(statuses, "NO")
	}
	if b.expect(a, statuses...)(); b.g.failure != nil {
		return
	}
	for _, m := range a.asked {
		for _, item := range items {
			name := strings.Replace(item, ".PEEK", "", 1)
			_, told := a.fetched[m][name]
			if !told && !(maybe && m.gone) && !(b.uidOnly && name == "UID") {
				b.g.fail("%s of UID %d is not told", name, m.uid)
			}
		}
	}
}

func (b *believer) copyOrMove(r *rand.Rand) *modelCommand {
	set, name, verb := b.pickNumbers(r), pick(r, modelNames), pick(r, []string{"COPY", "MOVE"})
	c := &modelCommand{text: fmt.Sprintf("%s%s %s %s", set.prefix(), verb, set, name), selected: true, syncs: true, numbered: !set.byUID}
	c.begin = func(a *heard) func() {
		found, ok := b.find(set, b.view())
		to := b.g.world.boxes[name]
		switch {
		case verb == "MOVE" && b.readOnly:
			return b.expect(a, "NO")
		case !ok:
			return b.expect(a, "BAD")
		case to == nil:
			return b.expect(a, "NO")
		case len(found) == 0:
			return b.expect(a, "OK")
		}
		sources, made := b.box.transfer(messagesOf(found), to, verb == "MOVE")
		if len(sources) == 0 {
			return b.expect(a, "NO")
		}
		return b.expectUIDs(a, to, sources, made)
	}
	return c
}

func (b *believer) expunge(r *rand.Rand) *modelCommand {
	set, all := b.pickNumbers(r), r.IntN(2) == 0
	set.byUID = true
	c := &modelCommand{text: "EXPUNGE", selected: true}
	if !all {
		c.text = "UID EXPUNGE " + set.String()
	}
	c.begin = func(a *heard) func() {
		if b.readOnly {
			return b.expect(a, "NO")
		}
		found, _ := b.find(set, b.told)
		named := messagesOf(found)
		n := b.box.remove(func(m *modelMessage) bool {
			return hasFlag(m.now().flags, `\deleted`) && (all || slices.Contains(named, m))
		})
		return func() {
			if b.expect(a, "OK")(); n > 0 && b.vanished && a.code("HIGHESTMODSEQ") == nil {
				b.g.fail("HIGHESTMODSEQ is missing: RFC 7162 §3.2.7")
			}
		}
	}
	return c
}
