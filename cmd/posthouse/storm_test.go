package main

import (
	"bufio"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"posthouse/internal/testkit"
)

// stormer is a client that changes mailboxes of its own as fast as it can, and remembers what was answered OK.
type stormer struct {
	t     *testing.T
	name  string // its mailboxes begin with it
	r     *rand.Rand
	n     int // messages it made
	acked *atomic.Int64

	state     stormState // what was answered OK
	next      stormState // what is if the command under way was done, too; nil: none is
	doing     string
	expunging []string // subjects that the command under way expunges
	expunged  []string
	top       uint64 // the account's greatest mod-sequence at the last audit
}

// stormState is boxes by name.
type stormState map[string]*stormBox

type stormBox struct {
	validity uint32 // 0: not known yet
	last     imap.UID
	modSeq   uint64
	items    []stormItem // in the order of their UIDs
}

type stormItem struct {
	uid     imap.UID // 0: not known yet
	subject string
	flags   string
	modSeq  uint64 // 0: a new one
}

func (s stormState) clone() stormState {
	c := maps.Clone(s)
	for name, b := range c {
		copied := *b
		copied.items = slices.Clone(b.items)
		c[name] = &copied
	}
	return c
}

// add files new messages, whose UIDs the answer says.
func (b *stormBox) add(items ...stormItem) {
	for _, i := range items {
		b.items = append(b.items, stormItem{subject: i.subject, flags: i.flags})
	}
}

// remove takes messages away and returns them.
func (b *stormBox) remove(gone func(stormItem) bool) (removed []stormItem) {
	b.items = slices.DeleteFunc(b.items, func(i stormItem) bool {
		if gone(i) {
			removed = append(removed, i)
			return true
		}
		return false
	})
	return removed
}

// message is a new one, as APPEND takes it.
func (s *stormer) message(flags string) (item stormItem, literal string) {
	s.n++
	item = stormItem{subject: fmt.Sprintf("%s-message-%d", s.name, s.n), flags: flags}
	text := letter("a@house.test", "a@house.test", item.subject, body(item.subject))
	return item, fmt.Sprintf("(%s) {%d+}\r\n%s", flags, len(text), text)
}

// some are UIDs of a few messages, in order.
func (s *stormer) some(b *stormBox) (uids []string, has func(stormItem) bool) {
	picked := map[imap.UID]bool{}
	for _, i := range b.items {
		if s.r.IntN(len(b.items)) < 3 {
			picked[i.uid] = true
			uids = append(uids, strconv.Itoa(int(i.uid)))
		}
	}
	return uids, func(i stormItem) bool { return picked[i.uid] }
}

const marked = "\\Deleted"

// command picks one, says what the mailboxes are after it, and returns its text. The first mailbox is the selected one, the second one is
// renamed now and then, and the third one comes and goes.
func (s *stormer) command() string {
	first, second, third := s.name, s.name+"-x", s.name+"-z"
	if s.state[second] == nil {
		second = s.name + "-y"
	}
	s.next = s.state.clone()
	s.expunging = nil
	in, to := s.next[first], s.next[second]
	uids, picked := s.some(in)
	set := strings.Join(uids, ",")
	kind := s.r.IntN(12)
	if kind >= 2 && kind <= 8 && len(uids) == 0 {
		kind = 0
	}
	switch kind {
	case 2, 3:
		target, copied := second, to
		if s.next[third] != nil && kind == 3 {
			target, copied = third, s.next[third]
		}
		for _, i := range in.items {
			if picked(i) {
				copied.add(i)
			}
		}
		return "UID COPY " + set + " " + target
	case 4:
		to.add(in.remove(picked)...)
		return "UID MOVE " + set + " " + second
	case 5, 6:
		flags := []string{marked, "\\Flagged", "", marked}[s.r.IntN(4)]
		for i := range in.items {
			if picked(in.items[i]) && in.items[i].flags != flags {
				in.items[i].flags, in.items[i].modSeq = flags, 0
			}
		}
		return "UID STORE " + set + " FLAGS (" + flags + ")"
	case 7:
		s.expunge(in.remove(func(i stormItem) bool { return picked(i) && i.flags == marked }))
		return "UID EXPUNGE " + set
	case 8:
		item, literal := s.message("\\Flagged")
		s.expunge(in.remove(func(i stormItem) bool { return strconv.Itoa(int(i.uid)) == uids[0] }))
		in.add(item)
		return "UID REPLACE " + uids[0] + " " + first + " " + literal
	case 9:
		s.expunge(in.remove(func(i stormItem) bool { return i.flags == marked }))
		return "EXPUNGE"
	case 10:
		if s.next[third] == nil {
			s.next[third] = &stormBox{}
			return "CREATE " + third
		}
		s.expunge(s.next[third].items)
		delete(s.next, third)
		return "DELETE " + third
	case 11:
		renamed := strings.NewReplacer("-x", "-y", "-y", "-x").Replace(second)
		delete(s.next, second)
		s.next[renamed] = to
		return "RENAME " + second + " " + renamed
	}
	text := "APPEND " + first
	for range 1 + 2*kind {
		item, literal := s.message([]string{"", "\\Seen", marked}[s.r.IntN(3)])
		in.add(item)
		text += " " + literal
	}
	return text
}

