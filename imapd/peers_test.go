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
	addr, _ := testkit.DovecotOf(t, "imap", dovecotConfig)
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
mail_location = sdbox:DIR/mail/%u
mail_plugins = acl
protocol imap {
  mail_plugins = acl imap_acl
}
plugin {
  acl = vfile
  acl_shared_dict = file:DIR/shared
}
namespace {
  type = shared
  separator = /
  prefix = Other Users/%%u/
  location = sdbox:DIR/mail/%%u
  subscriptions = no
  list = children
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
