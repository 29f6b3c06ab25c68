package mailboxtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"

	"posthouse/mail"
	"posthouse/mailbox"
)

const (
	randomSeeds = 1
	randomSteps = 300
	compareEach = 25 // steps between comparisons in full
)

// random compares random histories with the model: several mutations at a time, failures, time and restarts.
func random(h *house) {
	for range randomSeeds {
		h.end()
		h.dir = h.TempDir()
		h.begin()
		seed := rand.Uint64()
		h.Logf("seed %d", seed)
		r := &randomHistory{house: h, rand: rand.New(rand.NewPCG(seed, 1)), model: h.firstModel(), users: make(map[mail.AccountID]mailbox.Account)}
		for step := range randomSteps {
			r.step()
			if step%compareEach == compareEach-1 {
				r.compare()
			}
			if r.rand.IntN(60) == 0 {
				r.reopen()
			}
		}
		r.reopen()
		r.compare()
		r.reopen()
	}
}

// firstModel is a new account.
func (h *house) firstModel() *model {
	m := &model{boxes: make(map[string]*modelBox), subscribed: make(map[string]bool), keys: make(map[string]bool)}
	boxes, err := h.Boxes(h.Context())
	h.check(err)
	for _, b := range boxes {
		m.boxes[b.Name] = &modelBox{id: b.ID, special: b.Special, validity: b.UIDValidity, next: b.UIDNext, modseq: b.ModSeq,
			created: b.ModSeq, gone: make(map[mailbox.UID]mailbox.ModSeq), readers: make(map[mail.AccountID]mailbox.ModSeq),
			acl: make(map[string]mailbox.Rights)}
		m.subscribed[b.Name] = true
		m.modseq = max(m.modseq, b.ModSeq)
	}
	return m
}

type randomHistory struct {
	*house
	rand  *rand.Rand
	model *model
	texts int
	users map[mail.AccountID]mailbox.Account // as they have the account; the empty one is the owner
}

// handle is the account as a user has it, the same as long as the store is open: it shares what it showed before.
func (r *randomHistory) handle(user mail.AccountID) mailbox.Account {
	if r.users[user] == nil {
		r.users[user] = r.as(user)
	}
	return r.users[user]
}

// reopen restarts the store.
func (r *randomHistory) reopen() {
	for _, a := range r.users {
		r.check(a.Close())
	}
	clear(r.users)
	r.house.reopen()
}

// step applies a few mutations to both, and compares what they answer.
func (r *randomHistory) step() {
	c := &modelChange{model: r.model.clone(), user: r.anyUser(), modseq: r.model.modseq + 1, texts: make(map[mailbox.BlobID]string)}
	var changes []mailbox.Mutation
	for range 1 + r.rand.IntN(3) {
		changes = append(changes, r.mutation(c)...)
	}
	var want []mailbox.Result
	var wantErr error
	for _, m := range changes {
		result, err := c.apply(m)
		if err != nil {
			wantErr = err
			break
		}
		want = append(want, result)
	}
	applied, err := r.handle(c.user).Apply(r.Context(), changes...)
	if !errors.Is(err, wantErr) {
		r.Fatalf("%+v: %v, want %v", changes, err, wantErr)
	}
	if err != nil {
		for id := range c.texts {
			r.Discard(id)
		}
		return
	}
	if c.touched {
		c.model.modseq = c.modseq
	}
	if applied.ModSeq != c.model.modseq {
		r.Fatalf("%+v: mod-sequence %d; want %d", changes, applied.ModSeq, c.model.modseq)
	}
	r.learn(c)
	for i, got := range applied.Results {
		r.compareResult(c, got, want[i])
	}
	r.model = c.model
	if r.rand.IntN(5) == 0 {
		time.Sleep(time.Duration(r.rand.IntN(1000)) * time.Second)
	}
}

// learn takes the numbers of new boxes from the store; they must be new.
func (r *randomHistory) learn(c *modelChange) {
	last, lastValidity := mailbox.BoxID(0), uint32(0)
	for _, b := range r.model.boxes {
		last, lastValidity = max(last, b.id), max(lastValidity, b.validity)
	}
	for name, b := range c.boxes {
		if b.id == 0 {
			given := r.box(name)
			b.id, b.validity = given.ID, given.UIDValidity
			if b.id <= last || b.validity <= lastValidity {
				r.Fatalf("%+v, after ID %d and UIDVALIDITY %d", given, last, lastValidity)
			}
		}
	}
}