func (s *stormer) expunge(items []stormItem) {
	for _, i := range items {
		s.expunging = append(s.expunging, i.subject)
	}
}

var newUIDs = regexp.MustCompile(`\[(?:APPENDUID [0-9]+|COPYUID [0-9]+ [0-9:,]+) ([0-9:,]+)\]`)

// run changes mailboxes until the server is gone.
func (s *stormer) run(addr string) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	do := func(command string) (answer string, err error) {
		if _, err := fmt.Fprintf(conn, "a %s\r\n", command); err != nil {
			return "", err
		}
		for {
			line, err := r.ReadString('\n')
			if answer += line; err != nil || strings.HasPrefix(line, "a ") {
				return answer, err
			}
		}
	}
	for _, command := range []string{"LOGIN alice@house.test secret", "SELECT " + s.name} {
		if _, err := do(command); err != nil {
			return
		}
	}
	for {
		s.doing = s.command()
		answer, err := do(s.doing)
		if err != nil {
			return
		}
		if !strings.Contains(answer, "\r\na OK") && !strings.HasPrefix(answer, "a OK") {
			s.t.Errorf("%.100s: %s", s.doing, answer)
			return
		}
		if m := newUIDs.FindStringSubmatch(answer); m != nil {
			s.learn(m[1])
		}
		s.state, s.next = s.next, nil
		s.expunged = append(s.expunged, s.expunging...)
		s.acked.Add(1)
	}
}

// learn gives the new messages the UIDs of an answer.
func (s *stormer) learn(set string) {
	var uids []imap.UID
	for part := range strings.SplitSeq(set, ",") {
		first, last, isRange := strings.Cut(part, ":")
		if !isRange {
			last = first
		}
		from, err := strconv.ParseUint(first, 10, 32)
		to, err2 := strconv.ParseUint(last, 10, 32)
		if err != nil || err2 != nil {
			s.t.Errorf("%q is no set of UIDs", set)
		}
		for uid := from; uid <= to; uid++ {
			uids = append(uids, imap.UID(uid))
		}
	}
	for _, b := range s.next {
		for i := range b.items {
			if b.items[i].uid == 0 && len(uids) > 0 {
				if uids[0] <= b.last {
					s.t.Errorf("%.100s: UID %d was given before", s.doing, uids[0])
				}
				b.items[i].uid, b.last, uids = uids[0], uids[0], uids[1:]
			}
		}
	}
	if len(uids) > 0 {
		s.t.Errorf("%.100s: %s are too many UIDs", s.doing, set)
	}
}

// audit compares what is there with what was answered, the command under way being done or not; and goes on from there.
func (s *stormer) audit(c *imapclient.Client) {
	there := s.read(c)
	why := s.state.differs(there, s.top)
	if why != "" && s.next != nil {
		s.t.Logf("%s: the last command was done and not answered: %.60q", s.name, s.doing)
		if why2 := s.next.differs(there, s.top); why2 != "" {
			s.t.Errorf("%s is not what was answered OK, neither without the last command (%s) nor with it (%s): %.100q", s.name, why, why2, s.doing)
		}
		s.expunged = append(s.expunged, s.expunging...)
	} else if why != "" {
		s.t.Errorf("%s is not what was answered OK: %s", s.name, why)
	}
	s.state, s.next = there, nil
}

// read is what the mailboxes hold.
func (s *stormer) read(c *imapclient.Client) stormState {
	there := stormState{}
	boxes, err := c.List("", s.name+"*", nil).Collect()
	if err != nil {
		s.t.Fatal(err)
	}
	whole := &imap.FetchItemBodySection{Peek: true}
	for _, list := range boxes {
		selected, err := c.Select(list.Mailbox, &imap.SelectOptions{CondStore: true}).Wait()
		if err != nil {
			s.t.Fatal(err)
		}
		b := &stormBox{validity: selected.UIDValidity, last: selected.UIDNext - 1, modSeq: selected.HighestModSeq}
		there[list.Mailbox] = b
		messages, err := c.Fetch(imap.UIDSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{
			UID: true, Flags: true, ModSeq: true, Envelope: true, BodySection: []*imap.FetchItemBodySection{whole},
		}).Collect()
		if err != nil {
			s.t.Fatal(err)
		}
		for _, m := range messages {
			subject, flags := m.Envelope.Subject, ""
			for _, f := range m.Flags {
				flags += string(f)
			}
			if got := string(m.FindBodySection(whole)); got != letter("a@house.test", "a@house.test", subject, body(subject)) {
				s.t.Errorf("%s in %s is not what was appended", subject, list.Mailbox)
			}
			b.items = append(b.items, stormItem{m.UID, subject, flags, m.ModSeq})
		}
		slices.SortFunc(b.items, func(a, b stormItem) int { return int(a.uid) - int(b.uid) })
	}
	return there
}

