package pgp

import (
	"errors"
	"fmt"
	"io"
)

// guarded calls f, which hands bytes of strangers to the library: a panic is an error like any other and ends no server.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: the library gave up: %v", ErrData, p)
		}
	}()
	return f()
}

// streams calls f, guarded, with the streams that somebody gave us. If one of them fails, that is the error, whatever f or the library made
// of it: that a disk is full says nothing about a message.
func streams(w io.Writer, r io.Reader, f func(io.Writer, io.Reader) error) error {
	o := &outside{w: w, r: r}
	err := guarded(func() error { return f(o, o) })
	if o.err != nil {
		return o.err
	}
	return err
}

// outside remembers the first error of its streams.
type outside struct {
	w   io.Writer
	r   io.Reader
	err error
}

func (o *outside) Read(p []byte) (int, error) {
	n, err := o.r.Read(p)
	if o.err == nil && !errors.Is(err, io.EOF) {
		o.err = err
	}
	return n, err
}

func (o *outside) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
}
