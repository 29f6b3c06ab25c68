package main

import (
	"os"
	"path/filepath"
	"testing"
)

// A process that died while it made keys leaves none, or all: the next start makes them anew.
func TestKeysOfADeadProcessAreMadeAnew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys", "house.test")
	for _, torn := range []string{dir + ".new", dir} {
		if err := os.MkdirAll(torn, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir+".new", rsaSelector+".pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := makeKeys(dir)
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if _, err := readKey(file); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	if _, err := os.Stat(dir + ".new"); !os.IsNotExist(err) {
		t.Error("the draft is still there")
	}
}
