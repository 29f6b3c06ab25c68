package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"posthouse/internal/testkit"
)

// holding is what a mailbox of alice's holds: the flags of each letter, by its subject.
func (s *server) holding(box string) map[string]string {
	s.t.Helper()
	c, err := s.login("alice@house.test")
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Select(box, &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
		s.t.Fatal(err)
	}
	messages, err := c.Fetch(imap.UIDSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{Envelope: true, Flags: true}).Collect()
	if err != nil {
		s.t.Fatal(err)
	}
	letters := map[string]string{}
	for _, m := range messages {
		if m.Envelope == nil { // flags that somebody changed since SELECT are told besides
			continue
		}
		var flags []string
		for _, f := range m.Flags {
			flags = append(flags, string(f))
		}
		slices.Sort(flags)
		letters[m.Envelope.Subject] = strings.Join(flags, " ")
	}
	return letters
}

// expectBox fails the test unless a mailbox holds just that.
func (s *server) expectBox(box string, want map[string]string) {
	s.t.Helper()
	if got := s.holding(box); !maps.Equal(got, want) {
		s.t.Errorf("%s holds %q, and should hold %q", box, got, want)
	}
}

const imaplibScript = `
import imaplib, ssl, sys
imaplib._MAXLINE = 10**7
m = imaplib.IMAP4(sys.argv[1], int(sys.argv[2]))
assert "STARTTLS" in m.capabilities, m.capabilities
m.starttls(ssl._create_unverified_context())
def ok(answer):
    assert answer[0] == "OK", answer
    return answer[1]
try:
    m.login("alice@house.test", "wrong")
    raise SystemExit("a wrong password was taken")
except imaplib.IMAP4.error:
    pass
ok(m.login("alice@house.test", "secret"))
assert m.state == "AUTH" and "MOVE" in m.capabilities
assert any(b"Archive" in line for line in ok(m.list()))
ok(m.create("Work")); ok(m.subscribe("Work")); ok(m.rename("Work", "Play"))
assert any(b"Work" in line for line in ok(m.lsub()))
ok(m.unsubscribe("Work"))
assert ok(m.namespace())[0].startswith(b'(("" "/"))')
assert ok(m.select("INBOX")) == [b"3"]
assert int(m.response("UIDVALIDITY")[1][0]) > 0
for n in range(1, 4):
    (head, text), end = ok(m.fetch(str(n), "(UID RFC822.SIZE BODY.PEEK[])"))
    assert ("RFC822.SIZE %d" % len(text)).encode() in head, head
    assert text.endswith(b"last line\r\n") and b"Subject: letter-" in text
assert ok(m.search(None, "SUBJECT", '"letter-1"')) == [b"2"]
assert ok(m.uid("SEARCH", "UNSEEN")) == [b"1 2 3"]
assert ok(m.sort("(REVERSE SUBJECT)", "UTF-8", "ALL")) == [b"3 2 1"]
assert ok(m.thread("REFERENCES", "UTF-8", "ALL"))[0].count(b"(") == 3
assert b"\\Flagged" in ok(m.store("2", "+FLAGS", "(\\Flagged work)"))[0]
assert ok(m.copy("1:2", "Play"))
assert ok(m.append("Play", "(\\Seen)", imaplib.Time2Internaldate(1), b"Subject: mine\r\n\r\nText.\r\n"))
assert ok(m.status("Play", "(MESSAGES UNSEEN)")) == [b"Play (MESSAGES 3 UNSEEN 2)"]
ok(m.uid("MOVE", "1", "Play"))
ok(m.store("1", "+FLAGS.SILENT", "\\Deleted"))
assert ok(m.expunge()) == [b"1", b"1"] # that of MOVE too
assert m.append("None", None, None, b"x")[0] == "NO"
ok(m.getquotaroot("INBOX")); ok(m.check()); ok(m.noop())
ok(m.unselect()); ok(m.select("Play", readonly=True)); ok(m.close())
m.enable("UTF8=ACCEPT")
ok(m.create('"\u043f\u0438\u0441\u044c\u043c\u0430"'))
ok(m.append('"\u043f\u0438\u0441\u044c\u043c\u0430"', None, None, "Subject: \u0436\r\n\r\n".encode()))
assert any("\u043f\u0438\u0441\u044c\u043c\u0430".encode() in line for line in ok(m.list()))
ok(m.delete('"\u043f\u0438\u0441\u044c\u043c\u0430"'))
assert m.logout()[0] == "BYE"
`

