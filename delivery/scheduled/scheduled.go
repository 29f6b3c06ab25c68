// Package scheduled shows an account its own mail that waits in the queue for a time, as a mailbox.Account with one box: whoever
// expunges a message there cancels it.
//
// It must not know sessions or protocols: what it shows is what spool.Spool says of the account, and what it changes is Cancel.
//
// The flow: Store.Account → Snapshot (spool.Scheduled) → Facts, Open to read; Apply(Expunge) → spool.Cancel. UIDs are the numbers of the
// spool's schedule. Flags are in memory, for as long as the process lives: a message that waits for ten seconds needs none that last.
package scheduled

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"posthouse/mail"
	"posthouse/mailbox"
	"posthouse/spool"
)

// Name is that of the box.
const Name = "Scheduled"

// Use is its special use, as IANA has registered it.
const Use mailbox.SpecialUse = "Scheduled"

// Rights are what its owner may do there: read, mark, and expunge, which cancels.
const Rights = mailbox.MayLookUp | mailbox.MayRead | mailbox.MayMarkSeen | mailbox.MayWrite | mailbox.MayMarkDeleted | mailbox.MayExpunge

const theBox mailbox.BoxID = 1

// Queue is what it takes of a spool.Spool.
type Queue interface {
	Scheduled(ctx context.Context, account mail.AccountID) (spool.Schedule, error)
	Cancel(ctx context.Context, account mail.AccountID, id mail.ID) error
	Open(ctx context.Context, id mail.ID) (mail.Content, error)
}

// Store has the accounts that somebody looks at.
type Store struct {
	queue Queue

	mu    sync.Mutex
	shown map[mail.AccountID]*shown
}

// NewStore makes a Store.
func NewStore(q Queue) *Store { return &Store{queue: q, shown: make(map[mail.AccountID]*shown)} }

// shown is what is known of an account as long as somebody has it open.
type shown struct {
	users    int // guarded by Store.mu
	mu       sync.Mutex
	modseq   mailbox.ModSeq // ascends over restarts: it is made of the time
	flags    map[mailbox.UID]flags
	watchers map[chan mailbox.ModSeq]struct{}
}

type flags struct {
	set    mailbox.Flags
	modseq mailbox.ModSeq
}

// Account opens an account's box. Release it by Close.
func (s *Store) Account(id mail.AccountID) mailbox.Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.shown[id]
	if a == nil {
		a = &shown{flags: make(map[mailbox.UID]flags), watchers: make(map[chan mailbox.ModSeq]struct{})}
		a.step()
		s.shown[id] = a
	}
	a.users++
	return &account{store: s, id: id, shown: a}
}

// Changed tells those who watch an account that its schedule is another; it is spool.Options.Rescheduled.
func (s *Store) Changed(id mail.AccountID) {
	s.mu.Lock()
	a := s.shown[id]
	s.mu.Unlock()
	if a != nil {
		a.ring()
	}
}

// step makes the next mod-sequence; mu is held, or nobody else has it.
func (a *shown) step() mailbox.ModSeq {
	a.modseq = max(a.modseq+1, mailbox.ModSeq(time.Now().UnixMicro()))
	return a.modseq
}

// ring tells the watchers that something changed.
func (a *shown) ring() {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.step()
	for c := range a.watchers {
		select {
		case <-c:
		default:
		}
		c <- n
	}
}

// account is one user's; it is a mailbox.Account.
type account struct {
	store *Store
	id    mail.AccountID
	*shown
	once sync.Once
}

// Close is mailbox.Account.
func (a *account) Close() error {
	a.once.Do(func() {
		a.store.mu.Lock()
		defer a.store.mu.Unlock()
		if a.users--; a.users == 0 {
			delete(a.store.shown, a.id)
		}
	})
	return nil
}

// Boxes is mailbox.Account.
func (a *account) Boxes(ctx context.Context) ([]mailbox.Box, error) {
	b, err := a.Box(ctx, Name)
	return []mailbox.Box{b}, err
}

// Box is mailbox.Account.
func (a *account) Box(ctx context.Context, name string) (mailbox.Box, error) {
	if name, err := mailbox.CanonicalName(name); err != nil || name != Name {
		return mailbox.Box{}, mailbox.ErrNoBox
	}
	now, err := a.Snapshot(ctx, theBox)
	if err != nil {
		return mailbox.Box{}, err
	}
	return now.Box, nil
}

