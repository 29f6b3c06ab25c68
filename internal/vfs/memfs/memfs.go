// Package memfs is a vfs.FS in memory that crashes, fails and tells what was done to it: for tests of what a program leaves behind.
//
// It knows no mail. What a crash leaves is what was synced: a file's octets up to its last Sync, a directory's names as of its last
// SyncDir. The flow: New → operations, with FailAt or CrashAt set before them → Crash, the file system as the next start finds it.
package memfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"posthouse/internal/vfs"
)

// ErrCrashed is what every operation answers after the one that crashed.
var ErrCrashed = errors.New("memfs: the machine is down")

// FS is a file system in memory. All methods may be called from many goroutines.
type FS struct {
	mu      sync.Mutex // guards everything, files included
	root    *node
	count   int   // operations so far
	failAt  int   // that operation fails; 0: none
	failure error // with this
	downAt  int   // that operation and all after it fail; 0: none
	log     []string
}

var _ vfs.FS = (*FS)(nil)

// node is a file or a directory: as it is, and as a crash would leave it.
type node struct {
	dir           bool
	data          []byte
	synced        int // octets of data that are durable
	entries       map[string]*node
	syncedEntries map[string]*node
}

func newDir() *node {
	return &node{dir: true, entries: make(map[string]*node), syncedEntries: make(map[string]*node)}
}

// New is an empty file system.
func New() *FS { return &FS{root: newDir()} }

// FailAt has the n-th operation from now fail with err, and have no effect.
func (f *FS) FailAt(n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failAt, f.failure = f.count+n, err
}

// CrashAt has the n-th operation from now, and all after it, fail with ErrCrashed and have no effect.
func (f *FS) CrashAt(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.downAt = f.count + n
}

// Log is what was done so far, a line for each operation that had an effect.
func (f *FS) Log() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.log)
}

// Count is how many operations there were so far, those that failed included.
func (f *FS) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// Crash is the file system as it is found after a power cut at this moment. With a nil r nothing that was not synced survives; else
// each such thing does or does not by chance, and of a file any part.
func (f *FS) Crash(r *rand.Rand) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &FS{root: f.root.survivor(r)}
}

func (n *node) survivor(r *rand.Rand) *node {
	if !n.dir {
		size := n.synced
		if r != nil && len(n.data) > size {
			size += r.IntN(len(n.data) - size + 1)
		}
		return &node{data: slices.Clone(n.data[:size]), synced: size}
	}
	after := newDir()
	for _, name := range n.names() {
		durable, now := n.syncedEntries[name], n.entries[name]
		child := durable
		if durable != now && r != nil && r.IntN(2) == 0 {
			child = now
		}
		if child != nil {
			c := child.survivor(r)
			after.entries[name], after.syncedEntries[name] = c, c
		}
	}
	return after
}

