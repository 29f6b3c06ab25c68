//go:build peers

package mta

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"

	"posthouse/internal/transcript"
)

// TestScriptsAtPostfix plays the scripts with "setting reference yes" against Postfix: one that it fails is wrong.
func TestScriptsAtPostfix(t *testing.T) {
	addr := startPostfix(t)
	transcript.RunDir(t, filepath.Join(scripts, "smtp"), func(t *testing.T, s *transcript.Script) transcript.Options {
		if s.Settings["reference"] == "" {
			t.Skip("a difference, or a limit of ours")
		}
		return transcript.Options{Dial: transcript.DialTCP(addr)}
	})
}

const postfixMain = `compatibility_level = 3.6
queue_directory = %[1]s/spool
data_directory = %[1]s/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = mail.south.test
mydestination =
inet_protocols = ipv4
mynetworks =
virtual_mailbox_domains = south.test
virtual_mailbox_maps = inline:{ bob@south.test=bob, dave@south.test=dave }
virtual_alias_maps = inline:{ { all@south.test = bob@south.test, dave@south.test } }
virtual_transport = discard:
smtpd_relay_restrictions = reject_unauth_destination
smtpd_helo_required = yes
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
alias_maps =
maillog_file = %[1]s/log
maillog_file_prefixes = %[1]s
`

const postfixMaster = `127.0.0.1:%d inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`

// startPostfix runs an instance of its own until the test ends. Only root may; without Postfix the test is skipped, unless
// POSTHOUSE_REQUIRE_PEERS is set.
func startPostfix(t *testing.T) string {
	missing := t.Skipf
	if os.Getenv("POSTHOUSE_REQUIRE_PEERS") != "" {
		missing = t.Fatalf
	}
	if _, err := exec.LookPath("postfix"); err != nil || os.Getuid() != 0 {
		missing("Postfix is not installed, or we are not root: %v", err)
	}
	owner, err := user.Lookup("postfix")
	if err != nil {
		missing("%v", err)
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		t.Fatal(err)
	}
	dir, port := t.TempDir(), freePort(t)
	for _, d := range []string{dir, filepath.Dir(dir)} { // its processes are not root
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) {
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "etc"), 0o755), os.WriteFile(filepath.Join(dir, "etc", name), []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write("main.cf", fmt.Sprintf(postfixMain, dir))
	write("master.cf", fmt.Sprintf(postfixMaster, port))
	data := filepath.Join(dir, "data")
	if err := errors.Join(os.Mkdir(data, 0o700), os.Chown(data, uid, -1), os.Mkdir(filepath.Join(dir, "spool"), 0o755)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command("postfix", "-c", filepath.Join(dir, "etc"), "start-fg")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := exec.Command("postfix", "-c", filepath.Join(dir, "etc"), "stop").Run(); err != nil {
			t.Error(err)
		}
		cmd.Wait() // it was told to end: its status says so
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("%s\n%s", out.Bytes(), log)
		}
	})
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	waitFor(t, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return addr
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
