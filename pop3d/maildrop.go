package pop3d

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"posthouse/mailbox"
)

// maildrop is the INBOX of an account as it was when the client logged in, and what the client did with its messages since. A message's
// position is its number less one.
type maildrop struct {
	account mailbox.Account
	box     *mailbox.Snapshot
	missing map[mailbox.BlobID]int64 // octets by which contents grow on their way, if they do
	uidls   map[mailbox.UID]string   // those that messages brought; nil: they were not needed yet
	deleted marks
	read    marks // sent by RETR to their last octet
	count   int   // of those that are not deleted
	octets  int64 // of those that are not deleted
}

// openMaildrop shows an account's INBOX. The account is closed with it.
func openMaildrop(ctx context.Context, account mailbox.Account) (*maildrop, error) {
	inbox, err := account.Box(ctx, mailbox.Inbox)
	if err != nil {
		return nil, err
	}
	d := &maildrop{account: account}
	if d.box, err = account.Snapshot(ctx, inbox.ID); err != nil {
		return nil, err
	}
	if d.missing, err = account.LineEnds(ctx); err != nil {
		return nil, err
	}
	d.begin()
	return d, nil
}

// begin has no message marked as deleted.
func (d *maildrop) begin() {
	d.deleted, d.count, d.octets = nil, d.box.Len(), d.box.Box.Size
	if len(d.missing) > 0 {
		for _, m := range d.box.All() {
			d.octets += d.missing[m.Blob]
		}
	}
}

// size is how many octets of a message are sent, which is what RFC 1939 §11 counts: every line with its CRLF, and no dots before dots.
func (d *maildrop) size(position int) int64 {
	m := d.box.At(position)
	return m.Size + d.missing[m.Blob]
}

// position finds a message by its number.
func (d *maildrop) position(number int) (int, error) {
	switch {
	case number < 1 || number > d.box.Len():
		return 0, errNoMessage
	case d.deleted.has(number - 1):
		return 0, errDeleted
	}
	return number - 1, nil
}

// messages are the positions of those that are not deleted.
func (d *maildrop) messages() iter.Seq[int] {
	return func(yield func(int) bool) {
		for position := range d.box.Len() {
			if !d.deleted.has(position) && !yield(position) {
				return
			}
		}
	}
}

// summary is what clients like to show.
func (d *maildrop) summary() string {
	word := "messages"
	if d.count == 1 {
		word = "message"
	}
	return fmt.Sprintf("%d %s (%d octets)", d.count, word, d.octets)
}

// delete marks a message.
func (d *maildrop) delete(position int) {
	d.deleted.set(position, d.box.Len())
	d.count--
	d.octets -= d.size(position)
}

// appendUIDL appends the name of a message that is the same in every session: RFC 1939 §7.
func (d *maildrop) appendUIDL(b []byte, position int) []byte {
	uid := d.box.At(position).UID
	if name, known := d.uidls[uid]; known {
		return append(b, name...)
	}
	return d.box.Box.AppendUIDL(b, uid)
}

// loadUIDLs has appendUIDL know all names.
func (d *maildrop) loadUIDLs(ctx context.Context) (err error) {
	if d.uidls == nil {
		d.uidls, err = d.account.UIDLs(ctx, d.box.Box.ID)
	}
	return err
}

// update is the UPDATE state of RFC 1939 §6: in one change the messages marked as deleted go, and no others, and those that were read are
// Seen. Its nil means durable.
func (d *maildrop) update(ctx context.Context) error {
	box := d.box.Box.ID
	var changes []mailbox.Mutation
	if gone := d.uids(func(position int) bool { return d.deleted.has(position) }); gone != nil {
		changes = append(changes,
			mailbox.SetFlags{Box: box, UIDs: gone, Op: mailbox.AddFlags, Marks: mailbox.Marks{System: mailbox.Deleted}},
			mailbox.Expunge{Box: box, UIDs: gone})
	}
	return d.apply(ctx, changes)
}

// apply makes changes, and has those Seen that were read and stay. That is put off to the end so that it costs no write for each message;
// it shows other programs what was read here, as Dovecot does.
func (d *maildrop) apply(ctx context.Context, changes []mailbox.Mutation) error {
	seen := d.uids(func(position int) bool {
		return d.read.has(position) && !d.deleted.has(position) && d.box.At(position).Flags&mailbox.Seen == 0
	})
	if seen != nil {
		changes = append(changes, mailbox.SetFlags{Box: d.box.Box.ID, UIDs: seen, Op: mailbox.AddFlags, Marks: mailbox.Marks{System: mailbox.Seen}})
	}
	d.read, d.deleted = nil, nil
	if changes == nil {
		return nil
	}
	_, err := d.account.Apply(ctx, changes...)
	return err
}

// uids are those of the messages for which is says so.
func (d *maildrop) uids(is func(position int) bool) (set mailbox.UIDSet) {
	for position, m := range d.box.All() {
		if is(position) {
			set = set.Append(m.UID)
		}
	}
	return set
}

// close lets go of the account. What was marked as deleted, and not removed by update, stays: RFC 1939 §6.
func (d *maildrop) close(ctx context.Context) error {
	d.deleted = nil
	return errors.Join(d.apply(ctx, nil), d.account.Close())
}

// marks are a set of positions. The zero value is empty.
type marks []uint64

func (m marks) has(position int) bool {
	return m != nil && m[position/64]&(1<<(position%64)) != 0
}

// set adds one of so many.
func (m *marks) set(position, of int) {
	if *m == nil {
		*m = make(marks, of/64+1)
	}
	(*m)[position/64] |= 1 << (position % 64)
}
