package imapd

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// modelKey is a search key: its text, and whether a message matches.
type modelKey struct {
	text    string
	numbers bool // it names messages by their numbers
	modSeqs bool
	bodies  bool
	sets    []numbers
	matches func(t *belief, sets map[string][]*belief) answer
}

// flags are those by which the server judges a message.
func (t *belief) flagsNow() string {
	if t.m.gone {
		return t.m.was[t.synced].flags
	}
	return t.m.now().flags
}

func (b *believer) pickKey(r *rand.Rand, depth int) modelKey {
	flagKeys := map[string]string{"SEEN": `\seen`, "DELETED": `\deleted`, "FLAGGED": `\flagged`, "ANSWERED": `\answered`, "KEYWORD WORK": "work", "KEYWORD home": "home"}
	names := []string{"SEEN", "DELETED", "FLAGGED", "ANSWERED", "KEYWORD WORK", "KEYWORD home"}
	switch n := r.IntN(15); {
	case n < 2 && depth < 3:
		one, other := b.pickKey(r, depth+1), b.pickKey(r, depth+1)
		key := modelKey{
			text: "OR " + one.text + " " + other.text, numbers: one.numbers || other.numbers, modSeqs: one.modSeqs || other.modSeqs, bodies: one.bodies || other.bodies,
			sets:    slices.Concat(one.sets, other.sets),
			matches: func(t *belief, s map[string][]*belief) answer { return max(one.matches(t, s), other.matches(t, s)) },
		}
		if n == 0 {
			key.text = "(" + one.text + " " + other.text + ")"
			key.matches = func(t *belief, s map[string][]*belief) answer { return min(one.matches(t, s), other.matches(t, s)) }
		}
		return key
	case n == 2 && depth < 3:
		key := b.pickKey(r, depth+1)
		matches := key.matches
		key.text, key.matches = "NOT "+key.text, func(t *belief, s map[string][]*belief) answer { return yes - matches(t, s) }
		return key
	case n < 5:
		set := b.pickNumbers(r)
		key := modelKey{text: set.String(), numbers: !set.byUID && !set.saved, sets: []numbers{set}}
		if set.byUID {
			key.text = "UID " + key.text
		}
		key.matches = func(t *belief, s map[string][]*belief) answer {
			return answerTo(slices.Contains(s[fmt.Sprint(set)], t))
		}
		return key
	case n == 5:
		text := fmt.Sprintf("s%d", r.IntN(20))
		return modelKey{text: "SUBJECT " + text, matches: func(t *belief, _ map[string][]*belief) answer {
			if t.m.gone {
				return maybe // what octets it had nobody can tell
			}
			return answerTo(strings.Contains(t.m.subject(), text))
		}}
	case n == 7:
		return modelKey{text: "ALL", matches: func(*belief, map[string][]*belief) answer { return yes }}
	case n > 7 && n < 11:
		text := fmt.Sprint(r.IntN(20))
		return modelKey{text: "BODY " + text, bodies: true, matches: func(t *belief, _ map[string][]*belief) answer {
			if t.m.gone {
				return maybe
			}
			_, body, _ := strings.Cut(t.m.body, "\r\n\r\n")
			return answerTo(strings.Contains(body, text))
		}}
	case n == 6:
		since := b.anyModSeq(r)
		return modelKey{text: fmt.Sprintf("MODSEQ %d", since), modSeqs: true, matches: func(t *belief, _ map[string][]*belief) answer {
			s := *t.m.now()
			if t.m.gone {
				s = t.m.was[t.synced]
			}
			return answerTo(s.modSeq == 0 || s.modSeq >= since)
		}}
	}
	name := pick(r, names)
	flag, want := flagKeys[name], true
	if r.IntN(2) == 0 {
		name, want = "UN"+name, false
	}
	return modelKey{text: name, matches: func(t *belief, _ map[string][]*belief) answer { return answerTo(hasFlag(t.flagsNow(), flag) == want) }}
}

