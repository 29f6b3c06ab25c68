// Package convert holds messages in the form that a hop takes: converted from what the queue holds, which is not changed.
//
// It must not know hops or why a form is needed. The flow: Content → mime.Convert into memory, or once it is large into a file that has
// no name and so goes with its last reader. A converted message is made anew for each attempt: nobody needs to find it after a crash.
package convert

import (
	"bytes"
	"errors"
	"io"
	"os"

	"posthouse/mail"
	"posthouse/mail/mime"
)

// maxInMemory is how long a converted message is kept in memory; a longer one is in a file.
const maxInMemory = 256 << 10

// Content is the message in a form. The caller closes it. The errors are those of mime.Convert, and of reading and writing.
func Content(message mail.Content, form mime.Form) (mail.Content, error) {
	var s store
	if err := mime.Convert(&s, message, message.Size(), form); err != nil {
		return nil, errors.Join(err, s.drop())
	}
	return s.content()
}

// store takes what is written into memory, and moves it to a file when it grows.
type store struct {
	b    bytes.Buffer
	file *os.File
}

// Write is io.Writer.
func (s *store) Write(p []byte) (int, error) {
	if s.file == nil && s.b.Len()+len(p) <= maxInMemory {
		return s.b.Write(p)
	}
	if s.file == nil {
		if err := s.open(); err != nil {
			return 0, err
		}
	}
	return s.file.Write(p)
}

// open makes the file, takes its name away, and moves there what is in memory.
func (s *store) open() (err error) {
	if s.file, err = os.CreateTemp("", "posthouse-converted-*"); err != nil {
		return err
	}
	if err = os.Remove(s.file.Name()); err != nil {
		return err
	}
	_, err = s.b.WriteTo(s.file)
	s.b = bytes.Buffer{}
	return err
}

func (s *store) drop() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

func (s *store) content() (mail.Content, error) {
	if s.file == nil {
		return memory{bytes.NewReader(s.b.Bytes())}, nil
	}
	info, err := s.file.Stat()
	if err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	return file{s.file, info.Size()}, nil
}

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

type file struct {
	*os.File
	size int64
}

func (f file) Size() int64 { return f.size }

// Prepend is the content with header fields before it; closing it closes the content.
func Prepend(fields []byte, message mail.Content) mail.Content {
	if len(fields) == 0 {
		return message
	}
	return prepended{message, fields}
}

type prepended struct {
	mail.Content
	fields []byte
}

// Size is mail.Content.
func (p prepended) Size() int64 { return int64(len(p.fields)) + p.Content.Size() }

// ReadAt is io.ReaderAt.
func (p prepended) ReadAt(b []byte, off int64) (n int, err error) {
	if off < int64(len(p.fields)) {
		n = copy(b, p.fields[off:])
		if n == len(b) {
			return n, nil
		}
		off += int64(n)
	}
	m, err := p.Content.ReadAt(b[n:], off-int64(len(p.fields)))
	return n + m, err
}

var _ io.ReaderAt = prepended{}
