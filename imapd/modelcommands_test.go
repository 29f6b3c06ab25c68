package imapd

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// modelCommand is a command with what must come of it.
type modelCommand struct {
	text     string
	selected bool // it needs a mailbox
	syncs    bool // it names messages: new ones are told first
	numbered bool // it names messages by numbers, which UIDONLY forbids
	quiet    bool // EXPUNGE must not be told: RFC 9051 §7.5.1
	beside   bool // it runs while searches before it are under way
	late     bool // it is such a search: it reads bodies, perhaps
	// begin does to the world what the command does, when the server begins with it; check looks at the answer.
	begin func(a *heard) (check func())
}

var (
	modelNames = []string{"INBOX", "INBOX", "INBOX", "one", "two"}
	modelFlags = []string{`\Seen`, `\Flagged`, `\Deleted`, `\Deleted`, `\Answered`, "work", "WORK", "Home"}
)

// longLine makes a message that is kept in several pieces.
var longLine = strings.Repeat("x", 150_000)

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// randomCommand is any that makes sense for the client.
func (b *believer) randomCommand(r *rand.Rand) *modelCommand {
	everywhere := []func(*rand.Rand) *modelCommand{
		b.appendCommand, b.appendCommand, b.noop, b.status, b.selectCommand, b.selectCommand, b.create, b.rename, b.deleteBox,
	}
	inBox := []func(*rand.Rand) *modelCommand{
		b.appendCommand, b.appendCommand, b.noop, b.status, b.store, b.store, b.store, b.store, b.fetch, b.fetch, b.fetch, b.search, b.search,
		b.search, b.copyOrMove, b.copyOrMove, b.copyOrMove, b.expunge, b.expunge, b.expunge, b.learn, b.learn,
	}
	if b.box == nil || r.IntN(12) == 0 {
		return pick(r, everywhere)(r)
	}
	if r.IntN(20) == 0 {
		return b.unselect(r)
	}
	return pick(r, inBox)(r)
}

// numbers is a set of messages in a command.
type numbers struct {
	byUID  bool
	saved  bool       // "$"
	ranges [][2]int64 // 0 is "*"
}

// pickNumbers picks some, as a rule of messages that the client knows.
func (b *believer) pickNumbers(r *rand.Rand) numbers {
	set := numbers{byUID: b.uidOnly && r.IntN(20) > 0 || r.IntN(2) == 0, saved: r.IntN(10) == 0 || b.saved != nil && r.IntN(3) == 0}
	one := func() int64 {
		n := len(b.told)
		if r.IntN(8) == 0 {
			return 0
		}
		at := r.IntN(n + 1)
		if at == n && r.IntN(4) > 0 {
			at = max(n-1, 0)
		}
		switch {
		case !set.byUID:
			return int64(at) + 1
		case at < n:
			return b.told[at].m.uid
		}
		return b.box.uidNext + int64(r.IntN(2))
	}
	for range 1 + r.IntN(2) {
		first := one()
		last := first
		if r.IntN(2) == 0 {
			last = one()
		}
		set.ranges = append(set.ranges, [2]int64{first, last})
	}
	return set
}

