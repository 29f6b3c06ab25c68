//go:build peers

package imapd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"posthouse/internal/transcript"
)

// TestScriptsAtDovecot plays the scripts against Dovecot: one that it fails is wrong, or says why it is not for it ("setting reference
// no", with the reason above).
func TestScriptsAtDovecot(t *testing.T) {
	addr := startDovecot(t)
	var n atomic.Int64
	transcript.RunDir(t, scripts, func(t *testing.T, s *transcript.Script) transcript.Options {
		if s.Settings["reference"] == "no" {
			t.Skip("a difference, or a limit of ours")
		}
		k := n.Add(1)
		return transcript.Options{
			Dial:    transcript.DialTCP(addr),
			Vars:    names(fmt.Sprintf("bob%d@south.test", k), fmt.Sprintf("dave%d@south.test", k)),
			Timeout: 5 * time.Second,
		}
	})
}

// startDovecot runs a Dovecot of its own until the test ends: any name logs in with "posthouse" and finds empty mailboxes.
func startDovecot(t *testing.T) (addr string) {
	program, err := exec.LookPath("dovecot")
	if err == nil && os.Getuid() != 0 {
		err = errors.New("dovecot wants to be started by root")
	}
	if err != nil {
		if os.Getenv("POSTHOUSE_REQUIRE_PEERS") != "" {
			t.Fatal(err)
		}
		t.Skip("no Dovecot: ", err)
	}
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // its processes are of other users
		t.Fatal(err)
	}
	for _, sub := range []string{"mail", "home"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil { //nolint:gosec // likewise
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(dir, sub), mailUID, mailUID); err != nil {
			t.Fatal(err)
		}
	}
	port := freePort(t)
	config := filepath.Join(dir, "dovecot.conf")
	text := strings.NewReplacer("DIR", dir, "PORT", fmt.Sprint(port)).Replace(dovecotConfig)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "-F", "-c", config)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait() //nolint:errcheck // it was interrupted
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log")) //nolint:errcheck // it may not be there
			t.Logf("Dovecot's log:\n%s", log)
		}
	})
	return waitFor(t, fmt.Sprintf("127.0.0.1:%d", port))
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// waitFor waits until somebody accepts connections.
func waitFor(t *testing.T, addr string) string {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(20 * time.Second)
	for {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return addr
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("nobody at %s: %v", addr, err)
		}
	}
}

// mailUID is Debian's user and group "mail".
const mailUID = 8

const dovecotConfig = `
base_dir = DIR/run
state_dir = DIR/state
log_path = DIR/log
listen = 127.0.0.1
protocols = imap
ssl = no
disable_plaintext_auth = no
auth_failure_delay = 0
mail_location = sdbox:DIR/mail/%u
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
service imap-login {
  chroot =
  inet_listener imap {
    port = PORT
  }
  inet_listener imaps {
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
namespace inbox {
  inbox = yes
  separator = /
  mailbox Archive {
    auto = subscribe
    special_use = \Archive
  }
  mailbox Drafts {
    auto = subscribe
    special_use = \Drafts
  }
  mailbox Junk {
    auto = subscribe
    special_use = \Junk
  }
  mailbox Sent {
    auto = subscribe
    special_use = \Sent
  }
  mailbox Trash {
    auto = subscribe
    special_use = \Trash
  }
}
`
