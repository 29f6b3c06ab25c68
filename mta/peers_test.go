package mta

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"posthouse/internal/testkit"
	"posthouse/internal/transcript"
	"posthouse/spool"
)

// TestScriptsAtPostfix plays the scripts with "setting reference yes" against Postfix: one that it fails is wrong.
func TestScriptsAtPostfix(t *testing.T) {
	addr := testkit.Postfix(t, `myhostname = mail.south.test
mynetworks =
virtual_mailbox_domains = south.test
virtual_mailbox_maps = inline:{ bob@south.test=bob, dave@south.test=dave, ж@south.test=zh }
virtual_alias_maps = inline:{ { all@south.test = bob@south.test, dave@south.test } }
virtual_transport = discard:
smtpd_relay_restrictions = reject_unauth_destination
smtpd_helo_required = yes
smtputf8_enable = yes
strict_smtputf8 = yes
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_authorized_xforward_hosts = 127.0.0.0/8
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

// TestPostfixForwards: a Postfix that hands everything on to us tells whose it was (smtp_send_xforward_command), and what it was asked for
// (DSN, SMTPUTF8).
func TestPostfixForwards(t *testing.T) {
	o := testOptions(t)
	o.DSN = true
	o.XClientFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	_, ours := start(t, o, plain)
	_, port, err := net.SplitHostPort(ours)
	if err != nil {
		t.Fatal(err)
	}
	addr := testkit.Postfix(t, `myhostname = filter.south.test
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:`+port+`
smtpd_relay_restrictions = reject_unauth_destination
relay_domains = south.test
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtp_send_xforward_command = yes
smtputf8_enable = yes
inet_protocols = ipv4
smtp_host_lookup = native
`)
	letter := `S~ 220 .*
C: EHLO proxy.test
S...
S~ 250 .*
C: XCLIENT NAME=mail.north.test ADDR=192.0.2.7 PORT=4321 HELO=mail.north.test PROTO=ESMTP
S~ 220 .*
C: EHLO mail.north.test
S...
S~ 250 .*
C: MAIL FROM:<alice@north.test> SMTPUTF8 RET=HDRS ENVID=q1
S~ 250 .*
C: RCPT TO:<ж@south.test> NOTIFY=SUCCESS
S~ 250 .*
C: DATA
S~ 354 .*
C: Subject: ж
C:
C: .
S~ 250 .*
C: QUIT
S~ 221 .*
`
	file := filepath.Join(t.TempDir(), "letter.txtar")
	if err := os.WriteFile(file, []byte(letter), 0o600); err != nil {
		t.Fatal(err)
	}
	transcript.Run(t, file, transcript.Options{Dial: transcript.DialTCP(addr)})
	var got string
	testkit.Until(t, "the letter in the spool", func() bool {
		for e, err := range o.Spool.List(t.Context(), spool.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			got = summary(&e)
		}
		return got != ""
	})
	want := `from <alice@north.test> to <ж@south.test> orcpt utf-8;ж@south.test notify 2 SMTPUTF8 ret 2 envid "q1" with UTF8SMTP remote 192.0.2.7 helo mail.north.test`
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}
