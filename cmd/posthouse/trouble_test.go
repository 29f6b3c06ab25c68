//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"posthouse/internal/testkit"
)

// A full disk: 452 and NO, reading goes on, and taking mail goes on by itself when there is room.
func TestFullDisk(t *testing.T) {
	s := newServer(t, "")
	data := filepath.Join(s.dir, "data")
	smallDisk(t, data)
	s.start()
	s.addAccount("alice@house.test")
	send := func(subject string) error {
		return s.deliver("bob@sender.test", letter("bob@sender.test", "alice@house.test", subject, strings.Repeat("x", 70)+"\r\n"), "alice@house.test")
	}
	if err := send("before"); err != nil {
		t.Fatal(err)
	}
	testkit.Until(t, "the first letter", func() bool { return len(fetchAll(t, s, "alice@house.test")) == 1 })
	filler := filepath.Join(data, "filler")
	accepted := 1
	testkit.Until(t, "a refusal", func() bool {
		fill(t, filler)
		err := send(fmt.Sprint("full-", accepted))
		if err == nil {
			accepted++
			return false
		}
		var reply *smtp.SMTPError
		if !errors.As(err, &reply) || reply.Code != 452 {
			t.Fatalf("a full disk is answered %v, not 452", err)
		}
		return true
	})
	if got := fetchAll(t, s, "alice@house.test"); len(got) == 0 {
		t.Error("nothing can be read while the disk is full")
	}
	c, err := s.login("alice@house.test")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	text := letter("a@b.test", "c@d.test", "append", strings.Repeat("x", 100_000))
	add := c.Append("Drafts", int64(len(text)), nil)
	if _, err := add.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := add.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := add.Wait(); err == nil {
		t.Error("APPEND to a full disk was answered OK")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	testkit.Until(t, "mail is taken again", func() bool { return send("after") == nil })
	accepted++
	testkit.Until(t, "every letter that was answered", func() bool { return len(fetchAll(t, s, "alice@house.test")) == accepted })
}

// smallDisk mounts a file system of a few megabytes.
func smallDisk(t *testing.T, dir string) {
	t.Helper()
	testkit.NeedRoot(t)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := mountTmpfs(dir, "size=16m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
}

// fill writes a file until there is no room.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for chunk := make([]byte, 64<<10); len(chunk) > 0; {
		if _, err := f.Write(chunk); errors.Is(err, syscall.ENOSPC) {
			chunk = chunk[:len(chunk)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// damage replaces a database, and its log, which could restore it.
func damage(t *testing.T, name string) {
	t.Helper()
	for _, log := range []string{"-wal", "-shm"} {
		if err := os.Remove(name + log); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(name, []byte(strings.Repeat("this is no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedSpoolIsSaidAtStart(t *testing.T) {
	s := newServer(t, "")
	s.start()
	s.process.Kill()
	damage(t, filepath.Join(s.dir, "data", "spool", "queue.db"))
	if out := s.refused(); !strings.Contains(out, "queue.db") || !strings.Contains(out, "damaged") {
		t.Errorf("it says\n%s", out)
	}
}

// One account's damaged database is that account's trouble alone.
func TestDamagedAccount(t *testing.T) {
	s := newServer(t, "")
	s.start()
	for _, who := range []string{"alice@house.test", "bob@house.test"} {
		s.addAccount(who)
		if err := s.deliver("x@sender.test", letter("x@sender.test", who, "one", "\r\n"), who); err != nil {
			t.Fatal(err)
		}
		testkit.Until(t, "a letter", func() bool { return len(fetchAll(t, s, who)) == 1 })
	}
	s.process.Kill()
	id := strings.Fields(strings.Split(s.startedRun("account", "list"), "\n")[1])[1]
	s.process.Kill()
	files, err := filepath.Glob(filepath.Join(s.dir, "data", "accounts", "*", id, "mailbox.db"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	damage(t, files[0])
	s.start()
	c, err := s.login("alice@house.test")
	if err == nil {
		if _, err = c.Select("INBOX", nil).Wait(); err == nil {
			t.Error("a damaged mailbox can be selected")
		}
		c.Close()
	}
	if got := fetchAll(t, s, "bob@house.test"); len(got) != 1 {
		t.Errorf("bob has %d letters", len(got))
	}
	for _, who := range []string{"alice@house.test", "bob@house.test"} {
		if err := s.deliver("x@sender.test", letter("x@sender.test", who, "two", "\r\n"), who); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Until(t, "bob's second letter", func() bool { return len(fetchAll(t, s, "bob@house.test")) == 2 })
	testkit.Until(t, "alice's second letter is kept in the queue", func() bool {
		return strings.Contains(s.run("queue", "list"), "alice@house.test")
	})
}

// startedRun starts the server for one command.
func (s *server) startedRun(args ...string) string {
	s.t.Helper()
	s.start()
	return s.run(args...)
}

// Ten thousand connections that say nothing: each is greeted or sent away within seconds, and an honest client gets through.
func TestTenThousandConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes 10,000 descriptors twice")
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	n := int(min(10_000, files.Max-1000)) // this process has as many as the server
	s := newServer(t, "")
	s.start()
	s.addAccount("alice@house.test")
	conns := make([]net.Conn, n)
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}()
	var wg sync.WaitGroup
	for worker := range 50 {
		wg.Go(func() {
			for i := worker; i < n; i += 50 {
				d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(i>>6), byte(i))}}
				c, err := d.DialContext(context.Background(), "tcp", s.smtp)
				if err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
				conns[i] = c
				c.SetReadDeadline(time.Now().Add(10 * time.Second))
				line, err := bufio.NewReaderSize(c, 128).ReadString('\n')
				if err != nil || !strings.HasPrefix(line, "220 ") && !strings.HasPrefix(line, "421 ") {
					t.Errorf("connection %d is told %q, %v", i, line, err)
				}
			}
		})
	}
	wg.Wait()
	if rss := s.rssMiB(); rss > 200 {
		t.Errorf("%d MiB with %d idle connections", rss, n)
	} else {
		t.Logf("%d MiB with %d idle connections", rss, n)
	}
	for _, c := range conns[:100] { // the server is full to the brim; some leave
		c.Close()
	}
	testkit.Until(t, "an honest letter", func() bool {
		return s.deliver("bob@sender.test", letter("bob@sender.test", "alice@house.test", "honest", "\r\n"), "alice@house.test") == nil
	})
}

// rssMiB is the process's resident memory.
func (s *server) rssMiB() int {
	s.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.Pid()))
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.Atoi(strings.Fields(kb)[0])
			if err != nil {
				s.t.Fatal(err)
			}
			return n / 1024
		}
	}
	s.t.Fatal("no VmRSS")
	return 0
}

// Names that cannot be looked up wait; they are not lost and not returned.
func TestDNSDoesNotAnswer(t *testing.T) {
	p := newPost(t)
	p.start("north")
	p.start("south")
	p.zone.Fail("mail.south.test")
	if err := p.send("alice@north.test", letter("alice@north.test", "bob@south.test", "dark", "\r\n"), "bob@south.test"); err != nil {
		t.Fatal(err)
	}
	testkit.Until(t, "a failed attempt", func() bool {
		q := p.queue("north")
		return len(q) == 1 && q[0].Recipients[0].Attempts > 0
	})
	if reply := p.queue("north")[0].Recipients[0].LastReply; !strings.HasPrefix(reply, "4") {
		t.Errorf("the reason is %q", reply)
	}
	p.zone.Heal("mail.south.test")
	p.wait("bob@south.test", 1)
}