// compareResult compares what the model can know of a result.
func (r *randomHistory) compareResult(c *modelChange, got, want mailbox.Result) {
	want.Box = got.Box
	for name, b := range c.boxes {
		if b.id == got.Box.ID {
			var err error
			want.Box, err = r.handle(c.user).Box(r.Context(), name)
			r.check(err)
		}
		if b.created == c.modseq && b.validity == got.UIDValidity {
			want.UIDValidity = got.UIDValidity
		}
	}
	if !reflect.DeepEqual(got, want) {
		r.Fatalf("%+v; want %+v", got, want)
	}
}

// mutation is a random one; most make sense.
func (r *randomHistory) mutation(c *modelChange) []mailbox.Mutation {
	from, to := r.anyBox(), r.anyBox()
	switch r.rand.IntN(21) {
	case 0:
		return []mailbox.Mutation{mailbox.CreateBox{Name: r.anyName()}}
	case 1:
		return []mailbox.Mutation{mailbox.RenameBox{From: r.anyName(), To: r.anyName()}}
	case 2:
		return []mailbox.Mutation{mailbox.DeleteBox{Name: r.anyName()}}
	case 3:
		return []mailbox.Mutation{mailbox.Subscribe{Name: r.anyName()}, mailbox.Unsubscribe{Name: r.anyName()}}
	case 4, 5, 6:
		return []mailbox.Mutation{mailbox.Copy{From: from, UIDs: r.anyUIDs(), To: to, Without: r.someFlags()}}
	case 7, 8:
		return []mailbox.Mutation{mailbox.Move{From: from, UIDs: r.anyUIDs(), To: to, Without: r.someFlags()}}
	case 9, 10:
		return []mailbox.Mutation{mailbox.Expunge{Box: from, UIDs: r.anyUIDs()}}
	case 11, 12, 13, 14:
		m := mailbox.SetFlags{Box: from, UIDs: r.anyUIDs(), Op: mailbox.FlagOp(r.rand.IntN(3)), Marks: r.anyMarks(), Keep: r.someFlags()}
		if r.rand.IntN(4) == 0 {
			m.UnchangedSince = 1 + mailbox.ModSeq(r.rand.Int64N(int64(r.model.modseq)))
		}
		return []mailbox.Mutation{m}
	case 20:
		who := []string{"bob", "-bob", "carol", mailbox.Anyone}[r.rand.IntN(4)]
		rights := mailbox.Rights(r.rand.IntN(int(mailbox.AllRights) + 1))
		return []mailbox.Mutation{mailbox.SetRights{Box: from, Who: who, Op: mailbox.FlagOp(r.rand.IntN(3)), Rights: rights}}
	}
	var adds []mailbox.Mutation
	for range 1 << r.rand.IntN(8) {
		adds = append(adds, r.anyAdd(c, to))
	}
	return adds
}

func (r *randomHistory) anyAdd(c *modelChange, box mailbox.BoxID) mailbox.Add {
	r.texts++
	text := fmt.Sprintf("Subject: %d\r\n\r\n%s", r.texts, strings.Repeat("x", r.rand.IntN(100)))
	m := mailbox.Add{Box: box, Blob: r.stage(text), Marks: r.anyMarks()}
	c.texts[m.Blob] = text
	if r.rand.IntN(3) == 0 {
		m.Key = fmt.Sprint(r.rand.IntN(500))
	}
	if r.rand.IntN(3) == 0 {
		m.Internal = time.Unix(r.rand.Int64N(1<<32), 0).In(time.FixedZone("", (r.rand.IntN(27)-12)*1800))
	}
	return m
}

// anyUser is mostly the owner.
func (r *randomHistory) anyUser() mail.AccountID {
	return []mail.AccountID{"", "", "bob", "carol"}[r.rand.IntN(4)]
}

// someFlags is mostly none.
func (r *randomHistory) someFlags() (f mailbox.Flags) {
	if r.rand.IntN(3) == 0 {
		f = mailbox.Flags(r.rand.IntN(32))
		if r.rand.IntN(2) == 0 {
			f |= mailbox.Keywords
		}
	}
	return f
}

func (r *randomHistory) anyName() string {
	const names = "INBOX Sent Trash a b a/b a/b/c b/a b/a/d Drafts INBOX/x INBOX/x/y"
	all := strings.Fields(names)
	return all[r.rand.IntN(len(all))]
}

