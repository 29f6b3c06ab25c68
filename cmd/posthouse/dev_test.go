package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestResetLeavesARunningHouseAlone(t *testing.T) {
	d := dev{dir: t.TempDir()}
	north := filepath.Join(d.dir, "north")
	if err := os.Mkdir(north, 0o700); err != nil {
		t.Fatal(err)
	}
	running, err := lock(north)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.reset(); err == nil {
		t.Error("a running house was removed")
	}
	if _, err := os.Stat(north); err != nil {
		t.Error(err)
	}
	running.Close()
	if err := d.reset(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(north); !os.IsNotExist(err) {
		t.Error("the house is still there")
	}
}

func TestShellWords(t *testing.T) {
	for _, word := range []string{"plain", "/tmp/my house/ca.pem", "it's", "", "$(id) `id` \"", "a;b*"} {
		out, err := exec.Command("sh", "-c", "printf %s "+shellWord(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("%q became %q, %v", word, out, err)
		}
	}
}