func (s numbers) String() string {
	if s.saved {
		return "$"
	}
	name := func(n int64) string {
		if n == 0 {
			return "*"
		}
		return fmt.Sprint(n)
	}
	var parts []string
	for _, r := range s.ranges {
		part := name(r[0])
		if r[1] != r[0] {
			part += ":" + name(r[1])
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ",")
}

// prefix is what goes before the command that has the set.
func (s numbers) prefix() string {
	if s.byUID {
		return "UID "
	}
	return ""
}

// find is the messages that a set names in a view, in order, and whether all numbers are there.
func (b *believer) find(s numbers, view []*belief) (found []*belief, all bool) {
	wanted := map[*modelMessage]bool{}
	all = true
	for _, m := range b.saved {
		wanted[m] = s.saved
	}
	for _, r := range s.ranges {
		if s.saved {
			break
		}
		top := int64(len(view))
		if s.byUID && top > 0 {
			top = view[top-1].m.uid
		}
		first, last := r[0], r[1]
		if first == 0 {
			first = top
		}
		if last == 0 {
			last = top
		}
		first, last = min(first, last), max(first, last)
		if !s.byUID && (last > int64(len(view)) || last == 0) {
			all = false
		}
		for i, t := range view {
			n := int64(i) + 1
			if s.byUID {
				n = t.m.uid
			}
			wanted[t.m] = wanted[t.m] || first <= n && n <= last
		}
	}
	for _, t := range view {
		if wanted[t.m] {
			found = append(found, t)
		}
	}
	return found, all
}

func messagesOf(found []*belief) (messages []*modelMessage) {
	for _, t := range found {
		messages = append(messages, t.m)
	}
	return messages
}

// status expects one of some statuses.
func (b *believer) expect(a *heard, statuses ...string) func() {
	return func() {
		if !slices.Contains(statuses, a.status) {
			b.g.fail("the answer should be %s", strings.Join(statuses, " or "))
		}
	}
}

// expectUIDs expects OK with a code that names messages: APPENDUID, or COPYUID with the sources.
func (b *believer) expectUIDs(a *heard, to *modelBox, sources, made []*modelMessage) func() {
	return func() {
		if b.expect(a, "OK")(); b.g.failure != nil {
			return
		}
		name, n := "APPENDUID", 3
		if sources != nil {
			name, n = "COPYUID", 4
		}
		code := a.code(name)
		if len(code) != n {
			b.g.fail("there is no %s", name)
			return
		}
		b.learnValidity(to, code[1].number())
		if got := parseNumbers(code[n-1].text); !slices.Equal(got, uidsOf(made)) {
			b.g.fail("%s says %v, and it should be %v", name, got, uidsOf(made))
		}
		if got := parseNumbers(code[2].text); sources != nil && !slices.Equal(got, uidsOf(sources)) {
			b.g.fail("%s is of %v, and it should be of %v", name, got, uidsOf(sources))
		}
	}
}

func uidsOf(messages []*modelMessage) (uids []int64) {
	for _, m := range messages {
		uids = append(uids, m.uid)
	}
	return uids
}

func (b *believer) learnValidity(box *modelBox, value int64) {
	if box.validity == 0 {
		box.validity = value
	}
	if box.validity != value {
		b.g.fail("UIDVALIDITY of %s is %d, and was %d", box.name, value, box.validity)
	}
}

func (b *believer) noop(r *rand.Rand) *modelCommand {
	c := &modelCommand{text: "NOOP", beside: true, begin: func(a *heard) func() { return b.expect(a, "OK") }}
	if r != nil && r.IntN(4) == 0 {
		c.text, c.selected = "CHECK", true
	}
	return c
}

func (b *believer) create(r *rand.Rand) *modelCommand {
	name := pick(r, modelNames)
	return &modelCommand{text: "CREATE " + name, begin: func(a *heard) func() {
		if b.g.world.boxes[name] != nil {
			return b.expect(a, "NO")
		}
		b.g.world.create(name)
		return b.expect(a, "OK")
	}}
}

func (b *believer) deleteBox(r *rand.Rand) *modelCommand {
	name := pick(r, modelNames)
	return &modelCommand{text: "DELETE " + name, begin: func(a *heard) func() {
		box := b.g.world.boxes[name]
		if box == nil || name == "INBOX" {
			return b.expect(a, "NO")
		}
		delete(b.g.world.boxes, name)
		box.deleted = true
		box.remove(func(*modelMessage) bool { return true })
		if b.box == box {
			b.leave()
			b.cache = nil
		}
		return b.expect(a, "OK")
	}}
}

func (b *believer) rename(r *rand.Rand) *modelCommand {
	from, to := pick(r, modelNames), pick(r, modelNames)
	return &modelCommand{text: "RENAME " + from + " " + to, begin: func(a *heard) func() {
		w := b.g.world
		box := w.boxes[from]
		if box == nil || w.boxes[to] != nil {
			return b.expect(a, "NO")
		}
		if from == "INBOX" { // it stays, and its messages move: RFC 9051 §6.3.6
			box.transfer(box.messages, w.create(to), true)
			return b.expect(a, "OK")
		}
		delete(w.boxes, from)
		box.name, w.boxes[to] = to, box
		return b.expect(a, "OK")
	}}
}

func (b *believer) status(r *rand.Rand) *modelCommand {
	name := pick(r, modelNames)
	return &modelCommand{
		text: "STATUS " + name + " (MESSAGES UIDNEXT UIDVALIDITY UNSEEN DELETED SIZE HIGHESTMODSEQ)", beside: true,
		begin: func(a *heard) func() {
			box := b.g.world.boxes[name]
			if box == nil {
				return b.expect(a, "NO")
			}
			size, top := int64(0), int64(0)
			for _, m := range box.messages {
				size, top = size+int64(len(m.body)), max(top, m.now().modSeq)
			}
			want := map[string]int64{
				"MESSAGES": int64(len(box.messages)), "UIDNEXT": box.uidNext, "SIZE": size,
				"UNSEEN":  count64(box.messages, func(m *modelMessage) bool { return !hasFlag(m.now().flags, `\seen`) }),
				"DELETED": count64(box.messages, func(m *modelMessage) bool { return hasFlag(m.now().flags, `\deleted`) }),
			}
			return func() {
				if b.expect(a, "OK")(); b.g.failure != nil {
					return
				}
				for item, n := range want {
					if a.data[item].number() != n {
						b.g.fail("%s is %s, and should be %d", item, a.data[item].text, n)
					}
				}
				b.learnValidity(box, a.data["UIDVALIDITY"].number())
				if n := a.data["HIGHESTMODSEQ"].number(); n < top {
					b.g.fail("HIGHESTMODSEQ %d, and a message has %d", n, top)
				}
			}
		},
	}
}

func (b *believer) appendCommand(r *rand.Rand) *modelCommand {
	name := pick(r, modelNames)
	text := "APPEND " + name
	type letter struct{ body, flags string }
	var letters []letter
	for range 1 + max(r.IntN(4)-1, 0) {
		b.g.world.bodies++
		n := b.g.world.bodies
		body := fmt.Sprintf("Subject: s%d\r\n\r\n%s%d\r\n", n, strings.Repeat("line\r\n", r.IntN(3)), n)
		if r.IntN(40) == 0 {
			body += longLine + "\r\n"
		}
		var flags []string
		for range r.IntN(3) {
			flags = append(flags, pick(r, modelFlags))
		}
		letters = append(letters, letter{body, canonical(flags)})
		text += fmt.Sprintf(" (%s) {%d+}\r\n%s", strings.Join(flags, " "), len(body), body)
	}
	return &modelCommand{text: text, begin: func(a *heard) func() {
		box := b.g.world.boxes[name]
		if box == nil {
			return b.expect(a, "NO")
		}
		var made []*modelMessage
		for _, l := range letters {
			made = append(made, box.add(l.body, l.flags))
		}
		return b.expectUIDs(a, box, nil, made)
	}}
}
