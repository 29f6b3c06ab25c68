package imapd

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"posthouse/internal/testkit"
	"posthouse/mailbox"
)

const mbsyncConfig = `FSync no

IMAPAccount south
Host 127.0.0.1
Port %s
User bob@south.test
Pass posthouse
SSLType None
AuthMechs LOGIN
PipelineDepth 50

IMAPStore remote
Account south

MaildirStore local
Path %s/
Inbox %s/INBOX
SubFolders Verbatim

Channel south
Far :remote:
Near :local:
Patterns *
Create Both
Remove Both
Expunge Both
SyncState *
`

// manyMessages is how many mbsync gets.
const manyMessages = 10_000

// mbsync keeps a Maildir and a large mailbox the same while both are changed, and has nothing to do when neither was.
func TestMbsync(t *testing.T) {
	mbsync := testkit.Peer(t, "mbsync")
	o := testOptions(t)
	account := bobsAccount(t, o)
	n := manyMessages
	if testing.Short() {
		n = 500
	}
	fill(t, account, n)
	_, addr := start(t, o)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "mbsyncrc")
	if err := os.WriteFile(config, fmt.Appendf(nil, mbsyncConfig, port, dir, dir), 0o600); err != nil {
		t.Fatal(err)
	}
	same := func(messages int) {
		t.Helper()
		run(t, mbsync, "-c", config, "-a")
		here, there := maildir(t, dir+"/INBOX"), held(t, account, mailbox.Inbox)
		if len(there) != messages || !maps.Equal(here, there) {
			t.Fatalf("%d messages at the server, %d in the Maildir, %d expected", len(there), len(here), messages)
		}
		if here, there := maildir(t, dir+"/Sent"), held(t, account, "Sent"); !maps.Equal(here, there) {
			t.Fatalf("Sent: %v at the server, %v in the Maildir", there, here)
		}
	}
	same(n)

	changeMaildir(t, dir, n/100)
	changeAccount(t, account, mailbox.UID(n), mailbox.UID(n/100))
	want := held(t, account, mailbox.Inbox)
	same(n) // on each side, as many went as came
	got := held(t, account, mailbox.Inbox)
	gone, changed := 0, 0
	for subject, flags := range want {
		if now, there := got[subject]; !there {
			gone++
		} else if now != flags {
			changed++
		}
	}
	if gone != n/100 || changed != n/100 || len(held(t, account, "Sent")) != 1 {
		t.Errorf("of what the Maildir removed and flagged, %d and %d did so at the server; %v in Sent", gone, changed, held(t, account, "Sent"))
	}

	before := modSeq(t, account)
	same(n)
	if after := modSeq(t, account); after != before {
		t.Errorf("a sync with nothing to do makes changes %d to %d", before, after)
	}
}

var subjectLine = regexp.MustCompile(`(?m)^Subject: (.*?)\r?$`)

// maildir are the messages of a Maildir: their subjects, with their flags.
func maildir(t *testing.T, dir string) map[string]string {
	t.Helper()
	messages := map[string]string{}
	files, err := filepath.Glob(dir + "/[cn]*/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, flags, _ := strings.Cut(filepath.Base(file), ":2,")
		messages[string(subjectLine.FindSubmatch(text)[1])] = flags
	}
	return messages
}

// held are the messages of a mailbox in the same way.
func held(t *testing.T, account mailbox.Account, name string) map[string]string {
	t.Helper()
	box, err := account.Box(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := account.Snapshot(t.Context(), box.ID)
	if err != nil {
		t.Fatal(err)
	}
	flags, messages := map[mailbox.BlobID]string{}, map[string]string{}
	for _, m := range snapshot.All() {
		letters := ""
		for _, f := range []struct {
			flag   mailbox.Flags
			letter string
		}{{mailbox.Draft, "D"}, {mailbox.Flagged, "F"}, {mailbox.Answered, "R"}, {mailbox.Seen, "S"}, {mailbox.Deleted, "T"}} {
			if m.Flags&f.flag != 0 {
				letters += f.letter
			}
		}
		flags[m.Blob] = letters
	}
	for facts, err := range account.Facts(t.Context(), mailbox.WantHeader, maps.Keys(flags)) {
		if err != nil {
			t.Fatal(err)
		}
		messages[string(subjectLine.FindSubmatch(facts.Header)[1])] = flags[facts.Blob]
	}
	return messages
}

// modSeq is the account's mod-sequence.
func modSeq(t *testing.T, account mailbox.Account) (top mailbox.ModSeq) {
	t.Helper()
	boxes, err := account.Boxes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range boxes {
		top = max(top, b.ModSeq)
	}
	return top
}

// changeMaildir removes n messages, flags n, and adds n, and one to Sent.
func changeMaildir(t *testing.T, dir string, n int) {
	t.Helper()
	names, err := filepath.Glob(dir + "/INBOX/new/*")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{} // mbsync writes the Maildir's own UIDs into the names
	for _, name := range names {
		_, uid, _ := strings.Cut(name, ",U=")
		uid, _, _ = strings.Cut(uid, ":")
		files[uid] = name
	}
	var errs []error
	for i := range n {
		gone, flagged := files[strconv.Itoa(i+1)], files[strconv.Itoa(n+i+1)]
		base, _, _ := strings.Cut(filepath.Base(flagged), ":")
		errs = append(errs, os.Remove(gone), os.Rename(flagged, dir+"/INBOX/cur/"+base+":2,FS"),
			os.WriteFile(fmt.Sprintf("%s/INBOX/new/%d.mine", dir, i), fmt.Appendf(nil, "Subject: mine %d\n\nText.\n", i), 0o600))
	}
	errs = append(errs, os.WriteFile(dir+"/Sent/new/1.mine", []byte("Subject: sent\n\nText.\n"), 0o600))
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// changeAccount removes, flags and adds n messages of an INBOX that had some, others than the Maildir did.
func changeAccount(t *testing.T, account mailbox.Account, had, n mailbox.UID) {
	t.Helper()
	inbox, err := account.Box(t.Context(), mailbox.Inbox)
	if err != nil {
		t.Fatal(err)
	}
	gone, flagged := mailbox.UIDSet{{First: had - n + 1, Last: had}}, mailbox.UIDSet{{First: had - 2*n + 1, Last: had - n}}
	changes := []mailbox.Mutation{
		mailbox.SetFlags{Box: inbox.ID, UIDs: gone, Marks: mailbox.Marks{System: mailbox.Deleted}}, mailbox.Expunge{Box: inbox.ID, UIDs: gone},
		mailbox.SetFlags{Box: inbox.ID, UIDs: flagged, Marks: mailbox.Marks{System: mailbox.Answered}},
	}
	for i := range n {
		blob, err := account.Stage(t.Context(), strings.NewReader(fmt.Sprintf("Subject: theirs %d\r\n\r\nText.\r\n", i)))
		if err != nil {
			t.Fatal(err)
		}
		changes = append(changes, mailbox.Add{Box: inbox.ID, Blob: blob})
	}
	if _, err := account.Apply(t.Context(), changes...); err != nil {
		t.Fatal(err)
	}
}
