package main

import (
	"bytes"
	"fmt"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"posthouse/internal/testkit"
)

// popServer is a server with an account that has some letters, and where it speaks POP3.
func popServer(t *testing.T, n int) (s *server, pop3, pop3s string) {
	t.Helper()
	pop3, pop3s = testkit.FreePort(t), testkit.FreePort(t)
	s = newServer(t, fmt.Sprintf("[[listener]]\nprotocol = \"pop3\"\naddress = %q\n[[listener]]\nprotocol = \"pop3s\"\naddress = %q\n", pop3, pop3s))
	s.start()
	s.addAccount("alice@house.test")
	fillPOP(t, s, n)
	return s, pop3, pop3s
}

// fillPOP delivers letters, and waits until there are that many.
func fillPOP(t *testing.T, s *server, n int) {
	t.Helper()
	for i := range n {
		text := letter("bob@sender.test", "alice@house.test", fmt.Sprintf("letter-%d", i), trickyBody)
		if err := s.deliver("bob@sender.test", text, "alice@house.test"); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Until(t, "the letters", func() bool { return len(fetchAll(t, s, "alice@house.test")) == n })
}

func hostPort(addr string) (host, port string) {
	host, port, _ = strings.Cut(addr, ":")
	return host, port
}

func TestCurlReadsByPOP3(t *testing.T) {
	_, pop3, pop3s := popServer(t, 2)
	curl := testkit.Peer(t, "curl")
	for name, args := range map[string][]string{
		"implicit TLS": {"pop3s://" + pop3s}, "STLS": {"--ssl-reqd", "pop3://" + pop3},
		"AUTH PLAIN": {"--login-options", "AUTH=PLAIN", "pop3s://" + pop3s},
	} {
		args = append([]string{"--silent", "--show-error", "--insecure", "--user", "alice@house.test:secret"}, args...)
		args[len(args)-1] += "/2"
		got := run(t, exec.Command(curl, args...))
		if _, body, _ := strings.Cut(got, "\r\n\r\n"); body != trickyBody {
			t.Errorf("%s: %q", name, got)
		}
	}
	list := run(t, exec.Command(curl, "--silent", "--insecure", "--user", "alice@house.test:secret", "pop3s://"+pop3s+"/"))
	if strings.Count(list, "\n") != 2 || !strings.HasPrefix(list, "1 ") {
		t.Errorf("%q", list)
	}
	for _, args := range [][]string{{"alice@house.test:wrong", "pop3s://" + pop3s}, {"alice@house.test:secret", "pop3://" + pop3}} { // no password in the clear
		if out, err := exec.Command(curl, "--silent", "--insecure", "--user", args[0], args[1]).CombinedOutput(); err == nil {
			t.Errorf("%v was let in: %s", args, out)
		}
	}
}

const poplibScript = `
import poplib, ssl, sys
host, port, host2, port2 = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
context = ssl._create_unverified_context()
p = poplib.POP3(host, port)
assert "STLS" in p.capa() and "USER" not in p.capa(), p.capa()
p.stls(context)
assert "USER" in p.capa() and p.capa()["EXPIRE"] == ["NEVER"], p.capa()
p.utf8()
p.user("alice@house.test")
p.pass_("secret")
count, size = p.stat()
assert count == 3, count
sizes = [int(x.split()[1]) for x in p.list()[1]]
assert sum(sizes) == size, (sizes, size)
names = p.uidl()[1]
for n in range(1, 4):
    lines, octets = p.retr(n)[1:]
    assert octets == sizes[n-1], (octets, sizes)
    assert p.uidl(n).split(b" ", 1)[1] == names[n-1]
    top = p.top(n, 1)[1]
    assert lines[:len(top)] == top and top[-1] == b"."
p.dele(2)
p.rset()
p.dele(1)
p.quit()
p = poplib.POP3_SSL(host2, port2, context=context)
p.user("alice@house.test")
p.pass_("secret")
assert p.stat()[0] == 2 and [x.split()[1] for x in p.uidl()[1]] == [x.split()[1] for x in names[1:]]
p.close()
`

func TestPoplib(t *testing.T) {
	s, pop3, pop3s := popServer(t, 3)
	host, port := hostPort(pop3)
	host2, port2 := hostPort(pop3s)
	run(t, exec.Command(testkit.Peer(t, "python3"), "-c", poplibScript, host, port, host2, port2))
	if n := len(fetchAll(t, s, "alice@house.test")); n != 2 {
		t.Errorf("%d letters", n)
	}
}

// fetchmail takes everything with it, after STLS; a second run finds nothing.
func TestFetchmail(t *testing.T) {
	s, pop3, _ := popServer(t, 5)
	fetchmail, dir := testkit.Peer(t, "fetchmail"), t.TempDir()
	host, port := hostPort(pop3)
	rc, box := filepath.Join(dir, "rc"), filepath.Join(dir, "box")
	write(t, rc, fmt.Sprintf("poll %s protocol pop3 port %s uidl user \"alice@house.test\" password \"secret\" sslproto \"auto\" no sslcertck fetchall mda \"/bin/sh -c 'cat >>%s'\"\n", host, port, box))
	if err := os.Chmod(rc, 0o600); err != nil {
		t.Fatal(err)
	}
	fetch := func() ([]byte, int) {
		c := exec.Command(fetchmail, "-f", rc, "--nosyslog", "-i", filepath.Join(dir, "ids"), "--pidfile", filepath.Join(dir, "pid"))
		c.Env = append(os.Environ(), "HOME="+dir, "FETCHMAILHOME="+dir)
		out, _ := c.CombinedOutput() // its exit code says
		return out, c.ProcessState.ExitCode()
	}
	if out, code := fetch(); code != 0 {
		t.Fatalf("%d: %s", code, out)
	}
	got, err := os.ReadFile(box)
	if err != nil || bytes.Count(got, []byte("Subject: letter-")) != 5 || bytes.Count(got, []byte(strings.ReplaceAll(trickyBody, "\r", ""))) != 5 {
		t.Errorf("%v\n%q", err, got)
	}
	if out, code := fetch(); code != 1 { // no mail
		t.Errorf("%d: %s", code, out)
	}
	if n := len(fetchAll(t, s, "alice@house.test")); n != 0 {
		t.Errorf("%d letters are left", n)
	}
}

// getmail leaves everything there, and knows by UIDL what it has.
func TestGetmail(t *testing.T) {
	s, _, pop3s := popServer(t, 3)
	testkit.NeedRoot(t)
	getmail, dir := testkit.Peer(t, "getmail"), testkit.OpenDir(t, "mail", "mail", "mail/new", "mail/cur", "mail/tmp") // it does not deliver as root
	host, port := hostPort(pop3s)
	rc := filepath.Join(dir, "getmailrc")
	write(t, rc, fmt.Sprintf(`[retriever]
type = SimplePOP3SSLRetriever
server = %s
port = %s
username = alice@house.test
password = secret
[destination]
type = Maildir
path = %s/mail/
user = mail
[options]
read_all = false
delete = false
`, host, port, dir))
	fetch := func() int {
		t.Helper()
		run(t, exec.Command(getmail, "--getmaildir", dir, "--rcfile", rc))
		files, err := filepath.Glob(filepath.Join(dir, "mail", "new", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(files)
	}
	if n := fetch(); n != 3 {
		t.Errorf("%d letters came", n)
	}
	if err := s.deliver("bob@sender.test", letter("bob@sender.test", "alice@house.test", "one more", trickyBody), "alice@house.test"); err != nil {
		t.Fatal(err)
	}
	testkit.Until(t, "the letter", func() bool { return len(fetchAll(t, s, "alice@house.test")) == 4 })
	if n := fetch(); n != 4 {
		t.Errorf("%d letters after one more", n)
	}
}

// QUIT that was answered +OK has removed what was marked, whatever happens then; and what was not marked is there.
func TestKillAfterQuit(t *testing.T) {
	pop3 := testkit.FreePort(t)
	s := newServer(t, fmt.Sprintf("[[listener]]\nprotocol = \"pop3\"\naddress = %q\nallow_plaintext_auth = true\n", pop3))
	s.quiet = true
	s.start()
	s.addAccount("alice@house.test")
	for range testkit.CrashRounds(5) {
		fillPOP(t, s, 4)
		third := fetchAll(t, s, "alice@house.test")[2]
		popDialogue(t, pop3, "DELE 1", "DELE 2", "DELE 4", "QUIT")
		s.process.Kill()
		s.start()
		letters := fetchAll(t, s, "alice@house.test")
		if len(letters) != 1 || !bytes.Equal(letters[0], third) {
			t.Fatalf("%d letters are there", len(letters))
		}
		popDialogue(t, pop3, "DELE 1", "QUIT")
	}
}

// popDialogue is a session in which everything is answered +OK.
func popDialogue(t *testing.T, addr string, lines ...string) {
	t.Helper()
	c, err := textproto.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i, line := range append([]string{"", "USER alice@house.test", "PASS secret"}, lines...) {
		if i > 0 {
			if err := c.PrintfLine("%s", line); err != nil {
				t.Fatal(err)
			}
		}
		if answer, err := c.ReadLine(); err != nil || !strings.HasPrefix(answer, "+OK") {
			t.Fatalf("%s: %q, %v", line, answer, err)
		}
	}
}
