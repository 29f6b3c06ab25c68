package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"posthouse/httpd/admin"
	"posthouse/internal/testkit"
)

// stop stops the server in order.
func (s *server) stop() {
	s.t.Helper()
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	<-s.process.Done()
}

// fails runs a command that must fail, and returns what it printed on standard output.
func (s *server) fails(args ...string) string {
	s.t.Helper()
	out, err := s.command(args...).Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitFailed {
		s.t.Fatalf("posthouse %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Damage is found with a server and without one, and what is intact is saved.
func TestVerifyAndRepair(t *testing.T) {
	s := newServer(t, "[[route]]\nmatch = \"*.test\"\nvia = \"smtp://127.0.0.1:9\"\n[delivery]\nretry = [\"1h\"]\n")
	s.start()
	s.addAccount("alice@house.test")
	const marked = "the-one-that-is-damaged"
	for _, subject := range []string{"first", marked, "third"} {
		if err := s.deliver("x@sender.test", letter("x@sender.test", "alice@house.test", subject, strings.Repeat(subject+"\r\n", 400)), "alice@house.test"); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Until(t, "all three wait", func() bool { return strings.Count(s.run("queue", "list"), "alice@house.test") == 3 })
	if out := s.run("verify"); out != "" {
		t.Errorf("nothing is damaged, and it says\n%s", out)
	}
	s.stop()
	if out := s.run("verify"); out != "" {
		t.Errorf("without a server it says\n%s", out)
	}
	name := filepath.Join(s.dir, "data", "spool", "queue.db")
	octets, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(octets, []byte(marked+"\r\n"+marked))
	if i < 0 {
		t.Fatal("the letter is not in the file")
	}
	octets[i] ^= 1
	if err := os.WriteFile(name, octets, 0o600); err != nil {
		t.Fatal(err)
	}
	var trouble admin.Trouble
	if out := s.fails("verify", "--json"); json.Unmarshal([]byte(out), &trouble) != nil || trouble.Store != "spool" || !strings.Contains(trouble.Trouble, "checksum") {
		t.Errorf("without a server it says\n%s", out)
	}
	s.start()
	if out := s.fails("verify"); strings.Count(out, "\n") != 1 || !strings.Contains(out, "checksum") {
		t.Errorf("the server says\n%s", out)
	}
	if out := s.fails("repair"); out != "" {
		t.Errorf("a running house is repaired: %s", out)
	}
	s.stop()
	if out := s.run("repair"); !strings.Contains(out, "is lost: its checksum is wrong") || !strings.Contains(out, "2 messages saved, 1 lost, 0 recipients held") {
		t.Errorf("repair says\n%s", out)
	}
	if out := s.run("verify"); out != "" {
		t.Errorf("after the repair it says\n%s", out)
	}
	s.start()
	if out := s.run("queue", "list"); strings.Count(out, "alice@house.test") != 2 {
		t.Errorf("the queue is\n%s", out)
	}
	if aside, err := filepath.Glob(filepath.Join(s.dir, "data", "spool.damaged-*")); err != nil || len(aside) != 1 {
		t.Error(aside, err)
	}
}

// The power went before a repair's last step: neither the server nor another repair begins with an empty spool.
func TestRepairBrokenOff(t *testing.T) {
	s := newServer(t, "[[route]]\nmatch = \"*.test\"\nvia = \"smtp://127.0.0.1:9\"\n[delivery]\nretry = [\"1h\"]\n")
	s.start()
	s.addAccount("alice@house.test")
	if err := s.deliver("x@sender.test", letter("x@sender.test", "alice@house.test", "kept", "\r\n"), "alice@house.test"); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(s.dir, "data")
	breakOff := func() {
		s.stop()
		if err := os.Rename(filepath.Join(data, "spool"), filepath.Join(data, "spool.repaired")); err != nil {
			t.Fatal(err)
		}
	}
	s.stop()
	queue := filepath.Join(data, "spool", "queue.db")
	if err := os.Rename(queue, queue+".away"); err != nil {
		t.Fatal(err)
	}
	s.fails("repair")
	if _, err := os.Stat(filepath.Join(data, "spool.repairing")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a repair that failed leaves what it made:", err)
	}
	if err := os.Rename(queue+".away", queue); err != nil {
		t.Fatal(err)
	}
	s.start()
	breakOff()
	s.start()
	if out := s.run("queue", "list"); strings.Count(out, "alice@house.test") != 1 {
		t.Errorf("the queue is\n%s", out)
	}
	breakOff()
	if out := s.run("repair"); !strings.Contains(out, "1 messages saved, 0 lost, 0 recipients held") {
		t.Errorf("repair says\n%s", out)
	}
	s.start()
	if out := s.run("queue", "list"); strings.Count(out, "alice@house.test") != 1 {
		t.Errorf("after the repair the queue is\n%s", out)
	}
}
