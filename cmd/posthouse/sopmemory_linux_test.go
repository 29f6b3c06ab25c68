package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// 100 MiB go through in a process that never has 64 MiB, the program itself included.
func TestSopMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("100 MiB")
	}
	p := newSopPlace(t)
	p.keys()
	const size = 100 << 20
	if err := os.WriteFile("plain", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate("plain", size); err != nil {
		t.Fatal(err)
	}
	through(t, "plain", "encrypted", "encrypt", "--sign-with=alice.key", "alice.cert", "bob.cert")
	through(t, "encrypted", "decrypted", "decrypt", "--verify-with=alice.cert", "--verifications-out=who", "alice.key")
	through(t, "plain", "signed", "inline-sign", "alice.key")
	through(t, "signed", "verified", "inline-verify", "alice.cert")
	for _, name := range []string{"decrypted", "verified"} {
		if info, err := os.Stat(name); err != nil || info.Size() != size {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

// through runs a command from a file to another.
func through(t *testing.T, from, to string, args ...string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	c := exec.Command("posthouse", append([]string{"sop"}, args...)...)
	c.Stdout, c.Stderr = out, os.Stderr
	pipe, err := c.StdinPipe()
	if err == nil {
		err = c.Start()
	}
	if err == nil {
		_, err = io.Copy(pipe, in)
	}
	if err != nil {
		t.Fatal(err)
	}
	used := mostMemory(t, c.Process.Pid) // it waits for more
	pipe.Close()
	if err := c.Wait(); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	t.Logf("%s: %d MiB, %s of processor time", args[0], used>>10, c.ProcessState.UserTime()+c.ProcessState.SystemTime())
	if used > 64<<10 {
		t.Errorf("%v: %d KiB", args, used)
	}
}

// mostMemory is the most that a process had, in KiB. What the system tells of it after its end counts its parent's.
func mostMemory(t *testing.T, pid int) (kib int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscanf(after, "%d kB", &kib); err != nil {
		t.Fatalf("%v in %s", err, status)
	}
	return kib
}