// search is SEARCH and UID SEARCH.
func (b *believer) search(r *rand.Rand) *modelCommand {
	key, byUID, prefix := b.pickKey(r, 0), b.uidOnly || r.IntN(2) == 0, ""
	var options []string
	extended := r.IntN(2) == 0
	for _, o := range []string{"MIN", "MAX", "ALL", "COUNT", "SAVE"} {
		unsure := o == "SAVE" && (key.bodies || strings.Contains(key.text, "SUBJECT"))
		if extended && r.IntN(3) == 0 && !unsure {
			options = append(options, o)
		}
	}
	c := &modelCommand{selected: true, syncs: true, numbered: !byUID, quiet: !byUID, late: key.bodies, beside: extended || b.rev2}
	if byUID {
		prefix = "UID "
	}
	c.text = prefix + "SEARCH " + key.text
	if extended {
		c.text = prefix + "SEARCH RETURN (" + strings.Join(options, " ") + ") " + key.text
	}
	c.begin = func(a *heard) func() {
		view := b.view()
		b.modSeqs = b.modSeqs || key.modSeqs
		sets := map[string][]*belief{}
		for _, s := range key.sets {
			if b.uidOnly && !s.byUID && !s.saved {
				return b.expect(a, "BAD")
			}
			sets[fmt.Sprint(s)], _ = b.find(s, view) // RFC 7377 §2: "it MUST NOT be considered an error"
		}
		var found, perhapses []int64
		var messages []*modelMessage
		for i, t := range view {
			n := int64(i) + 1
			if byUID {
				n = t.m.uid
			}
			switch key.matches(t, sets) {
			case yes:
				found, messages = append(found, n), append(messages, t.m)
			case maybe:
				perhapses = append(perhapses, n)
			}
		}
		b.save(options, messages)
		return func() { b.searched(a, found, perhapses, options, extended) }
	}
	return c
}

// save keeps what SAVE keeps: RFC 9051 §6.4.4.1, table 4.
func (b *believer) save(options []string, found []*modelMessage) {
	has := func(o string) bool { return slices.Contains(options, o) }
	switch n := len(found); {
	case !has("SAVE"):
	case has("ALL"), has("COUNT"), !has("MIN") && !has("MAX"), n == 0:
		b.saved = found
	default:
		b.saved = nil
		if has("MIN") {
			b.saved = append(b.saved, found[0])
		}
		if has("MAX") {
			b.saved = append(b.saved, found[n-1])
		}
	}
}

// searched checks the answer to SEARCH.
func (b *believer) searched(a *heard, found, perhapses []int64, options []string, extended bool) {
	if b.expect(a, "OK")(); b.g.failure != nil {
		return
	}
	right := func(got []int64) bool {
		if !slices.IsSorted(got) {
			return false
		}
		rest := slices.DeleteFunc(slices.Clone(got), func(n int64) bool { return slices.Contains(perhapses, n) })
		return slices.Equal(rest, found)
	}
	if !extended && !b.rev2 {
		if !a.search || !right(a.numbers) {
			b.g.fail("SEARCH should find %v, and perhaps %v", found, perhapses)
		}
		return
	}
	if len(options) == 1 && options[0] == "SAVE" {
		if a.esearch != nil {
			b.g.fail("SAVE alone has no response: RFC 9051 §6.4.4")
		}
		return
	}
	if len(a.esearch) == 0 || len(a.esearch[0].list) != 2 {
		b.g.fail("there is no ESEARCH with a tag")
		return
	}
	rest := a.esearch[1:]
	if len(rest) > 0 && rest[0].text == "UID" {
		rest = rest[1:]
	}
	results := pairs(rest)
	if len(options) == 0 || slices.Contains(options, "ALL") {
		if got := parseNumbers(results["ALL"].text); !right(got) {
			b.g.fail("ALL is %v, and should be %v, and perhaps %v", got, found, perhapses)
		}
	}
	if len(perhapses) > 0 {
		return
	}
	if n := results["COUNT"].number(); slices.Contains(options, "COUNT") && n != int64(len(found)) {
		b.g.fail("COUNT is %d, and should be %d", n, len(found))
	}
	for name, i := range map[string]int{"MIN": 0, "MAX": len(found) - 1} {
		n, told := results[name]
		asked := slices.Contains(options, name) && len(found) > 0
		if told != asked || asked && n.number() != found[i] {
			b.g.fail("%s is %s, of %v", name, n.text, found)
		}
	}
}
