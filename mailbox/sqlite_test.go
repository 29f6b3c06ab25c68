package mailbox_test

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"

	"posthouse/mailbox"
)

func open(t testing.TB, o mailbox.Options) *mailbox.SQLite {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := mailbox.OpenSQLite(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSmoke(t *testing.T) {
	ctx := context.Background()
	s := open(t, mailbox.Options{})
	a, err := s.Account(ctx, "alice")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	inbox, err := a.Box(ctx, "inbox")
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		id, err := a.Stage(ctx, strings.NewReader("Subject: x\r\n\r\nhello\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := a.Apply(ctx, mailbox.Add{Box: inbox.ID, Blob: id, Marks: mailbox.Marks{Keywords: []string{"$x"}}})
		if err != nil {
			t.Fatal(err)
		}
		c, err := a.Open(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
		if err != nil || string(b) != "Subject: x\r\n\r\nhello\r\n" {
			t.Fatalf("%q %v", b, err)
		}
		c.Close()
		_ = r
	}
	snap, err := a.Snapshot(ctx, inbox.ID)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v %d %d %v", snap.Box, snap.Len(), len(snap.Slabs), snap.Keywords)
	r, err := a.Apply(ctx, mailbox.SetFlags{Box: inbox.ID, UIDs: mailbox.UIDSet{{1, 50}}, Marks: mailbox.Marks{System: mailbox.Deleted}}, mailbox.Copy{From: inbox.ID, To: 2, UIDs: mailbox.AllUIDs()}, mailbox.Expunge{Box: inbox.ID, UIDs: mailbox.AllUIDs()})
	t.Logf("%+v %v", r, err)
	boxes, _ := a.Boxes(ctx)
	t.Logf("%+v", boxes)
	v, ok, err := a.Vanished(ctx, inbox.ID, 3)
	t.Log(v, ok, err)
	for f, err := range a.Facts(ctx, 31, func(yield func(mailbox.BlobID) bool) { yield(51) }) {
		t.Logf("%s %s %s %s %+v %v", f.Envelope, f.Body, f.BodyStructure, f.Header, f.Parts, err)
	}
}
