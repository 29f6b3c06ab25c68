package imapd

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"posthouse/internal/testkit"
	"posthouse/mail/mailtest"
	"posthouse/mailbox"
)

func run(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// bobsAccount is what the server of the options keeps for bob.
func bobsAccount(t *testing.T, o Options) mailbox.Account {
	t.Helper()
	login := mailtest.Address("bob@south.test")
	who, err := mustHouse(t).Account(t.Context(), login)
	if err != nil {
		t.Fatal(err)
	}
	account, err := o.Store.Account(t.Context(), who.ID)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { account.Close() })
	return account
}

func TestCurl(t *testing.T) {
	curl := testkit.Peer(t, "curl")
	o := testOptions(t)
	fill(t, bobsAccount(t, o), 3)
	_, addr := start(t, o)
	at := func(path string, more ...string) string {
		return run(t, curl, append([]string{"-sS", "--insecure", "--ssl-reqd", "-u", "bob@south.test:posthouse", "imap://" + addr + path}, more...)...)
	}
	if list := at("/"); !strings.Contains(list, `* LIST (\HasNoChildren) "/" INBOX`) {
		t.Error(list)
	}
	if got := at("/INBOX;UID=2"); got != benchMessage(2) {
		t.Errorf("%q", got)
	}
	if got := at("/INBOX?SUBJECT%20things"); !strings.Contains(got, "* SEARCH 1 2 3") {
		t.Error(got)
	}
	file := filepath.Join(t.TempDir(), "message")
	if err := os.WriteFile(file, []byte(benchMessage(9)), 0o600); err != nil {
		t.Fatal(err)
	}
	at("/Sent", "-T", file)
	if got := at("/Sent;UID=1"); got != benchMessage(9) {
		t.Errorf("%q", got)
	}
}

func TestMbsync(t *testing.T) {
	mbsync := testkit.Peer(t, "mbsync")
	o := testOptions(t)
	account := bobsAccount(t, o)
	fill(t, account, 500)
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
	sync := func() { run(t, mbsync, "-c", config, "-a") }
	sync()
	files, err := filepath.Glob(dir + "/INBOX/*/*")
	if err != nil || len(files) != 500 {
		t.Fatalf("%d messages came, %v", len(files), err)
	}
	// One is removed, one is flagged, one is new.
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	base, _, _ := strings.Cut(filepath.Base(files[1]), ":")
	if err := os.Rename(files[1], dir+"/INBOX/cur/"+base+":2,FS"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/Sent/new/1.mine", []byte("Subject: mine\n\nText.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sync()
	inbox, err := account.Box(t.Context(), mailbox.Inbox)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := account.Snapshot(t.Context(), inbox.ID)
	if err != nil {
		t.Fatal(err)
	}
	flagged := 0
	for _, m := range snapshot.All() {
		if m.Flags&(mailbox.Flagged|mailbox.Seen) == mailbox.Flagged|mailbox.Seen {
			flagged++
		}
	}
	sent, err := account.Box(t.Context(), "Sent")
	if err != nil || snapshot.Len() != 499 || flagged != 1 || sent.Messages != 1 {
		t.Errorf("%d messages, %d flagged, %d sent, %v", snapshot.Len(), flagged, sent.Messages, err)
	}
}

const mbsyncConfig = `
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
