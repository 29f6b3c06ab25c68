package scheduled_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"posthouse/delivery/scheduled"
	"posthouse/mail"
	"posthouse/mail/mailtest"
	"posthouse/mailbox"
	"posthouse/spool"
)

// desk is a spool with two accounts' mail, and what alice sees of it.
type desk struct {
	*testing.T
	mailbox.Account
	spool *spool.SQLite
}

func sit(t *testing.T, f func(d *desk)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var store *scheduled.Store
		s, err := spool.OpenSQLite(spool.Options{Dir: dir, Rescheduled: func(id mail.AccountID) { store.Changed(id) }})
		if err != nil {
			t.Fatal(err)
		}
		store = scheduled.NewStore(s)
		d := &desk{t, store.Account("alice"), s}
		d.submit("bob", "bob's", time.Hour)
		f(d)
		if err := errors.Join(d.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
}

func (d *desk) submit(account mail.AccountID, body string, ahead time.Duration) mail.ID {
	d.Helper()
	now := time.Now()
	draft, err := d.spool.Create(d.Context(), mail.Envelope{
		From: mailtest.Address("a@north.test"), To: []mail.Recipient{{Address: mailtest.Address("b@south.test")}},
		Origin: mail.Origin{Account: account}, Received: now, NotBefore: now.Add(ahead),
	})
	if err != nil {
		d.Fatal(err)
	}
	if _, err := io.WriteString(draft, "Subject: "+body+"\r\n\r\n"+body+"\r\n"); err != nil {
		d.Fatal(err)
	}
	id, err := draft.Commit(d.Context())
	if err != nil {
		d.Fatal(err)
	}
	return id
}

func (d *desk) box() *mailbox.Snapshot {
	d.Helper()
	b, err := d.Box(d.Context(), scheduled.Name)
	if err != nil {
		d.Fatal(err)
	}
	s, err := d.Snapshot(d.Context(), b.ID)
	if err != nil {
		d.Fatal(err)
	}
	if s.Box.Messages != int64(s.Len()) {
		d.Errorf("%+v", s.Box)
	}
	return s
}

func (d *desk) apply(changes ...mailbox.Mutation) mailbox.Applied {
	d.Helper()
	applied, err := d.Apply(d.Context(), changes...)
	if err != nil {
		d.Fatal(err)
	}
	return applied
}

func one(uid mailbox.UID) mailbox.UIDSet { return mailbox.UIDSet{{First: uid, Last: uid}} }

func TestShowsItsOwn(t *testing.T) {
	sit(t, func(d *desk) {
		d.submit("alice", "first", time.Hour)
		bobs := d.submit("bob", "again", time.Hour)
		d.submit("alice", "second", 2*time.Hour)
		s := d.box()
		if s.Len() != 2 || s.Box.UIDValidity == 0 || s.At(1).UID <= s.At(0).UID || s.Box.UIDNext <= s.At(1).UID || s.Box.Unseen != 0 {
			d.Fatalf("%+v", s)
		}
		if at := s.At(1).InternalDate(); !at.Equal(time.Now().Add(2 * time.Hour)) {
			d.Errorf("it goes at %v", at)
		}
		n := 0
		blobs := func(yield func(mailbox.BlobID) bool) {
			_ = yield(s.At(0).Blob) && yield(mailbox.BlobID(bobs)) && yield(s.At(1).Blob)
		}
		for f, err := range d.Facts(d.Context(), mailbox.WantEnvelope|mailbox.WantHeader, blobs) {
			if err != nil || len(f.Envelope) == 0 || f.Keys.Subject == "" {
				d.Errorf("%+v, %v", f, err)
			}
			n++
		}
		if n != 2 {
			d.Errorf("facts of %d", n)
		}
		if _, err := d.Open(d.Context(), mailbox.BlobID(bobs)); !errors.Is(err, mailbox.ErrNoBlob) {
			d.Errorf("another's was opened: %v", err)
		}
	})
}

func TestCancels(t *testing.T) {
	sit(t, func(d *desk) {
		first := d.submit("alice", "first", time.Hour)
		d.submit("alice", "second", time.Minute)
		s := d.box()
		id, uid := s.Box.ID, s.At(0).UID
		d.apply(mailbox.SetFlags{Box: id, UIDs: mailbox.AllUIDs(), Marks: mailbox.Marks{System: mailbox.Deleted}})
		if d.box().Box.Deleted != 2 || d.box().Box.ModSeq <= s.Box.ModSeq {
			d.Errorf("%+v", d.box().Box)
		}
		if r := d.apply(mailbox.Expunge{Box: id, UIDs: one(uid)}).Results[0]; r.Source.String() != one(uid).String() {
			d.Errorf("%+v", r)
		}
		if _, err := d.spool.Show(d.Context(), first); !errors.Is(err, spool.ErrNotFound) {
			d.Errorf("it is there: %v", err)
		}
		time.Sleep(2 * time.Minute) // too late for the other
		if r := d.apply(mailbox.Expunge{Box: id, UIDs: mailbox.AllUIDs()}).Results[0]; r.Source != nil {
			d.Errorf("%+v", r)
		}
		if jobs, err := d.spool.Take(d.Context(), spool.Want{Limit: 5, Lease: time.Minute}); err != nil || len(jobs) != 1 {
			d.Errorf("%+v, %v", jobs, err)
		}
		if d.box().Len() != 0 {
			d.Errorf("%+v", d.box())
		}
		if _, err := d.Apply(d.Context(), mailbox.CreateBox{Name: "x"}); !errors.Is(err, mailbox.ErrReadOnly) {
			d.Error(err)
		}
		if _, err := d.Apply(d.Context(), mailbox.Add{Box: id}); !errors.Is(err, mailbox.ErrReadOnly) {
			d.Error(err)
		}
	})
}

func TestConditionalFlags(t *testing.T) {
	sit(t, func(d *desk) {
		d.submit("alice", "first", time.Hour)
		s := d.box()
		before := s.At(0).ModSeq
		d.apply(mailbox.SetFlags{Box: s.Box.ID, UIDs: mailbox.AllUIDs(), Op: mailbox.RemoveFlags, Marks: mailbox.Marks{System: mailbox.Seen}})
		r := d.apply(mailbox.SetFlags{
			Box: s.Box.ID, UIDs: mailbox.AllUIDs(), Op: mailbox.ReplaceFlags, Marks: mailbox.Marks{System: mailbox.Flagged}, UnchangedSince: before,
		}).Results[0]
		if r.Modified == nil || d.box().At(0).Flags != 0 || d.box().Box.Unseen != 1 {
			d.Errorf("%+v, %+v", r, d.box().At(0))
		}
	})
}

// Who waits hears of what is submitted, and of what has gone.
func TestWatch(t *testing.T) {
	sit(t, func(d *desk) {
		ctx, stop := context.WithCancel(d.Context())
		defer synctest.Wait()
		defer stop()
		changes, err := d.Watch(ctx)
		if err != nil {
			d.Fatal(err)
		}
		synctest.Wait()
		begin := time.Now()
		d.submit("alice", "first", time.Minute)
		first := <-changes
		if time.Since(begin) != 0 || d.box().Len() != 1 {
			d.Errorf("after %v", time.Since(begin))
		}
		if second := <-changes; second <= first || d.box().Len() != 0 || time.Since(begin) > 2*time.Minute {
			d.Errorf("%v after %v, %v later", second, first, time.Since(begin))
		}
	})
}
