package mailbox

import (
	"context"
	"slices"
	"sync"

	"posthouse/internal/db"
	"posthouse/mail"
)

// handle is somebody's account: Account. For another user than the owner it shows that user's \Seen in place of the owner's.
type handle struct {
	*account
	user mail.AccountID // empty: the owner
	once sync.Once

	mu   sync.Mutex // guards what follows
	last shown
}

// look is a box and what a reader has seen of it, at one moment.
type look struct {
	base   *Snapshot
	reader *reader  // nil: it has none, or the owner looks
	marks  [][]mark // of the reader's parts
}

// shown is a look put together, with the slabs it is made of: the next one shares what has not changed.
type shown struct {
	look
	snapshot *Snapshot
	slabs    map[*Slab]shownSlab
}

type shownSlab struct {
	slab   *Slab
	parts  []*part
	unseen int64
}

// Close is Account.
func (h *handle) Close() error {
	h.once.Do(h.account.release)
	return nil
}

// Apply is Account.
func (h *handle) Apply(ctx context.Context, changes ...Mutation) (Applied, error) {
	applied, err := h.account.applyAs(ctx, h.user, changes)
	for i := range applied.Results {
		if b := &applied.Results[i].Box; b.ID != 0 && h.user != "" {
			b.Owner = h.id
		}
	}
	return applied, err
}

// Boxes is Account.
func (h *handle) Boxes(ctx context.Context) ([]Box, error) {
	boxes, err := h.account.Boxes(ctx)
	if err != nil || h.user == "" {
		return boxes, err
	}
	for i := range boxes {
		if boxes[i], err = h.show(ctx, boxes[i]); err != nil {
			return nil, err
		}
	}
	return boxes, nil
}

// Box is Account.
func (h *handle) Box(ctx context.Context, name string) (Box, error) {
	b, err := h.account.Box(ctx, name)
	if err != nil || h.user == "" {
		return b, err
	}
	return h.show(ctx, b)
}

// show is a box with the user's numbers. One that the user has marked nothing in costs nothing.
func (h *handle) show(ctx context.Context, b Box) (Box, error) {
	b.Owner = h.id
	if b.NoSelect {
		return b, nil
	}
	if held, err := h.current(b.ID); err != nil || held.readerOf(h.user) == nil {
		b.Unseen = b.Messages
		return b, nil //nolint:nilerr // it went just now; its list entry is true all the same
	}
	l, err := h.look(ctx, b.ID, h.user)
	if err != nil {
		return b, err
	}
	return l.box(h.id), nil
}

// box is the box with the reader's numbers, for the owner's ID.
func (l *look) box(owner mail.AccountID) Box {
	b := l.base.Box
	b.Owner = owner
	if l.reader != nil {
		b.ModSeq = max(b.ModSeq, l.reader.modseq)
	}
	b.Unseen = l.unseen()
	return b
}

// unseen counts what the reader has not seen, if it was not counted yet.
func (l *look) unseen() int64 {
	n := l.base.Box.Messages
	if l.reader == nil {
		return n
	}
	if known := l.reader.unseen.Load(); known != nil && known.of == l.base {
		return known.n
	}
	for _, marks := range l.marks {
		for _, m := range marks {
			if _, there := l.base.Find(m.uid); m.seen && there {
				n--
			}
		}
	}
	l.reader.unseen.Store(&unseenCount{l.base, n})
	return n
}

// Snapshot is Account.
func (h *handle) Snapshot(ctx context.Context, id BoxID) (*Snapshot, error) {
	if h.user == "" {
		return h.account.Snapshot(ctx, id)
	}
	l, err := h.look(ctx, id, h.user)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last.base != l.base || h.last.reader != l.reader {
		h.last = l.over(&h.last, h.id)
	}
	return h.last.snapshot, nil
}

// over puts a look together, sharing what it can with the last.
func (l look) over(last *shown, owner mail.AccountID) shown {
	s := shown{look: l, slabs: make(map[*Slab]shownSlab, len(l.base.Slabs))}
	slabs := make([]*Slab, len(l.base.Slabs))
	unseen := int64(0)
	for i, base := range l.base.Slabs {
		from, to := l.span(base)
		var parts []*part
		if from < to {
			parts = l.reader.parts[from:to]
		}
		made, known := last.slabs[base]
		if !known || !slices.Equal(made.parts, parts) {
			made = shownSlab{slab: showSlab(base, l.marks[from:to]), parts: parts}
			made.count()
		}
		s.slabs[base] = made
		slabs[i] = made.slab
		unseen += made.unseen
	}
	if l.reader != nil {
		l.reader.unseen.Store(&unseenCount{l.base, unseen})
	}
	s.snapshot = NewSnapshot(l.box(owner), l.base.Keywords, slabs)
	return s
}

func (s *shownSlab) count() {
	for i := range s.slab.Messages {
		if s.slab.Messages[i].Flags&Seen == 0 {
			s.unseen++
		}
	}
}

// span is the positions of the parts that have marks of a slab's messages.
func (l *look) span(s *Slab) (from, to int) {
	if l.reader == nil {
		return 0, 0
	}
	first, last := s.Messages[0].UID>>partBits, s.Messages[len(s.Messages)-1].UID>>partBits
	from, _ = slices.BinarySearchFunc(l.reader.parts, first, comparePart)
	to, _ = slices.BinarySearchFunc(l.reader.parts, last+1, comparePart)
	return from, to
}

// showSlab is a slab with what a reader has said of its messages; the slab itself if that makes no difference.
func showSlab(base *Slab, parts [][]mark) *Slab {
	var messages []Message
	var marks []mark
	for i := range base.Messages {
		m := &base.Messages[i]
		for len(marks) > 0 && marks[0].uid < m.UID || len(marks) == 0 && len(parts) > 0 {
			if len(marks) > 0 {
				marks = marks[1:]
			} else {
				marks, parts = parts[0], parts[1:]
			}
		}
		var k mark
		if len(marks) > 0 && marks[0].uid == m.UID {
			k = marks[0]
		}
		if shown := k.on(m); shown != *m {
			if messages == nil {
				messages = slices.Clone(base.Messages)
			}
			messages[i] = shown
		}
	}
	if messages == nil {
		return base
	}
	return &Slab{Messages: messages}
}

// look is a box as committed, and what a user has seen of it.
func (a *account) look(ctx context.Context, id BoxID, user mail.AccountID) (l look, err error) {
	b, err := a.current(id)
	if err != nil {
		return l, err
	}
	if l, ok := b.lookHeld(user); ok {
		return l, nil
	}
	err = a.with(func(d *db.DB) (err error) {
		l, err = a.readLook(ctx, d, id, user)
		return err
	})
	return l, err
}

// lookHeld is the look, if all of it is in memory.
func (b *box) lookHeld(user mail.AccountID) (l look, ok bool) {
	if l.base = b.snapshot.Load(); l.base == nil {
		return l, false
	}
	if user == "" {
		return l, true
	}
	if l.reader = b.readerOf(user); l.reader == nil {
		return l, true
	}
	l.marks = l.reader.held()
	return l, l.marks != nil
}
