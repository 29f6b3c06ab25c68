package imapd

import (
	"cmp"
	"context"
	"slices"
	"strconv"
)

// threading is THREAD with an algorithm: RFC 5256 §3. The first one brings the command.
func threading(algorithm string, thread func([]sorted) *branch) extension {
	e := extension{name: "THREAD=" + algorithm, rfc: "RFC 5256", threads: []threadAlgorithm{{algorithm, thread}}}
	if algorithm == "REFERENCES" {
		e.commands = both(command{name: "THREAD", rfc: "RFC 5256 §3", in: selected, seqs: byNumbers, beside: true}, parseThread)
	} else {
		e.needs = "THREAD=REFERENCES"
	}
	return e
}

// threadAlgorithm makes threads of messages, which come in the order of the mailbox.
type threadAlgorithm struct {
	name   string
	thread func([]sorted) *branch
}

func (a threadAlgorithm) label() string { return a.name }

// branch is a message in a thread with what answers it; the root of all threads, and a message that is not there, have none.
type branch struct {
	*sorted
	parent   *branch
	children []*branch
}

type threadCommand struct {
	search searchCommand
	thread func([]sorted) *branch
	found  *branch // the root of what was found
}

func parseThread(p *parser, by numbering) (runner, error) {
	c := &threadCommand{}
	c.search.by, c.search.program.whole = by, true
	var algorithm string
	if !p.SP() || !p.Label(&algorithm) {
		return nil, p.Err()
	}
	known, ok := p.table.threads[algorithm]
	if !ok {
		return nil, errAlgorithm
	}
	c.thread = known.thread
	if !(p.SP() && p.charset(&c.search) && p.SP() && p.searchProgram(&c.search.program) && p.End()) {
		return nil, p.Err()
	}
	return c, c.search.check()
}

func (c *threadCommand) run(ctx context.Context, s *session) (reply, error) {
	return c.search.find(ctx, s, c)
}

func (c *threadCommand) arrange(ctx context.Context, v *view, found selection) error {
	messages, err := v.withKeys(ctx, found)
	if err == nil {
		c.found = c.thread(messages)
	}
	return err
}

func (c *threadCommand) tagless(dialect) bool { return true }

func (c *threadCommand) tell(s *session, v *view) (reply, error) {
	if err := s.out.WriteString("* THREAD"); err != nil {
		return reply{}, err
	}
	separator := " "
	for _, thread := range c.found.children {
		b := append(s.out.Available(), separator...)
		if err := s.out.Advance(c.appendThread(b, v, thread)); err != nil {
			return reply{}, err
		}
		separator = ""
	}
	return reply{}, s.out.WriteString("\r\n")
}

// appendThread writes a thread-list (RFC 5256 §5): messages one after the other as long as each has one answer, then a list for each. It
// goes down without recursion: a thread may be as long as a mailbox.
func (c *threadCommand) appendThread(b []byte, v *view, thread *branch) []byte {
	type step struct {
		*branch
		close bool
	}
	todo := []step{{thread, false}}
	for len(todo) > 0 {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if at.close {
			b = append(b, ')')
			continue
		}
		b = append(b, '(')
		todo = append(todo, step{close: true})
		node := at.branch
		for {
			if node.sorted != nil {
				if b[len(b)-1] != '(' {
					b = append(b, ' ')
				}
				b = v.appendNumber(b, node.pos, c.search.by)
			}
			if len(node.children) != 1 {
				break
			}
			node = node.children[0]
		}
		if len(node.children) > 0 && b[len(b)-1] != '(' {
			b = append(b, ' ')
		}
		for i := len(node.children) - 1; i >= 0; i-- {
			todo = append(todo, step{branch: node.children[i]})
		}
	}
	return b
}

// byOrderedSubject is ORDEREDSUBJECT: RFC 5256 §3.
func byOrderedSubject(messages []sorted) *branch {
	slices.SortStableFunc(messages, func(a, b sorted) int {
		return cmp.Or(cmp.Compare(a.keys.Subject, b.keys.Subject), cmp.Compare(a.sent(), b.sent()))
	})
	root := &branch{}
	for i := range messages {
		m := &branch{sorted: &messages[i]}
		if i > 0 && messages[i-1].keys.Subject == m.keys.Subject {
			first := root.children[len(root.children)-1]
			first.children = append(first.children, m)
		} else {
			root.children = append(root.children, m)
		}
	}
	sortBranches(root.children)
	return root
}

// byReferences is REFERENCES: RFC 5256 §3, its steps.
func byReferences(messages []sorted) *branch {
	root := linked(messages)    // (1), (2)
	root.prune()                // (3)
	sortBranches(root.children) // (4)
	root.gather()               // (5)
	root.sortBy(sortBranches)   // (6)
	return root
}

// byRefs is REFS, as other servers have it: like REFERENCES but for subjects, and the threads in the order of their latest message.
func byRefs(messages []sorted) *branch {
	root := linked(messages)
	root.prune()
	root.sortBy(sortBranches)
	latest := make(map[*branch]int64, len(root.children))
	for _, thread := range root.children {
		thread.walk(func(b *branch) {
			if b.sorted != nil {
				latest[thread] = max(latest[thread], b.sent())
			}
		})
	}
	slices.SortStableFunc(root.children, func(a, b *branch) int { return cmp.Compare(latest[a], latest[b]) })
	return root
}

