// Package vfs is the file system as our own durable files need it: few operations, every one of which can fail or lose what was not
// synced. OS is the real one; package memfs below it keeps files in memory, crashes at any operation, and injects errors; package
// faultfs counts the operations of others, SQLite's included, and has them fail.
//
// It knows no mail. Durable means: File.Sync returned nil, and SyncDir of its directory did too.
package vfs

import (
	"io"
	"io/fs"
	"os"
)

// FS is a directory tree. Names are slash-separated paths.
type FS interface {
	// Create makes a new file, mode 0600; fs.ErrExist if there is one.
	Create(name string) (File, error)
	Open(name string) (File, error)
	Rename(from, to string) error
	Remove(name string) error
	MkdirAll(name string) error
	ReadDir(name string) ([]fs.DirEntry, error)
	// SyncDir makes creations, renames and removals in the directory durable.
	SyncDir(name string) error
}

// File is an open file.
type File interface {
	io.Writer
	io.ReaderAt
	io.Closer
	Sync() error
	Size() (int64, error)
}

// OS is the operating system's file system.
type OS struct{}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Create is FS.
func (OS) Create(name string) (File, error) {
	return open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

// Open is FS.
func (OS) Open(name string) (File, error) { return open(name, os.O_RDONLY) }

func open(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Rename is FS.
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove is FS.
func (OS) Remove(name string) error { return os.Remove(name) }

// MkdirAll is FS.
func (OS) MkdirAll(name string) error { return os.MkdirAll(name, 0o700) }

// ReadDir is FS.
func (OS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

// SyncDir is FS.
func (OS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		d.Close()
		return err
	}
	return d.Close()
}
