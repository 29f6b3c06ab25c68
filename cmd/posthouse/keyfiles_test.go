package main

import (
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"posthouse/internal/vfs"
	"posthouse/internal/vfs/memfs"
)

var update = flag.Bool("update", false, "write the golden files anew")

const keysDir = "/data/keys/dkim/house.test"

// withDataDir is a file system with a durable data folder.
func withDataDir(t *testing.T) *memfs.FS {
	t.Helper()
	f := memfs.New()
	if err := errors.Join(f.MkdirAll("/data"), f.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	return f
}

// A machine that dies at any operation, or a disk that refuses it, leaves all keys of a domain or none, and the next start goes on.
func TestKeysCrashAnywhere(t *testing.T) {
	keys, err := makeKeys()
	if err != nil {
		t.Fatal(err)
	}
	count := func(f vfs.FS) int {
		t.Helper()
		found, err := readKeys(f, keysDir)
		if err != nil {
			t.Fatal(err)
		}
		for i, k := range found {
			if k.Selector != keys[i].Selector || !reflect.DeepEqual(k.Private.Public(), keys[i].Private.Public()) {
				t.Errorf("key %d is %+v", i, k)
			}
		}
		return len(found)
	}
	whole := withDataDir(t)
	before := whole.Count()
	if err := writeKeys(whole, keysDir, keys); err != nil {
		t.Fatal(err)
	}
	operations := whole.Count() - before
	// An RSA key's encoding is some bytes longer or shorter with its numbers' leading bits: the order is what is held.
	order := regexp.MustCompile(`(?m)^(write \S+) \d+$`).ReplaceAllString(strings.Join(whole.Log()[before:], "\n"), "$1")
	golden(t, "keys.golden", order+"\n")
	for n := 1; n <= operations; n++ {
		for seed := range uint64(8) {
			f := withDataDir(t)
			f.CrashAt(n)
			err := writeKeys(f, keysDir, keys)
			var r *rand.Rand
			if seed > 0 {
				r = rand.New(rand.NewPCG(seed, uint64(n)))
			}
			after := f.Crash(r)
			if got := count(after); got != 0 && got != len(keys) || err == nil && got == 0 {
				t.Fatalf("a crash at operation %d left %d keys (%v)", n, got, err)
			} else if got == 0 {
				if err := writeKeys(after, keysDir, keys); err != nil || count(after) != len(keys) {
					t.Fatalf("after a crash at operation %d: %v", n, err)
				}
			}
		}
		f := withDataDir(t)
		f.FailAt(n, syscall.ENOSPC)
		if err := writeKeys(f, keysDir, keys); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("a full disk at operation %d: %v", n, err)
		}
		if got := count(f); got == 0 {
			if err := writeKeys(f, keysDir, keys); err != nil {
				t.Fatalf("after a full disk at operation %d: %v", n, err)
			}
		}
		if got := count(f); got != len(keys) {
			t.Fatalf("after a full disk at operation %d: %d keys", n, got)
		}
	}
}

// The same on a real disk, over what a process that died left.
func TestKeysOfADeadProcessAreMadeAnew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys", "dkim", "house.test")
	for _, torn := range []string{dir + ".new", dir} {
		if err := os.MkdirAll(torn, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(dir+".new", rsaSelector+keySuffix), "")
	keys, err := makeKeys()
	if err != nil {
		t.Fatal(err)
	}
	if err := writeKeys(vfs.OS{}, dir, keys); err != nil {
		t.Fatal(err)
	}
	if found, err := readKeys(vfs.OS{}, dir); err != nil || len(found) != len(keys) {
		t.Errorf("%d keys, %v", len(found), err)
	}
	if _, err := os.Stat(dir + ".new"); !os.IsNotExist(err) {
		t.Error("the draft is still there")
	}
}

// golden holds text against a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		write(t, file, got)
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got {
		t.Errorf("%s: %v\n%s", file, err, got)
	}
}