// Snapshot is mailbox.Account. The internal date of a message is when it goes.
func (a *account) Snapshot(ctx context.Context, box mailbox.BoxID) (*mailbox.Snapshot, error) {
	if box != theBox {
		return nil, mailbox.ErrNoBox
	}
	schedule, err := a.store.queue.Scheduled(ctx, a.id)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	b := mailbox.Box{
		ID: theBox, Name: Name, Special: Use, UIDValidity: uint32(schedule.Since.Unix()), UIDNext: mailbox.UID(schedule.Next), ModSeq: a.modseq,
	}
	messages := make([]mailbox.Message, len(schedule.Messages))
	kept := make(map[mailbox.UID]flags, len(messages)) // of those that are there
	for i := range schedule.Messages {
		messages[i] = a.message(&schedule.Messages[i])
		kept[messages[i].UID] = flags{messages[i].Flags, messages[i].ModSeq}
		count(&b, &messages[i])
	}
	a.flags = kept
	if len(messages) == 0 {
		return mailbox.NewSnapshot(b, nil, nil), nil
	}
	return mailbox.NewSnapshot(b, nil, []*mailbox.Slab{{Messages: messages}}), nil
}

// message is one of the schedule; mu is held.
func (a *account) message(m *spool.Scheduled) mailbox.Message {
	uid := mailbox.UID(m.N)
	f, known := a.flags[uid]
	if !known {
		f = flags{mailbox.Seen, a.modseq} // its sender has
	}
	return mailbox.Message{
		Blob: mailbox.BlobID(m.ID), Flags: f.set, ModSeq: f.modseq, Size: m.Size, Internal: m.NotBefore.Unix(), Saved: m.Received.Unix(), UID: uid,
	}
}

func count(b *mailbox.Box, m *mailbox.Message) {
	b.Messages++
	b.Size += m.Size
	if m.Flags&mailbox.Seen == 0 {
		b.Unseen++
	}
	if m.Flags&mailbox.Deleted != 0 {
		b.Deleted++
		b.DeletedSize += m.Size
	}
}

// Apply is mailbox.Account. Messages are marked and expunged, and nothing else; one whose time came meanwhile is passed over, since it is
// gone.
func (a *account) Apply(ctx context.Context, changes ...mailbox.Mutation) (mailbox.Applied, error) {
	for _, m := range changes {
		switch m.(type) {
		case mailbox.SetFlags, mailbox.Expunge, mailbox.Within:
		default:
			return mailbox.Applied{}, mailbox.ErrReadOnly
		}
	}
	now, err := a.Snapshot(ctx, theBox)
	if err != nil {
		return mailbox.Applied{}, err
	}
	var applied mailbox.Applied
	for _, m := range changes {
		var r mailbox.Result
		switch m := m.(type) {
		case mailbox.SetFlags:
			r = a.setFlags(now, m)
		case mailbox.Expunge:
			r, err = a.cancel(ctx, now, m)
		}
		if err != nil {
			return mailbox.Applied{}, err
		}
		applied.Results = append(applied.Results, r)
	}
	a.ring()
	a.mu.Lock()
	applied.ModSeq = a.modseq
	a.mu.Unlock()
	return applied, nil
}

// setFlags marks messages.
func (a *account) setFlags(now *mailbox.Snapshot, m mailbox.SetFlags) (r mailbox.Result) {
	a.mu.Lock()
	defer a.mu.Unlock()
	marks := m.Marks.System // there are no keywords
	for _, message := range now.All() {
		f := a.flags[message.UID]
		switch {
		case !m.UIDs.Contains(message.UID):
			continue
		case m.UnchangedSince > 0 && f.modseq > m.UnchangedSince:
			r.Modified = r.Modified.Append(message.UID)
			continue
		}
		r.Source = r.Source.Append(message.UID)
		set := f.set
		switch m.Op {
		case mailbox.AddFlags:
			set |= marks
		case mailbox.RemoveFlags:
			set &^= marks
		case mailbox.ReplaceFlags:
			set = marks
		}
		if set != f.set {
			a.flags[message.UID] = flags{set, a.step()}
		}
	}
	return r
}

