package mta

import (
	"path/filepath"
	"sync/atomic"
	"testing"

	"posthouse/internal/testkit"
	"posthouse/internal/transcript"
)

// TestScriptsAtPostfix plays the scripts with "setting reference yes" against Postfix: one that it fails is wrong.
func TestScriptsAtPostfix(t *testing.T) {
	addr := testkit.Postfix(t, `myhostname = mail.south.test
mynetworks =
virtual_mailbox_domains = south.test
virtual_mailbox_maps = inline:{ bob@south.test=bob, dave@south.test=dave }
virtual_alias_maps = inline:{ { all@south.test = bob@south.test, dave@south.test } }
virtual_transport = discard:
smtpd_relay_restrictions = reject_unauth_destination
smtpd_helo_required = yes
`)
	var played atomic.Int64
	t.Run("scripts", func(t *testing.T) {
		transcript.RunDir(t, filepath.Join(scripts, "smtp"), func(t *testing.T, s *transcript.Script) transcript.Options {
			if s.Settings["reference"] == "" {
				t.SkipNow() // a difference, or a limit of ours
			}
			played.Add(1)
			return transcript.Options{Dial: transcript.DialTCP(addr)}
		})
	})
	if played.Load() == 0 {
		t.Error("no script is for Postfix")
	}
}
