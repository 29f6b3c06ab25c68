package pop3d

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"posthouse/internal/testkit"
	"posthouse/internal/transcript"
)

// TestScriptsAtDovecot plays the scripts against Dovecot: one that it fails is wrong, or says why it is not for it ("setting reference
// no", with the reason above).
func TestScriptsAtDovecot(t *testing.T) {
	addr, dir := testkit.DovecotOf(t, "pop3", "mail_location = maildir:DIR/mail/%u\n")
	var n atomic.Int64
	transcript.RunDir(t, scripts, func(t *testing.T, s *transcript.Script) transcript.Options {
		if s.Settings["reference"] == "no" {
			t.SkipNow() // a difference, or a limit of ours
		}
		bob := fmt.Sprintf("bob%d@south.test", n.Add(1))
		maildir := filepath.Join(dir, "mail", bob)
		for _, sub := range []string{"new", "cur", "tmp"} {
			if err := os.MkdirAll(filepath.Join(maildir, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		for i, text := range letters(s) {
			if err := os.WriteFile(filepath.Join(maildir, "cur", fmt.Sprintf("%d.letter:2,", 1000+i)), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := exec.Command("chown", "-R", "mail", maildir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return transcript.Options{Dial: transcript.DialTCP(addr), Vars: names(bob), Timeout: 5 * time.Second}
	})
}
