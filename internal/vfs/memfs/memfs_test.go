package memfs

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"testing"
)

// write makes a file of the FS, synced or not.
func write(t *testing.T, f *FS, name, text string, synced bool) {
	t.Helper()
	file, err := f.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if synced {
		if err := file.Sync(); err != nil {
			t.Fatal(err)
		}
	}
}

func read(f *FS, name string) (string, error) {
	file, err := f.Open(name)
	if err != nil {
		return "", err
	}
	size, err := file.Size()
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.NewSectionReader(file, 0, size))
	return string(b), err
}

func TestCrashLosesWhatWasNotSynced(t *testing.T) {
	f := New()
	if err := errors.Join(f.MkdirAll("d"), f.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	write(t, f, "d/kept", "kept", true)
	write(t, f, "d/empty", "octets not synced", false)
	if err := f.SyncDir("d"); err != nil {
		t.Fatal(err)
	}
	write(t, f, "d/nameless", "octets synced, name not", true)
	if err := errors.Join(f.Remove("d/kept"), f.Rename("d/empty", "d/renamed")); err != nil {
		t.Fatal(err)
	}
	after := f.Crash(nil)
	for name, want := range map[string]string{"d/kept": "kept", "d/empty": ""} {
		if got, err := read(after, name); err != nil || got != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"d/nameless", "d/renamed"} {
		if got, err := read(after, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestUnsyncedMaySurvive(t *testing.T) {
	outcomes := make(map[string]bool)
	for seed := range uint64(100) {
		f := New()
		write(t, f, "a", "12", false)
		got, err := read(f.Crash(rand.New(rand.NewPCG(seed, 0))), "a")
		if err != nil {
			got = "absent"
		}
		outcomes[got] = true
	}
	for _, want := range []string{"absent", "", "1", "12"} {
		if !outcomes[want] {
			t.Errorf("%q never came of it: %v", want, outcomes)
		}
	}
}

func TestFailuresAreInjected(t *testing.T) {
	f := New()
	boom := errors.New("boom")
	f.FailAt(3, boom)
	write(t, f, "a", "1", false)
	if err := f.Remove("a"); !errors.Is(err, boom) {
		t.Error(err)
	}
	if err := f.Remove("a"); err != nil {
		t.Errorf("only one operation was to fail: %v", err)
	}
	f = New()
	f.FailAt(1, boom)
	if _, err := f.Create("a"); !errors.Is(err, boom) {
		t.Error(err)
	}
	f.CrashAt(2)
	if _, err := f.Create("a"); err != nil {
		t.Error(err)
	}
	for range 2 {
		if _, err := f.Create("b"); !errors.Is(err, ErrCrashed) {
			t.Error(err)
		}
	}
	if want := []string{"create a"}; !slices.Equal(f.Log(), want) || f.Count() != 4 {
		t.Errorf("%q, %d", f.Log(), f.Count())
	}
}

func TestDirectories(t *testing.T) {
	f := New()
	if err := f.MkdirAll("/x/y"); err != nil {
		t.Fatal(err)
	}
	write(t, f, "x/y/b", "", false)
	write(t, f, "x/y/a", "1", false)
	if _, err := f.Create("x/y/a"); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	if _, err := f.Create("z/a"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	list, err := f.ReadDir("/x/y")
	if err != nil || len(list) != 2 || list[0].Name() != "a" || list[1].Name() != "b" || list[0].IsDir() {
		t.Error(list, err)
	}
}
