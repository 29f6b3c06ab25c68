package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"posthouse/internal/testkit"
)

// serverPort is the port of an address.
func serverPort(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// shared is a temporary folder that other users may enter.
func shared(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "posthouse-peer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// postfix starts a private Postfix that relays everything to relayhost, after it turned echo@echo.test into alice@house.test.
func postfix(t *testing.T, relayhost string) (addr string) {
	t.Helper()
	program := testkit.Peer(t, "postfix")
	if os.Getuid() != 0 {
		t.Skip("Postfix needs root to start")
	}
	dir, addr := shared(t), testkit.FreePort(t)
	for _, sub := range []string{"etc", "spool", "data"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	owner, err := user.Lookup("postfix")
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(dir, "data"), uid, -1); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"postfix-files", "dynamicmaps.cf"} {
		if text, err := os.ReadFile("/etc/postfix/" + file); err == nil {
			write(t, filepath.Join(dir, "etc", file), string(text))
		}
	}
	write(t, filepath.Join(dir, "etc", "virtual"), "echo@echo.test alice@house.test\n")
	write(t, filepath.Join(dir, "etc", "main.cf"), fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/spool
data_directory = %[1]s/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.echo.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
virtual_alias_maps = texthash:%[1]s/etc/virtual
virtual_alias_domains = echo.test
relayhost = [127.0.0.1]:%[2]s
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtp_tls_security_level = may
smtpd_peername_lookup = no
alias_maps =
maillog_file = /dev/stdout
`, dir, serverPort(t, relayhost)))
	write(t, filepath.Join(dir, "etc", "master.cf"), addr+` inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`)
	etc := filepath.Join(dir, "etc")
	testkit.Start(t, exec.Command(program, "-c", etc, "start-fg"))
	t.Cleanup(func() { exec.Command(program, "-c", etc, "stop").Run() })
	testkit.WaitPort(t, addr)
	return addr
}

// A letter leaves to a real Postfix and comes back from it; one that Postfix refuses comes back as a notice.
func TestPostfixBothWays(t *testing.T) {
	mx := testkit.FreePort(t)
	echo := postfix(t, mx)
	s := newServer(t, fmt.Sprintf("[[listener]]\nprotocol = \"smtp\"\naddress = %q\n[[route]]\nmatch = \"echo.test\"\nvia = \"smtp://%s\"\n", mx, echo))
	s.start()
	s.addAccount("alice@house.test")
	out := sendmail(t, s, "alice@house.test", letter("alice@house.test", "echo@echo.test", "echo", trickyBody), "echo@echo.test", "nobody@echo.test")
	if out != "" {
		t.Fatal(out)
	}
	var letters [][]byte
	testkit.Until(t, "an echo and a notice", func() bool {
		letters = fetchAll(t, s, "alice@house.test")
		return len(letters) == 2
	})
	var echoed, notice []byte
	for _, l := range letters {
		if bytes.Contains(l, []byte("multipart/report")) {
			notice = l
		} else {
			echoed = l
		}
	}
	if _, body, _ := bytes.Cut(echoed, []byte("\r\n\r\n")); string(body) != trickyBody {
		t.Errorf("the body was changed on the way:\n%q", echoed)
	}
	if !bytes.Contains(notice, []byte("nobody@echo.test")) || !bytes.Contains(notice, []byte("5.1.1")) {
		t.Errorf("the notice:\n%s", notice)
	}
}

// dovecot starts a private Dovecot that takes LMTP for anybody into Maildirs below the folder it returns.
func dovecot(t *testing.T) (lmtp, maildirs string) {
	t.Helper()
	program := testkit.Peer(t, "dovecot")
	if os.Getuid() != 0 {
		t.Skip("Dovecot needs root to start")
	}
	dir, addr := shared(t), testkit.FreePort(t)
	mailDir := filepath.Join(dir, "mail")
	if err := os.Mkdir(mailDir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(mailDir, 0o777); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "dovecot.conf"), fmt.Sprintf(`base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = /dev/stderr
protocols = lmtp
ssl = no
mail_location = maildir:%[1]s/mail/%%u
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=%[1]s/mail/%%u allow_all_users=yes
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = %[2]s
  }
}
first_valid_uid = 1
postmaster_address = postmaster@dove.test
`, dir, serverPort(t, addr)))
	testkit.Start(t, exec.Command(program, "-F", "-c", filepath.Join(dir, "dovecot.conf")))
	testkit.WaitPort(t, addr)
	return addr, mailDir
}

// A real Dovecot takes letters over LMTP by a route.
func TestDovecotTakesLMTP(t *testing.T) {
	lmtp, maildirs := dovecot(t)
	s := newServer(t, fmt.Sprintf("[[route]]\nmatch = \"*dove.test\"\nvia = \"lmtp://%s\"\n", lmtp))
	s.start()
	s.addAccount("alice@house.test")
	sendmail(t, s, "alice@house.test", letter("alice@house.test", "coo@dove.test", "lmtp", trickyBody), "coo@dove.test", "roo@dove.test")
	for _, who := range []string{"coo@dove.test", "roo@dove.test"} {
		var files []string
		testkit.Until(t, "a letter for "+who, func() bool {
			files, _ = filepath.Glob(filepath.Join(maildirs, who, "new", "*"))
			return len(files) == 1
		})
		text, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(strings.ReplaceAll(string(text), "\r\n", "\n"), strings.ReplaceAll(trickyBody, "\r\n", "\n")) {
			t.Errorf("%s got another body:\n%q", who, text)
		}
	}
}

// sendmail submits a letter with curl.
func sendmail(t *testing.T, s *server, from, letter string, to ...string) string {
	t.Helper()
	args := []string{"--silent", "--show-error", "--ssl-reqd", "--insecure", "smtp://" + s.submission, "--user", from + ":secret", "--mail-from", from, "-T", "-"}
	for _, r := range to {
		args = append(args, "--mail-rcpt", r)
	}
	c := exec.Command(testkit.Peer(t, "curl"), args...)
	c.Stdin = strings.NewReader(letter)
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%v\n%s", err, out)
	}
	return ""
}
