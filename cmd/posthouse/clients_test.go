package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"posthouse/internal/testkit"
)

func run(t *testing.T, c *exec.Cmd) string {
	t.Helper()
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(c.Args, " "), err, out)
	}
	return string(out)
}

// withLetters is a server with an account that has some letters, in the order of their numbers.
func withLetters(t *testing.T, n int) *server {
	t.Helper()
	s := newServer(t, "")
	s.start()
	s.addAccount("alice@house.test")
	for i := range n {
		if err := s.deliver("bob@sender.test", letter("bob@sender.test", "alice@house.test", fmt.Sprintf("letter-%d", i), trickyBody), "alice@house.test"); err != nil {
			t.Fatal(err)
		}
		testkit.Until(t, "the letter", func() bool { return len(fetchAll(t, s, "alice@house.test")) == i+1 })
	}
	return s
}

func TestCurlReads(t *testing.T) {
	s := withLetters(t, 1)
	curl := testkit.Peer(t, "curl")
	got := run(t, exec.Command(curl, "--silent", "--show-error", "--ssl-reqd", "--insecure", "--user", "alice@house.test:secret", "imap://"+s.imap+"/INBOX;MAILINDEX=1"))
	if _, body, _ := strings.Cut(got, "\r\n\r\n"); body != trickyBody {
		t.Errorf("%q", got)
	}
	if out, err := exec.Command(curl, "--silent", "--insecure", "--user", "alice@house.test:wrong", "imap://"+s.imap+"/INBOX").CombinedOutput(); err == nil {
		t.Errorf("a wrong password was taken: %s", out)
	}
}

func TestSwaksSends(t *testing.T) {
	s := newServer(t, "")
	s.start()
	s.addAccount("alice@house.test")
	run(t, exec.Command(testkit.Peer(t, "swaks"), "--server", s.submission, "-tls", "--auth", "PLAIN", "--auth-user", "alice@house.test",
		"--auth-password", "secret", "--from", "alice@house.test", "--to", "alice@house.test", "--header", "Subject: from swaks"))
	testkit.Until(t, "the letter", func() bool {
		l := fetchAll(t, s, "alice@house.test")
		return len(l) == 1 && bytes.Contains(l[0], []byte("Subject: from swaks"))
	})
}

// mbsync keeps a Maildir and the account the same, both ways, and a second run has nothing to do.
func TestMbsyncBothWays(t *testing.T) {
	s := withLetters(t, 25)
	mbsync, dir := testkit.Peer(t, "mbsync"), t.TempDir()
	host, port, _ := strings.Cut(s.imap, ":")
	rc := filepath.Join(dir, "mbsyncrc")
	write(t, rc, fmt.Sprintf(`IMAPAccount house
Host %s
Port %s
User alice@house.test
Pass secret
SSLType STARTTLS
CertificateFile %[4]s
AuthMechs PLAIN

IMAPStore far
Account house

MaildirStore near
SubFolders Verbatim
Path %[3]s/mail/
Inbox %[3]s/mail/INBOX

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
`, host, port, dir, s.certificate()))
	if err := os.Mkdir(filepath.Join(dir, "mail"), 0o700); err != nil {
		t.Fatal(err)
	}
	sync := func() { t.Helper(); run(t, exec.Command(mbsync, "-c", rc, "all")) }
	sync()
	files, err := filepath.Glob(filepath.Join(dir, "mail", "INBOX", "*", "*"))
	if err != nil || len(files) != 25 {
		t.Fatalf("%d letters came, %v", len(files), err)
	}
	for _, box := range []string{"Drafts", "Sent", "Archive", "Junk", "Trash"} {
		if _, err := os.Stat(filepath.Join(dir, "mail", box, "cur")); err != nil {
			t.Error(err)
		}
	}
	write(t, filepath.Join(dir, "mail", "Archive", "cur", "1.local:2,FS"), strings.ReplaceAll(letter("a@b.test", "c@d.test", "pushed", "from here\r\n"), "\r\n", "\n"))
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	sync()
	if n := len(fetchAll(t, s, "alice@house.test")); n != 24 {
		t.Errorf("%d letters after one was removed here", n)
	}
	c, err := s.login("alice@house.test")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := fetchBox(t, c, "Archive"); len(got) != 1 || !bytes.Contains(got[0], []byte("Subject: pushed")) {
		t.Errorf("the letter that was put here did not arrive: %q", got)
	}
	sync()
}

// mutt opens the mailbox, copies all letters into a file, and leaves; in the clear and compressed.
func TestMuttReads(t *testing.T) {
	for _, deflate := range []string{"no", "yes"} {
		t.Run("deflate="+deflate, func(t *testing.T) { muttReads(t, deflate) })
	}
}

func muttReads(t *testing.T, deflate string) {
	s := withLetters(t, 3)
	mutt, script, dir := testkit.Peer(t, "mutt"), testkit.Peer(t, "script"), t.TempDir()
	rc, out := filepath.Join(dir, "muttrc"), filepath.Join(dir, "copied")
	write(t, rc, fmt.Sprintf(`set ssl_starttls=yes ssl_force_tls=yes ssl_verify_host=no certificate_file=%q copy=no confirmappend=no confirmcreate=no wait_key=no mbox_type=mbox
set imap_user="alice@house.test" imap_pass="secret" header_cache="" folder=%q
set imap_authenticators="plain:login" imap_deflate=%s
push "<tag-pattern>~A<enter><tag-prefix><copy-message><kill-line>%s<enter><exit>"
`, s.certificate(), dir, deflate, out))
	c := exec.Command(script, "-qec", fmt.Sprintf("%s -n -F %s -f imap://%s/INBOX", mutt, rc, s.imap), "/dev/null")
	testkit.Start(t, c, "TERM=xterm", "HOME="+dir)
	testkit.Until(t, "three copies", func() bool {
		text, _ := os.ReadFile(out)
		return bytes.Count(text, []byte("Subject: letter-")) == 3
	})
}