// cancel takes back the messages that are marked as deleted.
func (a *account) cancel(ctx context.Context, now *mailbox.Snapshot, m mailbox.Expunge) (r mailbox.Result, err error) {
	for _, message := range now.All() {
		a.mu.Lock()
		marked := a.flags[message.UID].set&mailbox.Deleted != 0 && m.UIDs.Contains(message.UID)
		a.mu.Unlock()
		if !marked {
			continue
		}
		err := a.store.queue.Cancel(ctx, a.id, mail.ID(message.Blob))
		if errors.Is(err, spool.ErrNotFound) {
			continue
		}
		if err != nil {
			return r, err
		}
		r.Source = r.Source.Append(message.UID)
		a.mu.Lock()
		delete(a.flags, message.UID)
		a.mu.Unlock()
	}
	return r, nil
}

// Watch is mailbox.Account.
func (a *account) Watch(ctx context.Context) (<-chan mailbox.ModSeq, error) {
	rung := make(chan mailbox.ModSeq, 1)
	a.mu.Lock()
	a.watchers[rung] = struct{}{}
	a.mu.Unlock()
	out := make(chan mailbox.ModSeq)
	go func() {
		defer close(out)
		defer func() {
			a.mu.Lock()
			delete(a.watchers, rung)
			a.mu.Unlock()
		}()
		a.watch(ctx, rung, out)
	}()
	return out, nil
}

// watch passes on what is rung, and rings when the time of a message has come.
func (a *account) watch(ctx context.Context, rung <-chan mailbox.ModSeq, out chan<- mailbox.ModSeq) {
	for {
		var n mailbox.ModSeq
		timer := time.NewTimer(a.next(ctx))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case n = <-rung:
			timer.Stop()
		case <-timer.C:
			a.mu.Lock()
			n = a.step()
			a.mu.Unlock()
		}
		select {
		case out <- n:
		case <-ctx.Done():
			return
		}
	}
}

// lookAgain is how long nobody looks whether something is scheduled that was not said to be.
const lookAgain = time.Hour

// next is how long it is until the first message goes.
func (a *account) next(ctx context.Context) time.Duration {
	schedule, err := a.store.queue.Scheduled(ctx, a.id)
	if err != nil {
		return lookAgain
	}
	wait := lookAgain
	for _, m := range schedule.Messages {
		wait = min(wait, time.Until(m.NotBefore))
	}
	return max(wait, 0) + time.Millisecond
}

// What follows is of mailboxes that have more than messages.

// Subscriptions is mailbox.Account.
func (a *account) Subscriptions(context.Context) ([]string, error) { return nil, nil }

// Vanished is mailbox.Account: what left is not remembered.
func (a *account) Vanished(context.Context, mailbox.BoxID, mailbox.ModSeq) (mailbox.UIDSet, bool, error) {
	return nil, false, nil
}

// Expunged is mailbox.Account.
func (a *account) Expunged(context.Context) iter.Seq2[mailbox.Expunged, error] {
	return func(func(mailbox.Expunged, error) bool) {}
}

// UIDLs is mailbox.Account.
func (a *account) UIDLs(context.Context, mailbox.BoxID) (map[mailbox.UID]string, error) {
	return nil, nil
}

// LineEnds is mailbox.Account.
func (a *account) LineEnds(context.Context) (map[mailbox.BlobID]int64, error) { return nil, nil }

// Usage is mailbox.Account: the queue's messages are not the account's yet.
func (a *account) Usage(context.Context) (mailbox.Usage, error) { return mailbox.Usage{}, nil }

// Annotations is mailbox.Account.
func (a *account) Annotations(context.Context, mailbox.BoxID, mailbox.ModSeq) ([]mailbox.Annotation, error) {
	return nil, nil
}

// Annotated is mailbox.Account.
func (a *account) Annotated(context.Context, mailbox.ModSeq) ([]mailbox.BoxID, mailbox.ModSeq, error) {
	return nil, 0, nil
}

// Suspects is mailbox.Account: there is no index.
func (a *account) Suspects(_ context.Context, texts ...[]byte) []mailbox.Suspects {
	return make([]mailbox.Suspects, len(texts))
}

// Fuzzy is mailbox.Account.
func (a *account) Fuzzy(context.Context, mailbox.Place, string) mailbox.Ranks { return mailbox.Ranks{} }
