package main

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/emersion/go-smtp"
	"golang.org/x/sys/unix"

	"posthouse/internal/testkit"
)

// disk is an ext4 file system on a loop device, whose power can be cut.
type disk struct {
	t          *testing.T
	image, dir string
}

// newDisk mounts a new disk at a directory.
func newDisk(t *testing.T, dir string) *disk {
	t.Helper()
	testkit.NeedRoot(t)
	mkfs := testkit.Peer(t, "mkfs.ext4")
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skip("there are no loop devices here:", err)
	}
	d := &disk{t, filepath.Join(t.TempDir(), "disk"), dir}
	f, err := os.Create(d.image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(256<<20), f.Close(), os.MkdirAll(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mkfs, "-q", d.image).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := d.mount(); err != nil {
		t.Skipf("a loop device cannot be mounted here: %v\n%s", err, out)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return d
}

func (d *disk) mount() ([]byte, error) {
	return exec.Command("mount", "-o", "loop", d.image, d.dir).CombinedOutput()
}

// Of linux/fs.h and ext4.h: every write fails from now on, and what the journal has not yet written is never written.
const (
	ext4Shutdown   = 0x8004587d
	withoutJournal = 2
)

// cut cuts the power.
func (d *disk) cut() {
	d.t.Helper()
	f, err := os.Open(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), ext4Shutdown, withoutJournal); err != nil {
		d.t.Fatal(err)
	}
}

// restore mounts the disk again, as it is found after the cut. Nobody may have a file open there.
func (d *disk) restore() {
	d.t.Helper()
	if err := unix.Unmount(d.dir, 0); err != nil {
		d.t.Fatal(err)
	}
	if out, err := d.mount(); err != nil {
		d.t.Fatalf("%v\n%s", err, out)
	}
}

// The power is cut at any moment: what was answered 250 is there, and nothing needs to be repaired by hand.
func TestPowerCut(t *testing.T) {
	s := newServer(t, "")
	d := newDisk(t, filepath.Join(s.dir, "data"))
	s.start()
	s.addAccount("alice@house.test")
	l := newLoad(s, "alice@house.test", 8)
	for range testkit.CrashRounds(2) {
		l.untilAccepted(l.count() + 20 + rand.IntN(200))
		l.powerCut()
		d.cut()
		s.process.Kill()
		d.restore()
		s.start()
	}
	l.stop()
	l.audit()
	if out := s.run("verify"); out != "" {
		t.Errorf("verify says\n%s", out)
	}
}

// The disk dies under the server: not one 250 from then on, and what was answered before is there when the disk is back.
func TestDyingDisk(t *testing.T) {
	s := newServer(t, "")
	d := newDisk(t, filepath.Join(s.dir, "data"))
	s.start()
	s.addAccount("alice@house.test")
	l := newLoad(s, "alice@house.test", 4)
	l.untilAccepted(50)
	l.stop()
	d.cut()
	for range 20 {
		err := s.deliver("bob@sender.test", letter("bob@sender.test", "alice@house.test", "dead", "\r\n"), "alice@house.test")
		var reply *smtp.SMTPError
		if err == nil {
			t.Fatal("a letter was accepted that cannot be kept")
		}
		if errors.As(err, &reply) && reply.Code/100 != 4 {
			t.Errorf("a dying disk is answered %v", err)
		}
	}
	s.process.Kill()
	d.restore()
	s.start()
	l.audit()
}
