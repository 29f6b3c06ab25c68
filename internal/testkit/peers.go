package testkit

import (
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// missing skips the test, or fails it where peers are required.
func missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv(RequirePeers) != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// NeedRoot is for tests that only root can run.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		missing(t, "only root can do this")
	}
}

// OpenDir is a temporary folder that other users may enter, with the folders named, which belong to an owner.
func OpenDir(t testing.TB, owner string, folders ...string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "posthouse-peer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	who, err := user.Lookup(owner)
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(who.Uid)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if err := os.Mkdir(filepath.Join(dir, f), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(dir, f), uid, -1); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func port(t testing.TB, addr string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func writeFile(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

const postfixMain = `compatibility_level = 3.6
queue_directory = DIR/spool
data_directory = DIR/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtp_host_lookup = native
alias_maps =
maillog_file = DIR/data/log
maillog_file_prefixes = DIR
`

const postfixMaster = ` inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`

// Postfix starts a Postfix of its own and tells where it listens. main is added to its main.cf.
func Postfix(t testing.TB, main string) (addr string) {
	t.Helper()
	program := Peer(t, "postfix")
	NeedRoot(t)
	dir, addr := OpenDir(t, "postfix", "data"), FreePort(t)
	etc := filepath.Join(dir, "etc")
	for _, d := range []string{etc, filepath.Join(dir, "spool")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"postfix-files", "dynamicmaps.cf"} {
		if text, err := os.ReadFile("/etc/postfix/" + file); err == nil {
			writeFile(t, filepath.Join(etc, file), string(text))
		}
	}
	writeFile(t, filepath.Join(etc, "main.cf"), strings.ReplaceAll(postfixMain, "DIR", dir)+main)
	writeFile(t, filepath.Join(etc, "master.cf"), addr+postfixMaster)
	Start(t, exec.Command(program, "-c", etc, "start-fg"))
	t.Cleanup(func() {
		exec.Command(program, "-c", etc, "stop").Run() // its master has a process group of its own
		if log, err := os.ReadFile(filepath.Join(dir, "data", "log")); err == nil && t.Failed() {
			t.Logf("Postfix's log:\n%s", log)
		}
	})
	WaitPort(t, addr)
	return addr
}

// Dovecot starts a Dovecot of its own, and tells where it listens and its folder. In its configuration DIR and PORT stand for these;
// DIR/mail and DIR/home belong to the user mail.
func Dovecot(t testing.TB, config string) (addr, dir string) {
	t.Helper()
	program := Peer(t, "dovecot")
	NeedRoot(t)
	dir, addr = OpenDir(t, "mail", "mail", "home"), FreePort(t)
	file := filepath.Join(dir, "dovecot.conf")
	writeFile(t, file, strings.NewReplacer("DIR", dir, "PORT", port(t, addr)).Replace(config))
	Start(t, exec.Command(program, "-F", "-c", file))
	t.Cleanup(func() {
		if log, err := os.ReadFile(filepath.Join(dir, "log")); err == nil && t.Failed() {
			t.Logf("Dovecot's log:\n%s", log)
		}
	})
	WaitPort(t, addr)
	return addr, dir
}

const dovecotReader = `base_dir = DIR/run
state_dir = DIR/state
log_path = DIR/log
listen = 127.0.0.1
protocols = PROTOCOL
ssl = no
disable_plaintext_auth = no
auth_failure_delay = 0
mail_max_userip_connections = 100
mail_uid = mail
mail_gid = mail
first_valid_uid = 1
auth_cache_size = 0
service anvil {
  chroot =
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service PROTOCOL-login {
  chroot =
  inet_listener PROTOCOL {
    port = PORT
  }
  inet_listener PROTOCOLs {
    port = 0
  }
}
service stats {
  chroot =
}
passdb {
  driver = static
  args = password=posthouse
}
userdb {
  driver = static
  args = uid=mail gid=mail home=DIR/home/%u
}
`

// DovecotOf is a Dovecot by which everybody, with the password "posthouse", reads mail by one protocol: imap or pop3. more is added to its
// configuration, as that of Dovecot.
func DovecotOf(t testing.TB, protocol, more string) (addr, dir string) {
	t.Helper()
	return Dovecot(t, strings.ReplaceAll(dovecotReader, "PROTOCOL", protocol)+more)
}
