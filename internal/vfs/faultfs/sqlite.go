package faultfs

import (
	"errors"
	"slices"
	"sync"
	"syscall"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// shim is a file layer of SQLite ("VFS") over the usual one: a copy of it that opens files as that does, and puts its own methods into
// those that somebody watches. SQLite knows one default layer for the process, so there is one shim.
type shim struct {
	under uintptr // the usual layer, a sqlite3_vfs
	err   error   // of registering ours

	mu      sync.Mutex // guards what follows
	watched []*Faults
	open    map[uintptr]*opened // by sqlite3_file
	methods map[uintptr]uintptr // ours, by those they stand for: one table for each kind of lock
	kept    []any               // the functions that SQLite points to
}

// opened is an open file that somebody watches.
type opened struct {
	faults *Faults
	name   string
	under  *sqlite3.Tsqlite3_io_methods
}

// theShim is registered when it is first asked for, for as long as the process runs.
var theShim = sync.OnceValue(newShim)

func newShim() *shim {
	s := &shim{open: make(map[uintptr]*opened), methods: make(map[uintptr]uintptr)}
	tls := libc.NewTLS()
	defer tls.Close()
	s.under = sqlite3.Xsqlite3_vfs_find(tls, 0)
	if s.under == 0 {
		s.err = errShim
		return s
	}
	ours := allocate(tls, *at[sqlite3.Tsqlite3_vfs](s.under))
	layer := at[sqlite3.Tsqlite3_vfs](ours)
	layer.FxOpen, layer.FxDelete = pointer(s, s.xOpen()), pointer(s, s.xDelete)
	if sqlite3.Xsqlite3_vfs_register(tls, ours, 1) != sqlite3.SQLITE_OK {
		s.err = errShim
	}
	return s
}

func (s *shim) add(f *Faults) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watched = append(s.watched, f)
	return s.err
}

func (s *shim) remove(f *Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watched = slices.DeleteFunc(s.watched, func(w *Faults) bool { return w == f })
}

// watcher is who watches a path; nil: nobody.
func (s *shim) watcher(name string) *Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.watched {
		if f.covers(name) {
			return f
		}
	}
	return nil
}

// file is a file that was opened through us.
func (s *shim) file(p uintptr) *opened {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[p]
}

// adopt puts our methods into an open file.
func (s *shim) adopt(tls *libc.TLS, p uintptr, f *Faults, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	file := at[sqlite3.Tsqlite3_file](p)
	under := file.FpMethods
	s.open[p] = &opened{f, name, at[sqlite3.Tsqlite3_io_methods](under)}
	if s.methods[under] == 0 {
		table := *at[sqlite3.Tsqlite3_io_methods](under)
		table.FxClose, table.FxRead, table.FxWrite, table.FxTruncate = pointer(s, s.xClose), pointer(s, s.xRead), pointer(s, s.xWrite), pointer(s, s.xTruncate)
		table.FxSync, table.FxFileSize, table.FxShmMap = pointer(s, s.xSync), pointer(s, s.xFileSize), pointer(s, s.xShmMap())
		s.methods[under] = allocate(tls, table)
	}
	file.FpMethods = s.methods[under]
}

// The C types of the methods, as the translated SQLite has them.
type (
	openFunc     = func(tls *libc.TLS, layer, name, file uintptr, flags int32, out uintptr) int32
	deleteFunc   = func(tls *libc.TLS, layer, name uintptr, syncDir int32) int32
	closeFunc    = func(tls *libc.TLS, file uintptr) int32
	transferFunc = func(tls *libc.TLS, file, buffer uintptr, n int32, off int64) int32
	truncateFunc = func(tls *libc.TLS, file uintptr, size int64) int32
	sizeFunc     = func(tls *libc.TLS, file, size uintptr) int32
	shmMapFunc   = func(tls *libc.TLS, file uintptr, page, size, extend int32, out uintptr) int32
)

