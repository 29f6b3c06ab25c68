package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"posthouse/internal/testkit"
)

// onScreen starts a program on a terminal of its own, and returns what types there.
func onScreen(t *testing.T, command, home string) (p *testkit.Process, keyboard func(keys string)) {
	t.Helper()
	c := exec.Command(testkit.Peer(t, "script"), "-qfec", "stty rows 40 cols 120; "+command, "/dev/null")
	keys, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p = testkit.Start(t, c, "TERM=xterm", "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home, "XDG_DATA_HOME="+home, "XDG_RUNTIME_DIR="+home)
	return p, func(s string) {
		t.Helper()
		if _, err := io.WriteString(keys, s); err != nil {
			t.Fatal(err)
		}
	}
}

// aerc shows the mailbox and what comes into it, and reads, flags, copies, moves and deletes letters.
func TestAerc(t *testing.T) {
	s := withLetters(t, 3)
	aerc, dir := testkit.Peer(t, "aerc"), t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "aerc"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "aerc", "aerc.conf"), "[general]\nunsafe-accounts-conf = true\n[viewer]\npager = cat\n")
	write(t, filepath.Join(dir, "aerc", "accounts.conf"), fmt.Sprintf(`[house]
source = imap+insecure://alice%%40house.test:secret@%s
from = alice <alice@house.test>
default = INBOX
`, s.imap))
	screen, keyboard := onScreen(t, aerc, dir)
	shows := func(text string) {
		t.Helper()
		testkit.Until(t, "aerc shows "+text, func() bool { return strings.Contains(screen.Output(), text) })
	}
	do := func(command, box string, letters int) {
		t.Helper()
		keyboard(":" + command + "\r")
		testkit.Until(t, command, func() bool { return len(s.holding(box)) == letters })
	}
	for i := range 3 {
		shows(fmt.Sprintf("letter-%d", i))
	}
	if err := s.deliver("bob@sender.test", letter("bob@sender.test", "alice@house.test", "surprise", trickyBody), "alice@house.test"); err != nil {
		t.Fatal(err)
	}
	shows("surprise")
	do("cp Archive", "Archive", 1)
	do("mv Junk", "Junk", 1)
	do("delete", "INBOX", 2)
	keyboard(":flag\r")
	testkit.Until(t, "a flag", func() bool {
		for _, flags := range s.holding("INBOX") {
			if strings.Contains(flags, `\Flagged`) {
				return true
			}
		}
		return false
	})
	keyboard(":mkdir Work\r")
	c, err := s.login("alice@house.test")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	testkit.Until(t, "a mailbox", func() bool {
		boxes, err := c.List("", "Work", nil).Collect()
		return err == nil && len(boxes) == 1
	})
	keyboard(":quit\r")
	untilItEnds(t, screen)
}

func untilItEnds(t *testing.T, p *testkit.Process) {
	t.Helper()
	testkit.Until(t, "the program ends", func() bool {
		select {
		case <-p.Done():
			return true
		default:
			return false
		}
	})
}

// mutt replies to a letter, through submission with a copy in Sent, and files it in another mailbox.
func TestMuttReplies(t *testing.T) {
	s := newServer(t, "")
	s.start()
	s.addAccount("alice@house.test")
	s.addAccount("carol@house.test")
	if err := s.deliver("carol@house.test", letter("carol@house.test", "alice@house.test", "question", "Why?\r\n"), "alice@house.test"); err != nil {
		t.Fatal(err)
	}
	testkit.Until(t, "the question", func() bool { return len(s.holding("INBOX")) == 1 })
	mutt, dir := testkit.Peer(t, "mutt"), t.TempDir()
	editor := filepath.Join(dir, "editor")
	write(t, editor, "#!/bin/sh\necho Because. >>\"$1\"\n")
	if err := os.Chmod(editor, 0o700); err != nil {
		t.Fatal(err)
	}
	rc := filepath.Join(dir, "muttrc")
	write(t, rc, fmt.Sprintf(`set ssl_starttls=yes ssl_force_tls=yes ssl_verify_host=no certificate_file=%q wait_key=no confirmappend=no confirmcreate=no
set imap_user="alice@house.test" imap_pass="secret" header_cache="" folder="imap://%s" spoolfile="=INBOX" record="=Sent" trash=""
set smtp_url="smtp://alice@house.test@%s" smtp_pass="secret" smtp_authenticators="plain" from="alice@house.test" realname="Alice"
set editor=%q autoedit=yes fast_reply=yes include=yes edit_headers=no mime_forward=no move=no delete=yes quit=yes sleep_time=0
push "<reply><send-message><save-message>=Archive<enter><sync-mailbox><quit>"
`, s.certificate(), s.imap, s.submission, editor))
	screen, _ := onScreen(t, fmt.Sprintf("%s -n -F %s", mutt, rc), dir)
	untilItEnds(t, screen)
	if code := screen.ExitCode(); code != 0 {
		t.Errorf("mutt ended with %d:\n%q", code, screen.Output())
	}
	s.expectBox("INBOX", map[string]string{})
	s.expectBox("Archive", map[string]string{"question": `\Answered \Seen`})
	s.expectBox("Sent", map[string]string{"Re: question": `\Seen`})
	testkit.Until(t, "the answer", func() bool {
		letters := fetchAll(t, s, "carol@house.test")
		return len(letters) == 1 && bytes.Contains(letters[0], []byte("> Why?")) && bytes.Contains(letters[0], []byte("Because."))
	})
}
