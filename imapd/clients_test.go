package imapd

import (
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