// differs says in what the mailboxes there are not s, where top was the greatest mod-sequence of the account at the last audit.
func (s stormState) differs(there stormState, top uint64) string {
	if len(s) != len(there) {
		return fmt.Sprintf("%d mailboxes, and not %d", len(there), len(s))
	}
	for name, b := range s {
		is := there[name]
		switch {
		case is == nil:
			return "there is no " + name
		case b.validity != 0 && b.validity != is.validity:
			return fmt.Sprintf("UIDVALIDITY of %s is %d, and was %d", name, is.validity, b.validity)
		case is.last < b.last || is.modSeq < b.modSeq:
			return fmt.Sprintf("%s goes back: UIDs from %d to %d, HIGHESTMODSEQ from %d to %d", name, b.last, is.last, b.modSeq, is.modSeq)
		case len(is.items) != len(b.items):
			return fmt.Sprintf("%s has %d messages, and not %d", name, len(is.items), len(b.items))
		}
		for i, want := range b.items {
			got := is.items[i]
			changed := want.modSeq == 0
			switch {
			case got.subject != want.subject || got.flags != want.flags:
				return fmt.Sprintf("%s has %+v, and not %+v", name, got, want)
			case want.uid != 0 && got.uid != want.uid, want.uid == 0 && got.uid <= b.last:
				return fmt.Sprintf("%s has %+v, and not %+v; UIDs up to %d were given", name, got, want, b.last)
			case got.modSeq < want.modSeq, changed && got.modSeq <= top:
				return fmt.Sprintf("%s has %+v, and not %+v; mod-sequences up to %d were given", name, got, want, top)
			}
		}
	}
	return ""
}

// The process is killed while several sessions append, copy, move, flag, replace and expunge messages and create, rename and delete
// mailboxes: all that was answered OK is done, once, and what was not is done whole or not at all. What was expunged can be restored.
func TestKillInStorm(t *testing.T) {
	s := newServer(t, "")
	s.quiet = true
	s.start()
	s.addAccount("alice@house.test")
	var acked atomic.Int64
	var stormers []*stormer
	c, err := s.login("alice@house.test")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		name := fmt.Sprintf("storm-%d", i)
		stormers = append(stormers, &stormer{
			t: t, name: name, r: rand.New(rand.NewPCG(uint64(i), rand.Uint64())), acked: &acked, state: stormState{name: {}, name + "-x": {}},
		})
		for _, box := range []string{name, name + "-x"} {
			if err := c.Create(box, nil).Wait(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range testkit.CrashRounds(4) {
		var wg sync.WaitGroup
		for _, st := range stormers {
			wg.Go(func() { st.run(s.imap) })
		}
		enough := acked.Load() + 20 + rand.Int64N(300)
		testkit.Until(t, "the storm", func() bool { return acked.Load() >= enough || t.Failed() })
		s.process.Kill()
		c.Close()
		wg.Wait()
		s.start()
		if c, err = s.login("alice@house.test"); err != nil {
			t.Fatal(err)
		}
		top := uint64(0)
		for _, st := range stormers {
			st.audit(c)
			for _, b := range st.state {
				top = max(top, b.modSeq)
			}
		}
		for _, st := range stormers {
			st.top = top
		}
		if out := s.run("verify"); out != "" {
			t.Errorf("verify says\n%s", out)
		}
		if t.Failed() {
			return
		}
	}
	defer c.Close()
	auditExpunged(s, c, stormers)
	t.Logf("%d commands were answered OK", acked.Load())
}

// auditExpunged restores everything that was expunged, and looks whether it is there.
func auditExpunged(s *server, c *imapclient.Client, stormers []*stormer) {
	s.run("mailbox", "undelete", "alice@house.test", "--all", "--into", "Back")
	if _, err := c.Select("Back", nil).Wait(); err != nil {
		s.t.Fatal(err)
	}
	messages, err := c.Fetch(imap.UIDSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{Envelope: true}).Collect()
	if err != nil {
		s.t.Fatal(err)
	}
	back := map[string]int{}
	for _, m := range messages {
		back[m.Envelope.Subject]++
	}
	n := 0
	for _, st := range stormers {
		for _, subject := range st.expunged {
			n++
			if back[subject]--; back[subject] < 0 {
				s.t.Errorf("%s was expunged more often than it can be restored", subject)
			}
		}
	}
	s.t.Logf("%d messages were expunged, %d restored", n, len(messages))
}
