package link

import (
	"io"
	"sync"
)

// MaxBuffered is how much is written at once, in octets.
const MaxBuffered = 64 << 10

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, MaxBuffered+4<<10)
	return &b
}}

// Writer gathers responses and writes them in few pieces. An idle one holds no buffer.
type Writer struct {
	w   io.Writer
	buf *[]byte
	err error
}

// NewWriter writes to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Available is the buffer to append to; Advance takes it back.
func (w *Writer) Available() []byte {
	if w.buf == nil {
		w.buf = buffers.Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
	}
	return *w.buf
}

// Advance takes back what Available gave, grown, and writes it if it is much.
func (w *Writer) Advance(b []byte) error {
	*w.buf = b
	if len(b) >= MaxBuffered {
		return w.Flush()
	}
	return w.err
}

// Write appends octets.
func (w *Writer) Write(p []byte) (int, error) {
	for n := 0; ; {
		b := w.Available()
		room := max(0, MaxBuffered-len(b))
		part := p[n:min(len(p), n+room)]
		if err := w.Advance(append(b, part...)); err != nil {
			return n, err
		}
		if n += len(part); n == len(p) {
			return n, nil
		}
	}
}

// WriteString appends octets.
func (w *Writer) WriteString(s string) error { return w.Advance(append(w.Available(), s...)) }

// Flush writes all that is buffered. An error is final.
func (w *Writer) Flush() error {
	if w.buf == nil {
		return w.err
	}
	if w.err == nil && len(*w.buf) > 0 {
		_, w.err = w.w.Write(*w.buf)
	}
	w.release()
	return w.err
}

func (w *Writer) release() {
	if cap(*w.buf) <= 4*MaxBuffered { // A structure may have made it large.
		*w.buf = (*w.buf)[:0]
		buffers.Put(w.buf)
	}
	w.buf = nil
}

// Fail ends it in the middle of what cannot be completed: nothing more is written.
func (w *Writer) Fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// Err is the error that ended it.
func (w *Writer) Err() error { return w.err }
