package imapd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"posthouse/directory"
	"posthouse/internal/link"
	"posthouse/mail"
	"posthouse/mailbox"
)

// notified is a session that listens, and what it was told.
func notified(t *testing.T, line string) (*session, *bytes.Buffer) {
	t.Helper()
	s, _ := loggedInSession(t, 1)
	told := &bytes.Buffer{}
	s.out = link.NewWriter(told)
	mustRun(t, s, parseCommand(t, "a "+line+"\r\n"))
	told.Reset()
	return s, told
}

func tellNotices(t *testing.T, s *session) {
	t.Helper()
	if err := s.tellNotices(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.out.Flush(); err != nil {
		t.Fatal(err)
	}
}

// RFC 5465 §5.8: what is too much to tell ends it all, with a word.
func TestNotificationOverflow(t *testing.T) {
	t.Parallel()
	s, told := notified(t, "NOTIFY SET (selected (MessageNew MessageExpunge)) (personal (MailboxName))")
	create := func(prefix string, n int) {
		t.Helper()
		var boxes []mailbox.Mutation
		for i := range n {
			boxes = append(boxes, mailbox.CreateBox{Name: fmt.Sprintf("%s%04d", prefix, i)})
		}
		if _, err := s.account.Apply(t.Context(), boxes...); err != nil {
			t.Fatal(err)
		}
	}
	create("few", maxNotices)
	tellNotices(t, s)
	if n := strings.Count(told.String(), "* LIST "); n != maxNotices {
		t.Errorf("%d mailboxes are told of", n)
	}
	told.Reset()
	create("many", maxNotices+1)
	tellNotices(t, s)
	if got := told.String(); !strings.HasPrefix(got, "* OK [NOTIFICATIONOVERFLOW] ") || strings.Count(got, "\n") != 1 {
		t.Errorf("%.200q", got)
	}
	if s.notification != nil || !s.client.deaf() {
		t.Error("it goes on")
	}
}

// A client that is told of mailboxes knows how many messages each has, whoever did what.
func TestNoticesKeepTheClientUpToDate(t *testing.T) {
	t.Parallel()
	s, told := notified(t, "NOTIFY SET (personal (MessageNew MessageExpunge MailboxName))")
	other := s.account // changes by it are not the session's own
	counts := map[string]string{}
	for step := range 30 {
		name := fmt.Sprintf("box%d", step%3)
		if step < 3 {
			if _, err := other.Apply(t.Context(), mailbox.CreateBox{Name: name}); err != nil {
				t.Fatal(err)
			}
		}
		box, err := other.Box(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		inbox := mailbox.Copy{From: s.view.box, UIDs: mailbox.AllUIDs(), To: box.ID}
		if step%4 == 3 {
			_, err = other.Apply(t.Context(), mailbox.SetFlags{Box: box.ID, UIDs: mailbox.AllUIDs(), Marks: mailbox.Marks{System: mailbox.Deleted}},
				mailbox.Expunge{Box: box.ID, UIDs: mailbox.AllUIDs()})
		} else {
			_, err = other.Apply(t.Context(), inbox)
		}
		if err != nil {
			t.Fatal(err)
		}
		if step%5 == 4 { // its own, which is no news
			mustRun(t, s, parseCommand(t, "a COPY 1 "+name+"\r\n"))
		}
		if step%2 == 0 {
			continue
		}
		tellNotices(t, s)
		for line := range strings.Lines(told.String()) {
			var name, messages string
			if n, _ := fmt.Sscanf(line, "* STATUS %s (MESSAGES %s", &name, &messages); n == 2 {
				counts[name] = messages
			}
		}
		told.Reset()
		for i := range min(step+1, 3) {
			box, err := other.Box(t.Context(), fmt.Sprintf("box%d", i))
			if err != nil {
				t.Fatal(err)
			}
			if known, ok := counts[box.Name]; ok && known != fmt.Sprint(box.Messages) {
				t.Fatalf("after step %d %s has %d messages, and the client thinks %s", step, box.Name, box.Messages, known)
			}
		}
	}
	if len(counts) != 3 {
		t.Errorf("the client heard of %d mailboxes", len(counts))
	}
}

// many are more accounts that share with everybody than NOTIFY follows.
type many struct{ neighbours }

func (m many) SharedWith(ctx context.Context, _ mail.AccountID) (owners []directory.Account, err error) {
	for i := range maxFollowed + 1 {
		owner, err := m.AccountByID(ctx, mail.AccountID(fmt.Sprintf("owner%d", i)))
		if err != nil {
			return nil, err
		}
		owners = append(owners, owner)
	}
	return owners, nil
}

// RFC 5465 §3.1: what would be too expensive is refused, and what was asked for before goes on.
func TestNotificationOfManyAccounts(t *testing.T) {
	t.Parallel()
	s, _ := notified(t, "NOTIFY SET (personal (MailboxName))")
	s.server.opts.Sharing = many{}
	before := s.notification
	_, err := parseCommand(t, "a NOTIFY SET (subtree \"Other Users\" (MailboxName))\r\n").run(t.Context(), s)
	if !errors.Is(err, errOverflow) || s.notification != before {
		t.Errorf("%v", err)
	}
	mustRun(t, s, parseCommand(t, "a NOTIFY SET (subtree \"Other Users/owner7@south.test\" (MailboxName))\r\n"))
	if n := len(s.notification.accounts); n != 2 {
		t.Errorf("%d accounts are followed", n)
	}
}