// names are all that the directory holds or would hold after a crash, in order.
func (n *node) names() []string {
	var names []string
	for _, entries := range []map[string]*node{n.entries, n.syncedEntries} {
		for name := range entries {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// do counts an operation and, unless it is to fail, runs it and logs it.
func (f *FS) do(what string, run func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	if f.downAt > 0 && f.count >= f.downAt {
		return ErrCrashed
	}
	if f.count == f.failAt {
		return f.failure
	}
	if err := run(); err != nil {
		return err
	}
	f.log = append(f.log, what)
	return nil
}

// lookup finds what a path names.
func (f *FS) lookup(op, name string) (*node, error) {
	n := f.root
	for part := range strings.SplitSeq(clean(name), "/") {
		if part == "" {
			continue
		}
		if n = n.entries[part]; n == nil {
			return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
		}
	}
	return n, nil
}

// parent finds the directory that holds, or would hold, the last name of a path.
func (f *FS) parent(op, name string) (dir *node, base string, err error) {
	name = clean(name)
	dir, err = f.lookup(op, path.Dir(name))
	return dir, path.Base(name), err
}

func clean(name string) string { return path.Clean("/" + name) }

// Create is vfs.FS.
func (f *FS) Create(name string) (file vfs.File, err error) {
	err = f.do("create "+name, func() error {
		dir, base, err := f.parent("create", name)
		if err != nil {
			return err
		}
		if dir.entries[base] != nil {
			return &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
		}
		n := &node{}
		dir.entries[base] = n
		file = &open{f, n, name}
		return nil
	})
	return file, err
}

// Open is vfs.FS.
func (f *FS) Open(name string) (file vfs.File, err error) {
	err = f.do("open "+name, func() error {
		n, err := f.lookup("open", name)
		file = &open{f, n, name}
		return err
	})
	if err != nil {
		return nil, err
	}
	return file, nil
}

// Rename is vfs.FS.
func (f *FS) Rename(from, to string) error {
	return f.do("rename "+from+" "+to, func() error {
		n, err := f.lookup("rename", from)
		if err != nil {
			return err
		}
		target, base, err := f.parent("rename", to)
		if err != nil {
			return err
		}
		source, old, err := f.parent("rename", from)
		if err != nil {
			return err
		}
		delete(source.entries, old)
		target.entries[base] = n
		return nil
	})
}

// Remove is vfs.FS.
func (f *FS) Remove(name string) error {
	return f.do("remove "+name, func() error {
		if _, err := f.lookup("remove", name); err != nil {
			return err
		}
		dir, base, err := f.parent("remove", name)
		if err != nil {
			return err
		}
		delete(dir.entries, base)
		return nil
	})
}

// MkdirAll is vfs.FS.
func (f *FS) MkdirAll(name string) error {
	return f.do("mkdir "+name, func() error {
		n := f.root
		for part := range strings.SplitSeq(clean(name), "/") {
			if part == "" {
				continue
			}
			if n.entries[part] == nil {
				n.entries[part] = newDir()
			}
			n = n.entries[part]
		}
		return nil
	})
}

// ReadDir is vfs.FS.
func (f *FS) ReadDir(name string) (list []fs.DirEntry, err error) {
	err = f.do("readdir "+name, func() error {
		n, err := f.lookup("readdir", name)
		if err != nil {
			return err
		}
		for _, base := range n.names() {
			if child := n.entries[base]; child != nil {
				list = append(list, fs.FileInfoToDirEntry(info{base, child}))
			}
		}
		return nil
	})
	return list, err
}

// SyncDir is vfs.FS.
func (f *FS) SyncDir(name string) error {
	return f.do("syncdir "+name, func() error {
		n, err := f.lookup("syncdir", name)
		if err != nil {
			return err
		}
		clear(n.syncedEntries)
		for base, child := range n.entries {
			n.syncedEntries[base] = child
		}
		return nil
	})
}

// open is an open file. Closing one is no operation: nothing depends on it.
type open struct {
	fs   *FS
	node *node
	name string
}

func (o *open) Write(p []byte) (int, error) {
	err := o.fs.do(fmt.Sprintf("write %s %d", o.name, len(p)), func() error {
		o.node.data = append(o.node.data, p...)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (o *open) Sync() error {
	return o.fs.do("sync "+o.name, func() error {
		o.node.synced = len(o.node.data)
		return nil
	})
}

func (o *open) ReadAt(p []byte, off int64) (n int, err error) {
	o.fs.mu.Lock()
	defer o.fs.mu.Unlock()
	if off < int64(len(o.node.data)) {
		n = copy(p, o.node.data[off:])
	}
	if n < len(p) {
		err = io.EOF
	}
	return n, err
}

func (o *open) Size() (int64, error) {
	o.fs.mu.Lock()
	defer o.fs.mu.Unlock()
	return int64(len(o.node.data)), nil
}

func (o *open) Close() error { return nil }

// info is an fs.FileInfo of a node.
type info struct {
	name string
	node *node
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return int64(len(i.node.data)) }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.node.dir }
func (i info) Sys() any           { return nil }
func (i info) Mode() fs.FileMode {
	if i.node.dir {
		return fs.ModeDir | 0o700
	}
	return 0o600
}
