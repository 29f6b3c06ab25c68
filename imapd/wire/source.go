package wire

import (
	"bufio"
	"io"
	"sync"
)

// BufferSize is how much a decoder reads at once, in octets. It keeps as much for its input all the time but while it waits: clients idle
// for hours.
const BufferSize = 2 << 10

var buffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, BufferSize) }}

func takeBuffer(from io.Reader) *bufio.Reader {
	r := buffers.Get().(*bufio.Reader) //nolint:forcetypeassert // the pool holds nothing else
	r.Reset(from)
	return r
}

func giveBuffer(r *bufio.Reader) {
	r.Reset(nil)
	buffers.Put(r)
}

// source is where octets come from; one of them may have come while there was no buffer.
type source struct {
	io.Reader
	octet [1]byte
	ahead bool
}

// Read gives the octet that came first, and then what comes.
func (s *source) Read(p []byte) (int, error) {
	if !s.ahead || len(p) == 0 {
		return s.Reader.Read(p)
	}
	s.ahead = false
	return copy(p, s.octet[:]), nil
}

// wait reads an octet ahead.
func (s *source) wait() error {
	for !s.ahead {
		n, err := s.Reader.Read(s.octet[:])
		if n == 0 && err != nil {
			return err
		}
		s.ahead = n > 0
	}
	return nil
}