// xOpen makes the method that opens a file.
func (s *shim) xOpen() openFunc {
	under := function[openFunc](at[sqlite3.Tsqlite3_vfs](s.under).FxOpen)
	return func(tls *libc.TLS, layer, name, file uintptr, flags int32, out uintptr) int32 {
		text := ""
		if name != 0 {
			text = libc.GoString(name)
		}
		f := s.watcher(text)
		if f == nil {
			return under(tls, layer, name, file, flags, out)
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		_, err := f.imageOf(text)
		if err = errors.Join(err, f.next("open", text)); err != nil {
			at[sqlite3.Tsqlite3_file](file).FpMethods = 0 // so that SQLite does not close it
			return sqlite3.SQLITE_CANTOPEN
		}
		code := under(tls, layer, name, file, flags, out)
		if code == sqlite3.SQLITE_OK {
			s.adopt(tls, file, f, text)
		}
		return code
	}
}

func (s *shim) xDelete(tls *libc.TLS, layer, name uintptr, syncDir int32) int32 {
	text := libc.GoString(name)
	under := function[deleteFunc](at[sqlite3.Tsqlite3_vfs](s.under).FxDelete)
	f := s.watcher(text)
	if f == nil {
		return under(tls, layer, name, syncDir)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.next("remove", text); err != nil {
		return sqlite3.SQLITE_IOERR_DELETE
	}
	delete(f.images, text)
	return under(tls, layer, name, 0)
}

func (s *shim) xClose(tls *libc.TLS, file uintptr) int32 {
	o := s.file(file)
	s.mu.Lock()
	delete(s.open, file)
	s.mu.Unlock()
	return function[closeFunc](o.under.FxClose)(tls, file)
}

func (s *shim) xRead(tls *libc.TLS, file, buffer uintptr, n int32, off int64) int32 {
	o := s.file(file)
	return o.do("read", sqlite3.SQLITE_IOERR_READ, func(*image) int32 {
		return function[transferFunc](o.under.FxRead)(tls, file, buffer, n, off)
	})
}

func (s *shim) xWrite(tls *libc.TLS, file, buffer uintptr, n int32, off int64) int32 {
	o := s.file(file)
	return o.do("write", sqlite3.SQLITE_IOERR_WRITE, func(i *image) int32 {
		code := function[transferFunc](o.under.FxWrite)(tls, file, buffer, n, off)
		if code == sqlite3.SQLITE_OK {
			i.pending = append(i.pending, change{off, slices.Clone(unsafe.Slice(at[byte](buffer), n))})
		}
		return code
	})
}

func (s *shim) xTruncate(tls *libc.TLS, file uintptr, size int64) int32 {
	o := s.file(file)
	return o.do("truncate", sqlite3.SQLITE_IOERR_TRUNCATE, func(i *image) int32 {
		code := function[truncateFunc](o.under.FxTruncate)(tls, file, size)
		if code == sqlite3.SQLITE_OK {
			i.pending = append(i.pending, change{size, nil})
		}
		return code
	})
}

// xSync does not go down to the disk: what is durable is for us to know.
func (s *shim) xSync(_ *libc.TLS, file uintptr, _ int32) int32 {
	o := s.file(file)
	return o.do("sync", sqlite3.SQLITE_IOERR_FSYNC, func(i *image) int32 {
		i.sync()
		return sqlite3.SQLITE_OK
	})
}

func (s *shim) xFileSize(tls *libc.TLS, file, size uintptr) int32 {
	o := s.file(file)
	return o.do("size", sqlite3.SQLITE_IOERR_FSTAT, func(*image) int32 {
		return function[sizeFunc](o.under.FxFileSize)(tls, file, size)
	})
}

// xShmMap makes the method that maps a part of the WAL's index.
func (s *shim) xShmMap() shmMapFunc {
	return func(tls *libc.TLS, file uintptr, page, size, extend int32, out uintptr) int32 {
		o := s.file(file)
		return o.do("map", sqlite3.SQLITE_IOERR_SHMMAP, func(*image) int32 {
			return function[shmMapFunc](o.under.FxShmMap)(tls, file, page, size, extend, out)
		})
	}
}

// do counts an operation on the file and runs it, or answers with a code of SQLite's if it is to fail.
func (o *opened) do(op string, code int32, run func(*image) int32) int32 {
	o.faults.mu.Lock()
	defer o.faults.mu.Unlock()
	if err := o.faults.next(op, o.name); err != nil {
		if o.faults.err == syscall.ENOSPC && op == "write" {
			return sqlite3.SQLITE_FULL
		}
		return code
	}
	i, err := o.faults.imageOf(o.name)
	if err != nil {
		return code
	}
	return run(i)
}

// at is what lies at an address of SQLite's memory, which is not Go's.
func at[T any](p uintptr) *T { return *(**T)(unsafe.Pointer(&p)) }

// function is the Go function behind a function pointer of the translated SQLite.
func function[T any](p uintptr) T {
	return *(*T)(unsafe.Pointer(&p))
}

// pointer is a function as the translated SQLite points to it. The shim keeps it, since the collector does not see that pointer.
func pointer[T any](s *shim, f T) uintptr {
	s.kept = append(s.kept, f)
	return *(*uintptr)(unsafe.Pointer(&f))
}

// allocate puts a value into SQLite's memory, for good.
func allocate[T any](tls *libc.TLS, v T) uintptr {
	p := sqlite3.Xsqlite3_malloc(tls, int32(unsafe.Sizeof(v)))
	*at[T](p) = v
	return p
}
