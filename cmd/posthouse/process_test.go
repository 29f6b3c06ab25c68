package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-smtp"

	"posthouse/internal/testkit"
)

// server is posthouse serve as a process of its own, on free ports, for the domain house.test with some accounts.
type server struct {
	t          *testing.T
	dir        string
	smtp, imap string
	submission string
	quiet      bool // it logs nothing of what is usual
	process    *testkit.Process
}

// newServer writes a configuration; more is appended to it.
func newServer(t *testing.T, more string) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), smtp: testkit.FreePort(t), imap: testkit.FreePort(t), submission: testkit.FreePort(t)}
	conf := fmt.Sprintf(`hostname = "mail.house.test"
data_dir = %q
postmaster = "alice@house.test"
[tls]
mode = "self-signed"
[[listener]]
protocol = "smtp"
address = %q
[[listener]]
protocol = "imap"
address = %q
allow_plaintext_auth = true
[[listener]]
protocol = "submission"
address = %q
allow_plaintext_auth = true
[[domain]]
name = "house.test"
`, filepath.Join(s.dir, "data"), s.smtp, s.imap, s.submission)
	if err := os.WriteFile(s.config(), []byte(conf+more), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *server) config() string { return filepath.Join(s.dir, "posthouse.toml") }

// certificate is the file of the server's own certificate, for clients to trust.
func (s *server) certificate() string {
	return filepath.Join(s.dir, "data", "keys", "tls", "cert.pem")
}

func (s *server) command(args ...string) *exec.Cmd {
	c := exec.Command("posthouse", append(args, "--config", s.config())...)
	c.Env = append(os.Environ(), socketEnv+"=")
	return c
}

// start starts the process and waits until it answers.
func (s *server) start() {
	s.t.Helper()
	args := []string{"serve"}
	if s.quiet {
		args = append(args, "--log", "warn")
	}
	s.process = testkit.Start(s.t, s.command(args...))
	for _, addr := range []string{s.smtp, s.imap, s.submission} {
		testkit.WaitPort(s.t, addr)
	}
}

// run runs a command against the server and returns what it printed.
func (s *server) run(args ...string) string {
	s.t.Helper()
	out, err := s.command(args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("posthouse %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// refused runs a server that must not start, and returns what it said.
func (s *server) refused() string {
	s.t.Helper()
	p := testkit.Start(s.t, s.command("serve"))
	untilItEnds(s.t, p)
	if p.ExitCode() != exitFailed {
		s.t.Errorf("exit code %d", p.ExitCode())
	}
	return p.Output()
}

// addAccount adds an account whose password is "secret".
func (s *server) addAccount(login string) {
	s.t.Helper()
	c := s.command("account", "add", login, "--password-stdin")
	c.Stdin = strings.NewReader("secret\n")
	if out, err := c.CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
}

// deliver hands a letter to the MX.
func (s *server) deliver(from, letter string, to ...string) error {
	c, err := smtp.Dial(s.smtp)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.SendMail(from, to, strings.NewReader(letter))
}

// login opens an IMAP session of an account made by addAccount.
func (s *server) login(who string) (*imapclient.Client, error) { return s.loginWith(who, "secret") }

func (s *server) loginWith(who, secret string) (*imapclient.Client, error) {
	c, err := imapclient.DialInsecure(s.imap, nil)
	if err != nil {
		return nil, err
	}
	if err := c.Login(who, secret).Wait(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// SIGTERM under load: no answer is cut in the middle, and what was answered is there afterwards.
func TestOrderlyStopUnderLoad(t *testing.T) {
	s := newServer(t, "")
	s.start()
	s.addAccount("alice@house.test")
	l := newLoad(s, "alice@house.test", 4)
	l.untilAccepted(50)
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-s.process.Done()
	l.stop()
	if code := s.process.ExitCode(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, s.process.Output())
	}
	s.start()
	l.audit()
}

func TestSecondProcessIsRefused(t *testing.T) {
	s := newServer(t, "")
	s.start()
	if out := s.refused(); !strings.Contains(out, "in use by another process") {
		t.Errorf("it says\n%s", out)
	}
}

func TestReloadTakesANewCertificate(t *testing.T) {
	s := newServer(t, "")
	s.start()
	if err := s.process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.run("reload")
	c, err := net.Dial("tcp", s.smtp)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// fetchAll returns the letters in an account's INBOX.
func fetchAll(t *testing.T, s *server, who string) (letters [][]byte) {
	t.Helper()
	c, err := s.login(who)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return fetchBox(t, c, "INBOX")
}