// anyBox is mostly one of a few boxes, so that they fill.
func (r *randomHistory) anyBox() mailbox.BoxID {
	if b := r.model.boxes[[]string{"INBOX", "Sent", "Archive", "a"}[r.rand.IntN(4)]]; b != nil && r.rand.IntN(10) > 0 {
		return b.id
	}
	if b := r.model.boxes[r.anyName()]; b != nil {
		return b.id
	}
	return 1 << 30 // none
}

func (r *randomHistory) anyUIDs() (s mailbox.UIDSet) {
	if r.rand.IntN(10) == 0 {
		return mailbox.AllUIDs()
	}
	at := mailbox.UID(1)
	for range r.rand.IntN(8) {
		first := at + mailbox.UID(r.rand.IntN(200))
		last := first + mailbox.UID(r.rand.IntN(1<<r.rand.IntN(9)))
		s = append(s, mailbox.UIDRange{First: first, Last: last})
		at = last + 2
	}
	return s
}

func (r *randomHistory) anyMarks() mailbox.Marks {
	m := mailbox.Marks{System: mailbox.Flags(r.rand.IntN(32))}
	for range r.rand.IntN(3) {
		m.Keywords = append(m.Keywords, fmt.Sprint("key", r.rand.IntN(20)))
	}
	return m
}

// compare compares the account with the model in full.
func (r *randomHistory) compare() {
	for _, user := range []mail.AccountID{"", "bob", "carol"} {
		r.compareAs(user)
	}
}

// compareAs compares what a user sees; the empty one is the owner.
func (r *randomHistory) compareAs(user mail.AccountID) {
	as := r.handle(user)
	boxes, err := as.Boxes(r.Context())
	r.check(err)
	if len(boxes) != len(r.model.boxes) {
		r.Fatalf("%d boxes; want %d", len(boxes), len(r.model.boxes))
	}
	for _, b := range boxes {
		want := r.model.boxes[b.Name]
		if want == nil || b.ID != want.id || b.Special != want.special || b.NoSelect != want.noSelect || b.UIDValidity != want.validity ||
			b.UIDNext != want.next || b.ModSeq != want.shownTo(user) || b.Subscribed != r.model.subscribed[b.Name] {
			r.Fatalf("%+v; want %+v", b, want)
		}
		if len(b.ACL) != len(want.acl) {
			r.Fatalf("%+v; want %+v", b, want)
		}
		for _, g := range b.ACL {
			if g.Rights != want.acl[g.Who] {
				r.Fatalf("%+v; want %+v", b, want)
			}
		}
		if !b.NoSelect {
			r.compareBox(as, user, b)
		}
	}
	names, err := r.Subscriptions(r.Context())
	r.check(err)
	for name, is := range r.model.subscribed {
		if slices.Contains(names, name) != is {
			r.Fatalf("%v; want %q: %v", names, name, is)
		}
	}
}

func (r *randomHistory) compareBox(as mailbox.Account, user mail.AccountID, b mailbox.Box) {
	want := r.model.boxes[b.Name]
	s, err := as.Snapshot(r.Context(), b.ID)
	r.check(err)
	r.balance(s)
	if !sameBox(s.Box, b) || (b.Owner == "alice") != (user != "") || s.Len() != len(want.messages) {
		r.Fatalf("%+v, %d messages; want %+v, %d", s.Box, s.Len(), b, len(want.messages))
	}
	for i, m := range s.All() {
		w := want.messages[i].shownTo(user)
		if m.UID != w.uid || !slices.Equal(flagNames(s, m), w.flags) || m.ModSeq != w.modseq || m.Saved != w.saved ||
			!m.InternalDate().Equal(w.internal) || m.Size != int64(len(w.text)) {
			r.Fatalf("%+v (%v) in %s; want %+v", *m, flagNames(s, m), b.Name, w)
		}
		if r.rand.IntN(20) == 0 && r.read(m.Blob) != w.text {
			r.Fatalf("%q; want %q", r.read(m.Blob), w.text)
		}
	}
	since := want.created + mailbox.ModSeq(r.rand.Int64N(int64(r.model.modseq-want.created)+1))
	gone, complete, err := r.Vanished(r.Context(), b.ID, since)
	r.check(err)
	var wantGone mailbox.UIDSet
	for uid := mailbox.UID(1); uid < want.next; uid++ {
		if want.gone[uid] > since {
			wantGone = wantGone.Append(uid)
		}
	}
	if !complete || gone.String() != wantGone.String() {
		r.Fatalf("gone from %s since %d: %v, %v; want %v", b.Name, since, gone, complete, wantGone)
	}
}
