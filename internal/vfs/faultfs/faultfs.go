// Package faultfs has operations on files fail, those of SQLite included, and cuts the power of the disk below them: for tests of what
// a program says and leaves behind when storage breaks.
//
// It knows no mail. Everything below one directory is counted as one sequence, whoever does it: a vfs.FS that was wrapped, and every
// database that SQLite opens there, since SQLite's own file layer is shimmed once for the process and leaves other directories alone.
//
// The flow: Watch → FS for the files that are not SQLite's → FailAt or FailFrom → the program runs and is closed → Failed tells what
// broke, PowerCut leaves what was synced.
package faultfs

import (
	"errors"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"posthouse/internal/vfs"
)

// Faults counts the operations below a directory and has some of them fail. All methods may be called from many goroutines.
type Faults struct {
	dir string

	mu     sync.Mutex // guards what follows
	count  int
	counts map[string]int // by kind and file
	from   int            // operations from this one on fail; 0: none
	to     int            // up to this one
	err    syscall.Errno
	failed []string
	images map[string]*image // of SQLite's files, by path
}

// forever is more operations than there will be.
const forever = 1 << 30

// Watch begins to count below a directory, until the test ends.
func Watch(t testing.TB, dir string) *Faults {
	t.Helper()
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	f := &Faults{dir: filepath.ToSlash(dir), counts: make(map[string]int), images: make(map[string]*image)}
	if err := theShim().add(f); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theShim().remove(f) })
	return f
}

// FailAt has the n-th operation from now fail with err, and have no effect. A read does not fail for lack of space.
func (f *Faults) FailAt(n int, err syscall.Errno) { f.fail(n, n, err) }

// FailFrom has the n-th operation from now and all after it fail with err, and have no effect.
func (f *Faults) FailFrom(n int, err syscall.Errno) { f.fail(n, forever, err) }

func (f *Faults) fail(from, to int, err syscall.Errno) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.from, f.to, f.err = f.count+from, f.count+to, err
}

// Heal ends FailAt and FailFrom.
func (f *Faults) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.from = 0
}

// Count is how many operations there were so far.
func (f *Faults) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// Counts is how many operations of each kind there were on each file: "sync queue.db-wal".
func (f *Faults) Counts() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.counts)
}

// Failed tells which operations failed, "sync queue.db-wal".
func (f *Faults) Failed() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

// covers tells whether a path lies below the directory.
func (f *Faults) covers(name string) bool { return strings.HasPrefix(name, f.dir+"/") }

// do counts an operation and, unless it is to fail, runs it.
func (f *Faults) do(op, name string, run func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.next(op, name); err != nil {
		return err
	}
	return run()
}

// next counts an operation; its error is why it fails.
func (f *Faults) next(op, name string) error {
	f.count++
	f.counts[op+" "+path.Base(name)]++
	if f.from == 0 || f.count < f.from || f.count > f.to || f.err == syscall.ENOSPC && reads[op] {
		return nil
	}
	f.failed = append(f.failed, op+" "+path.Base(name))
	return &fs.PathError{Op: op, Path: name, Err: f.err}
}

// reads are the operations that need no space.
var reads = map[string]bool{"read": true, "open": true, "readdir": true, "size": true, "remove": true}

// FS is another file system whose operations are counted and fail with the others.
func (f *Faults) FS(under vfs.FS) vfs.FS { return files{under, f} }

type files struct {
	vfs.FS
	faults *Faults
}

func (w files) Create(name string) (file vfs.File, err error) {
	err = w.faults.do("create", name, func() error { file, err = w.FS.Create(name); return err })
	if err != nil {
		return nil, err
	}
	return watched{file, w.faults, name}, nil
}

func (w files) Open(name string) (file vfs.File, err error) {
	err = w.faults.do("open", name, func() error { file, err = w.FS.Open(name); return err })
	if err != nil {
		return nil, err
	}
	return watched{file, w.faults, name}, nil
}

func (w files) Rename(from, to string) error {
	return w.faults.do("rename", from, func() error { return w.FS.Rename(from, to) })
}

func (w files) Remove(name string) error {
	return w.faults.do("remove", name, func() error { return w.FS.Remove(name) })
}

func (w files) MkdirAll(name string) error {
	return w.faults.do("mkdir", name, func() error { return w.FS.MkdirAll(name) })
}

func (w files) SyncDir(name string) error {
	return w.faults.do("syncdir", name, func() error { return w.FS.SyncDir(name) })
}

func (w files) ReadDir(name string) (list []fs.DirEntry, err error) {
	err = w.faults.do("readdir", name, func() error { list, err = w.FS.ReadDir(name); return err })
	return list, err
}

type watched struct {
	vfs.File
	faults *Faults
	name   string
}

func (w watched) Write(p []byte) (n int, err error) {
	err = w.faults.do("write", w.name, func() error { n, err = w.File.Write(p); return err })
	return n, err
}

func (w watched) ReadAt(p []byte, off int64) (n int, err error) {
	err = w.faults.do("read", w.name, func() error { n, err = w.File.ReadAt(p, off); return err })
	return n, err
}

func (w watched) Sync() error { return w.faults.do("sync", w.name, w.File.Sync) }

// errShim is why SQLite's file layer could not be shimmed.
var errShim = errors.New("faultfs: SQLite does not take our file layer")
