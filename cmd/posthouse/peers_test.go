package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
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

// A letter leaves to a real Postfix and comes back from it; one that Postfix refuses comes back as a notice.
func TestPostfixBothWays(t *testing.T) {
	mx := testkit.FreePort(t)
	echo := testkit.Postfix(t, fmt.Sprintf(`myhostname = postfix.echo.test
mynetworks = 127.0.0.0/8
virtual_alias_domains = echo.test
virtual_alias_maps = inline:{ echo@echo.test=alice@house.test }
relayhost = [127.0.0.1]:%s
smtp_tls_security_level = may
`, serverPort(t, mx)))
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

// A real Dovecot takes letters over LMTP by a route.
func TestDovecotTakesLMTP(t *testing.T) {
	lmtp, dir := testkit.Dovecot(t, `base_dir = DIR/run
state_dir = DIR/state
log_path = DIR/log
protocols = lmtp
ssl = no
mail_location = maildir:DIR/mail/%u
passdb {
  driver = static
  args = nopassword=y
}
userdb {
  driver = static
  args = uid=mail gid=mail home=DIR/home/%u allow_all_users=yes
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = PORT
  }
}
first_valid_uid = 1
postmaster_address = postmaster@dove.test
`)
	s := newServer(t, fmt.Sprintf("[[route]]\nmatch = \"*dove.test\"\nvia = \"lmtp://%s\"\n", lmtp))
	s.start()
	s.addAccount("alice@house.test")
	sendmail(t, s, "alice@house.test", letter("alice@house.test", "coo@dove.test", "lmtp", trickyBody), "coo@dove.test", "roo@dove.test")
	for _, who := range []string{"coo@dove.test", "roo@dove.test"} {
		var files []string
		testkit.Until(t, "a letter for "+who, func() bool {
			files, _ = filepath.Glob(filepath.Join(dir, "mail", who, "new", "*"))
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