// linked are steps 1 and 2 of REFERENCES.
func linked(messages []sorted) *branch {
	byID := make(map[string]*branch, len(messages))
	nodes := make([]*branch, len(messages))
	all := make([]*branch, 0, len(messages))
	add := func(id string, m *sorted) *branch {
		b := &branch{sorted: m}
		byID[id] = b
		all = append(all, b)
		return b
	}
	for i := range messages {
		m := &messages[i]
		id := m.keys.MessageID
		if known := byID[id]; id == "" || known != nil { // no ID has a NUL
			id = "\x00" + strconv.Itoa(i)
		}
		nodes[i] = add(id, m)
	}
	for i := range messages {
		var last *branch
		for _, id := range messages[i].keys.References {
			b := byID[id]
			if b == nil {
				b = add(id, nil)
			}
			if last != nil && b.parent == nil {
				b.link(last)
			}
			last = b
		}
		if nodes[i].parent != last {
			nodes[i].unlink()
		}
		if last != nil && nodes[i].parent == nil {
			nodes[i].link(last)
		}
	}
	root := &branch{}
	for _, b := range all {
		if b.parent == nil {
			b.parent = root
			root.children = append(root.children, b)
		}
	}
	return root
}

// link makes parent the branch's parent, unless that would be a loop.
func (b *branch) link(parent *branch) {
	if b == parent {
		return
	}
	for at := parent; at != nil && len(b.children) > 0; at = at.parent { // without children it is nobody's ancestor
		if at == b {
			return
		}
	}
	b.parent = parent
	parent.children = append(parent.children, b)
}

func (b *branch) unlink() {
	if b.parent == nil {
		return
	}
	b.parent.children = slices.DeleteFunc(b.parent.children, func(c *branch) bool { return c == b })
	b.parent = nil
}

// walk visits a branch and all below it, from the top.
func (b *branch) walk(visit func(*branch)) {
	todo := []*branch{b}
	for len(todo) > 0 {
		at := todo[len(todo)-1]
		todo = append(todo[:len(todo)-1], at.children...)
		visit(at)
	}
}

// upwards visits a branch and all below it, what is below first.
func (b *branch) upwards(visit func(*branch)) {
	var all []*branch
	b.walk(func(at *branch) { all = append(all, at) })
	for _, at := range slices.Backward(all) {
		visit(at)
	}
}

// prune is step 3: of messages that are not there only those stay that hold several threads together.
func (b *branch) prune() {
	b.upwards(func(at *branch) {
		var kept []*branch
		for _, c := range at.children {
			switch {
			case c.sorted != nil, at == b && len(c.children) > 1:
				kept = append(kept, c)
			default:
				kept = append(kept, c.children...)
			}
		}
		for _, c := range kept {
			c.parent = at
		}
		at.children = kept
	})
}

// head is the message that a branch is sorted by: a branch without one has been pruned to have children, and they are in order.
func (b *branch) head() *sorted {
	if b.sorted == nil {
		return b.children[0].sorted
	}
	return b.sorted
}

// sortBranches puts siblings in the order of their sent dates, and else of the mailbox.
func sortBranches(list []*branch) {
	for _, b := range list {
		if b.sorted == nil {
			sortBranches(b.children)
		}
	}
	slices.SortFunc(list, func(x, y *branch) int {
		a, b := x.head(), y.head()
		return cmp.Or(cmp.Compare(a.sent(), b.sent()), cmp.Compare(a.pos, b.pos))
	})
}

func (b *branch) sortBy(order func([]*branch)) { b.upwards(func(at *branch) { order(at.children) }) }

// gather is step 5: threads with the same subject become one.
func (b *branch) gather() {
	table := make(map[string]*branch, len(b.children))
	for _, c := range b.children {
		subject := c.head().keys.Subject
		if subject == "" {
			continue
		}
		there := table[subject]
		if there == nil || there.sorted != nil && (c.sorted == nil || there.keys.Reply && !c.keys.Reply) {
			table[subject] = c
		}
	}
	var kept []*branch
	at := make(map[*branch]int) // of those in the table, in kept
	merged := make(map[*branch]bool)
	for _, c := range b.children {
		if merged[c] {
			continue
		}
		there := table[c.head().keys.Subject]
		if there == nil || there == c {
			at[c] = len(kept)
			kept = append(kept, c)
			continue
		}
		merged[c] = true
		switch {
		case there.sorted == nil && c.sorted == nil:
			there.children = append(there.children, c.children...)
		case there.sorted == nil, c.keys.Reply && !there.keys.Reply:
			there.children = append(there.children, c)
		default:
			both := &branch{children: []*branch{there, c}}
			table[c.head().keys.Subject] = both
			if i, ok := at[there]; ok {
				kept[i] = both
			} else {
				merged[there] = true
				kept = append(kept, both)
			}
			at[both] = slices.Index(kept, both)
		}
	}
	b.children = slices.DeleteFunc(kept, func(c *branch) bool { return merged[c] })
}
