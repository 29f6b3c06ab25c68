package imapd

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"posthouse/internal/testkit"
	"posthouse/internal/transcript"
)

// TestScriptsAtDovecot plays the scripts against Dovecot: one that it fails is wrong, or says why it is not for it ("setting reference
// no", with the reason above).
func TestScriptsAtDovecot(t *testing.T) {
	addr, _ := testkit.Dovecot(t, dovecotConfig)
	var n atomic.Int64
	transcript.RunDir(t, scripts, func(t *testing.T, s *transcript.Script) transcript.Options {
		if s.Settings["reference"] == "no" {
			t.SkipNow() // a difference, or a limit of ours
		}
		k := n.Add(1)
		return transcript.Options{
			Dial:    transcript.DialTCP(addr),
			Vars:    names(fmt.Sprintf("bob%d@south.test", k), fmt.Sprintf("dave%d@south.test", k)),
			Timeout: 5 * time.Second,
		}
	})
}

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