func TestImaplib(t *testing.T) {
	s := withLetters(t, 3)
	host, port := hostPort(s.imap)
	run(t, exec.Command(testkit.Peer(t, "python3"), "-c", imaplibScript, host, port))
	s.expectBox("INBOX", map[string]string{"letter-2": ""})
	s.expectBox("Play", map[string]string{"letter-0": "", "letter-1": `\Flagged work`, "mine": `\Seen`})
}

// fetchmail by IMAP leaves letters there and marks them as read; a second run finds nothing.
func TestFetchmailByIMAP(t *testing.T) {
	s := withLetters(t, 5)
	fetchmail, dir := testkit.Peer(t, "fetchmail"), t.TempDir()
	host, port := hostPort(s.imap)
	rc, box := filepath.Join(dir, "rc"), filepath.Join(dir, "box")
	write(t, rc, fmt.Sprintf("poll %s protocol imap port %s user \"alice@house.test\" password \"secret\" sslproto \"auto\" no sslcertck keep mda \"/bin/sh -c 'cat >>%s'\"\n",
		host, port, box))
	if err := os.Chmod(rc, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{0, 1} { // mail; no mail
		c := exec.Command(fetchmail, "-f", rc, "--nosyslog", "-i", filepath.Join(dir, "ids"), "--pidfile", filepath.Join(dir, "pid"))
		c.Env = append(os.Environ(), "HOME="+dir, "FETCHMAILHOME="+dir)
		if out, _ := c.CombinedOutput(); c.ProcessState.ExitCode() != want {
			t.Fatalf("run %d: %d: %s", i+1, c.ProcessState.ExitCode(), out)
		}
	}
	got, err := os.ReadFile(box)
	if err != nil || bytes.Count(got, []byte("Subject: letter-")) != 5 || bytes.Count(got, []byte(strings.ReplaceAll(trickyBody, "\r", ""))) != 5 {
		t.Errorf("%v\n%q", err, got)
	}
	for subject, flags := range s.holding("INBOX") {
		if flags != `\Seen` {
			t.Errorf("%s has (%s)", subject, flags)
		}
	}
}

// getmail by IMAP knows by UIDs what it has, and removes what it took when it is told to.
func TestGetmailByIMAP(t *testing.T) {
	imaps := testkit.FreePort(t)
	s := newServer(t, fmt.Sprintf("[[listener]]\nprotocol = \"imaps\"\naddress = %q\n", imaps))
	testkit.NeedRoot(t)
	getmail, dir := testkit.Peer(t, "getmail"), testkit.OpenDir(t, "mail", "mail", "mail/new", "mail/cur", "mail/tmp") // it does not deliver as root
	s.start()
	s.addAccount("alice@house.test")
	fillPOP(t, s, 3)
	host, port := hostPort(imaps)
	rc := filepath.Join(dir, "getmailrc")
	fetch := func(remove string, want int) {
		t.Helper()
		write(t, rc, fmt.Sprintf(`[retriever]
type = SimpleIMAPSSLRetriever
server = %s
port = %s
username = alice@house.test
password = secret
mailboxes = ("INBOX",)
[destination]
type = Maildir
path = %s/mail/
user = mail
[options]
read_all = false
delete = %s
`, host, port, dir, remove))
		out := run(t, exec.Command(getmail, "--getmaildir", dir, "--rcfile", rc))
		if files, err := filepath.Glob(filepath.Join(dir, "mail", "new", "*")); err != nil || len(files) != want {
			t.Errorf("%d letters came, %v: %s", len(files), err, out)
		}
	}
	fetch("false", 3)
	if err := s.deliver("bob@sender.test", letter("bob@sender.test", "alice@house.test", "one more", trickyBody), "alice@house.test"); err != nil {
		t.Fatal(err)
	}
	testkit.Until(t, "the letter", func() bool { return len(s.holding("INBOX")) == 4 })
	fetch("false", 4)
	fetch("true", 4)
	s.expectBox("INBOX", map[string]string{})
}

const imapfilterConfig = `
options.timeout = 30
options.certificates = false
options.hostnames = false
options.starttls = true
options.create = true
options.expunge = true
local a = IMAP { server = "%s", port = %s, username = "alice@house.test", password = "secret" }
local boxes, folders = a:list_all()
assert(#boxes > 5, #boxes)
local inbox = a.INBOX
local exist, recent, unseen = inbox:check_status()
assert(exist == 5 and unseen == 5, exist)
inbox:contain_subject("letter-0"):move_messages(a["Sorted"])
inbox:contain_subject("letter-1"):copy_messages(a["Archive"])
inbox:contain_subject("letter-1"):mark_flagged()
local both = inbox:contain_from("bob@sender.test") * inbox:match_header("Subject: letter-2")
assert(#both == 1, #both)
both:add_flags({ "work" })
local gone = inbox:contain_subject("letter-3") + inbox:contain_body("no such text")
gone:delete_messages()
assert(#inbox:is_unseen() == 3, #inbox:is_unseen())
for _, message in ipairs(inbox:contain_subject("letter-4")) do
	local box, uid = table.unpack(message)
	assert(string.find(box[uid]:fetch_message(), "last line"))
end
a:create_mailbox("Other")
a:rename_mailbox("Other", "Another")
a:delete_mailbox("Another")
`

func TestImapfilter(t *testing.T) {
	s := withLetters(t, 5)
	imapfilter, dir := testkit.Peer(t, "imapfilter"), t.TempDir()
	host, port := hostPort(s.imap)
	rc := filepath.Join(dir, "config.lua")
	write(t, rc, fmt.Sprintf(imapfilterConfig, host, port))
	c := exec.Command(imapfilter, "-c", rc, "-t", s.certificate(), "-l", filepath.Join(dir, "log"))
	c.Env = append(os.Environ(), "IMAPFILTER_HOME="+dir)
	run(t, c)
	s.expectBox("INBOX", map[string]string{"letter-1": `\Flagged`, "letter-2": "work", "letter-4": ""})
	s.expectBox("Sorted", map[string]string{"letter-0": ""})
	s.expectBox("Archive", map[string]string{"letter-1": ""})
}

// After STARTTLS with TLS 1.3 imaplib2 waits for an answer in vain now and then, at Dovecot too: the session tickets wake its reader.
const offlineimapConfig = `[general]
accounts = house
metadata = %[1]s/state
ui = basic
socktimeout = 30
[Account house]
localrepository = here
remoterepository = there
[Repository here]
type = Maildir
localfolders = %[1]s/mail
[Repository there]
type = IMAP
remotehost = %[2]s
remoteport = %[3]s
ssl = no
starttls = no
remoteuser = alice@house.test
remotepass = secret
`

// offlineimap keeps a Maildir and the account the same while both are changed, and a third run has nothing to do.
func TestOfflineimap(t *testing.T) {
	s := withLetters(t, 12)
	offlineimap, dir := testkit.Peer(t, "offlineimap"), t.TempDir()
	host, port := hostPort(s.imap)
	rc := filepath.Join(dir, "rc")
	write(t, rc, fmt.Sprintf(offlineimapConfig, dir, host, port))
	sync := func() string {
		t.Helper()
		c := exec.Command(offlineimap, "-c", rc, "-o")
		c.Env = append(os.Environ(), "HOME="+dir)
		return run(t, c)
	}
	sync()
	inbox := filepath.Join(dir, "mail", "INBOX")
	files, err := filepath.Glob(inbox + "/new/*")
	if err != nil || len(files) != 12 {
		t.Fatalf("%d letters came, %v", len(files), err)
	}
	// Here one is removed, one is flagged, one is new; at the server two others and a new one.
	one := func(subject string) string {
		t.Helper()
		for _, file := range files {
			if text, err := os.ReadFile(file); err != nil {
				t.Fatal(err)
			} else if bytes.Contains(text, []byte("Subject: "+subject+"\n")) {
				return file
			}
		}
		t.Fatalf("no %s", subject)
		return ""
	}
	gone, flagged := one("letter-0"), one("letter-1")
	if err := errors.Join(os.Remove(gone), os.Rename(flagged, filepath.Join(inbox, "cur", filepath.Base(flagged)+"FS"))); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(inbox, "new", "1.mine"), "From: alice@house.test\nSubject: mine\nMessage-ID: <mine@house.test>\n\nText.\n")
	c, err := s.login("alice@house.test")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, selected := c.Select("INBOX", nil).Wait()
	flag := func(subject string, f imap.Flag) error {
		found, err := c.UIDSearch(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: subject}}}, nil).Wait()
		if err != nil {
			return err
		}
		return c.Store(found.All, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{f}}, nil).Close()
	}
	if err := errors.Join(selected, flag("letter-5", imap.FlagDeleted), c.Expunge().Close(), flag("letter-6", imap.FlagAnswered)); err != nil {
		t.Fatal(err)
	}
	want := s.holding("INBOX")
	delete(want, "letter-0")
	want["letter-1"], want["mine"] = `\Flagged \Seen`, ""
	for i := range 2 { // the second one has nothing to do
		out := sync()
		s.expectBox("INBOX", want)
		if files, err := filepath.Glob(inbox + "/[cn]*/*"); err != nil || len(files) != len(want) {
			t.Errorf("run %d: %d letters are here, %v: %s", i+2, len(files), err, out)
		}
	}
}
