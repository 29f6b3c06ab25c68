package imapd

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"posthouse/mailbox"
)

// world is what the account must hold, by what was commanded so far.
type world struct {
	boxes  map[string]*modelBox
	floor  int64             // every mod-sequence up to it was given before the commands under way
	bodies int               // messages that were made
	bound  map[string]string // what name, UIDVALIDITY and UID together mean, for ever
}

type modelBox struct {
	name     string
	validity int64 // 0: nobody was told yet
	uidNext  int64
	messages []*modelMessage
	deleted  bool
}

type modelMessage struct {
	uid  int64
	body string
	was  []marked // the last is what it is now
	gone bool
}

// marked are a message's, from one change to the next.
type marked struct {
	flags  string // canonical
	modSeq int64  // 0: nobody was told yet
}

func newWorld() *world {
	w := &world{boxes: map[string]*modelBox{}, bound: map[string]string{}}
	w.create(mailbox.Inbox)
	return w
}

func (w *world) create(name string) *modelBox {
	w.boxes[name] = &modelBox{name: name, uidNext: 1}
	return w.boxes[name]
}

func (m *modelMessage) now() *marked { return &m.was[len(m.was)-1] }

func (m *modelMessage) subject() string {
	return strings.TrimSuffix(strings.TrimPrefix(m.body[:strings.IndexByte(m.body, '\n')], "Subject: "), "\r")
}

// known is the greatest mod-sequence that anybody was told of it before its last change.
func (m *modelMessage) known() (top int64) {
	for _, s := range m.was[:len(m.was)-1] {
		top = max(top, s.modSeq)
	}
	return top
}

// set changes its flags; without a difference nothing happens.
func (m *modelMessage) set(flags string) {
	if flags != m.now().flags {
		m.was = append(m.was, marked{flags: flags})
	}
}

// add files a message.
func (b *modelBox) add(body, flags string) *modelMessage {
	m := &modelMessage{uid: b.uidNext, body: body, was: []marked{{flags: flags}}}
	b.uidNext++
	b.messages = append(b.messages, m)
	return m
}

// remove takes messages away.
func (b *modelBox) remove(gone func(*modelMessage) bool) (n int) {
	b.messages = slices.DeleteFunc(b.messages, func(m *modelMessage) bool {
		if gone(m) {
			m.gone = true
			n++
			return true
		}
		return false
	})
	return n
}

// transfer copies messages that are there, or moves them.
func (b *modelBox) transfer(messages []*modelMessage, to *modelBox, move bool) (sources, made []*modelMessage) {
	for _, m := range messages {
		if !m.gone {
			sources, made = append(sources, m), append(made, to.add(m.body, m.now().flags))
		}
	}
	if move {
		b.remove(func(m *modelMessage) bool { return slices.Contains(sources, m) })
	}
	return sources, made
}

func hasFlag(flags, flag string) bool { return slices.Contains(strings.Fields(flags), flag) }

func count64(messages []*modelMessage, holds func(*modelMessage) bool) (n int64) {
	for _, m := range messages {
		if holds(m) {
			n++
		}
	}
	return n
}

// compare checks that the store has what the world says, and learns the mod-sequences that nobody was told.
func (w *world) compare(ctx context.Context, account mailbox.Account) error {
	boxes, err := account.Boxes(ctx)
	if err != nil {
		return err
	}
	highest, found := w.floor, 0
	for _, box := range boxes {
		if box.Special != "" {
			continue // nobody uses those that an account is made with
		}
		b := w.boxes[box.Name]
		if b == nil {
			return fmt.Errorf("the store has a mailbox %s", box.Name)
		}
		found++
		top, err := w.compareBox(ctx, account, b, box)
		if err != nil {
			return fmt.Errorf("in the store %s has %w", box.Name, err)
		}
		highest = max(highest, top)
	}
	if found != len(w.boxes) {
		return fmt.Errorf("the store has %d mailboxes, and not all of %v", found, slices.Collect(maps.Keys(w.boxes)))
	}
	w.floor = highest
	return nil
}

func (w *world) compareBox(ctx context.Context, account mailbox.Account, b *modelBox, box mailbox.Box) (top int64, err error) {
	now, err := account.Snapshot(ctx, box.ID)
	if err != nil {
		return 0, err
	}
	if b.validity == 0 {
		b.validity = int64(now.Box.UIDValidity)
	}
	if now.Len() != len(b.messages) || int64(now.Box.UIDNext) != b.uidNext || b.validity != int64(now.Box.UIDValidity) {
		return 0, fmt.Errorf("%d messages, UIDNEXT %d, UIDVALIDITY %d; it should be %d, %d, %d",
			now.Len(), now.Box.UIDNext, now.Box.UIDValidity, len(b.messages), b.uidNext, b.validity)
	}
	for i, s := range now.All() {
		m := b.messages[i]
		flags := canonical(strings.Fields(strings.Trim(string(appendFlags(nil, s.Flags, now.Keywords)), "()")))
		if int64(s.UID) != m.uid || flags != m.now().flags || s.Size != int64(len(m.body)) {
			return 0, fmt.Errorf("UID %d with (%s) and %d octets; it should be UID %d with (%s) and %d octets",
				s.UID, flags, s.Size, m.uid, m.now().flags, len(m.body))
		}
		modSeq := int64(s.ModSeq)
		if m.now().modSeq == 0 && modSeq > m.known() && modSeq > w.floor {
			m.now().modSeq = modSeq
		}
		if m.now().modSeq != modSeq || modSeq > int64(now.Box.ModSeq) {
			return 0, fmt.Errorf("UID %d with mod-sequence %d; before it was %d, the mailbox has %d, and all had up to %d",
				s.UID, modSeq, m.now().modSeq, now.Box.ModSeq, w.floor)
		}
		if err := w.bind(ctx, account, b, m, s.Blob); err != nil {
			return 0, err
		}
	}
	return int64(now.Box.ModSeq), nil
}

// bind checks that a name, a UIDVALIDITY and a UID mean the same octets for ever: RFC 9051 §2.3.1.1.
func (w *world) bind(ctx context.Context, account mailbox.Account, b *modelBox, m *modelMessage, blob mailbox.BlobID) error {
	key := fmt.Sprint(b.name, " ", b.validity, " ", m.uid)
	if body, known := w.bound[key]; known && body == m.body {
		return nil
	} else if known {
		return fmt.Errorf("UID %d for a second message", m.uid)
	}
	w.bound[key] = m.body
	content, err := account.Open(ctx, blob)
	if err != nil {
		return err
	}
	defer content.Close()
	octets, err := io.ReadAll(io.NewSectionReader(content, 0, content.Size()))
	if err == nil && string(octets) != m.body {
		err = fmt.Errorf("UID %d with other octets: %q", m.uid, octets)
	}
	return err
}
