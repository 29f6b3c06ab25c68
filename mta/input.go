package mta

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"posthouse/mail/smtp"
)

// Sizes of a session's read buffer. The small one is all that an idle session holds; the others are lent while there is more to read.
const (
	smallBuffer  = smtp.MaxCommandLine
	mediumBuffer = 16 << 10
	largeBuffer  = 64 << 10
)

// Errors of a line, which is read away all the same.
var (
	errLineLong    = errors.New("mta: line too long")
	errLineControl = errors.New("mta: a control character in a line")
	errLineEnding  = errors.New("mta: a line that does not end in CRLF")
)

// errNoise is a line so long that its end is not waited for.
var errNoise = errors.New("mta: a line without end")

// buffers lends what is larger than the small buffer.
type buffers struct{ medium, large sync.Pool }

func (p *buffers) get(size int) *[]byte {
	pool := p.pool(size)
	if b, ok := pool.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, size)
	return &b
}

func (p *buffers) put(b *[]byte) { p.pool(len(*b)).Put(b) }

func (p *buffers) pool(size int) *sync.Pool {
	if size == mediumBuffer {
		return &p.medium
	}
	return &p.large
}

// input is what a session reads: a buffer that grows with what comes and shrinks when nothing does. It is an input of smtp.ReadData.
type input struct {
	// read is the session's: it sends the replies that wait, then waits for what comes, but not for ever.
	read func(p []byte) (int, error)

	buf    []byte // buf[r:w] is unread
	r, w   int
	lent   *[]byte // what buf is, unless it is small
	pool   *buffers
	small  [smallBuffer]byte
	filled bool // the last read filled the buffer: there is more
}

func (in *input) init(pool *buffers, read func(p []byte) (int, error)) {
	in.pool, in.read = pool, read
	in.buf = in.small[:]
}

// Buffered is how much can be read without waiting.
func (in *input) Buffered() int { return in.w - in.r }

// Peek waits until n octets are buffered; they stay valid until the next read that waits.
func (in *input) Peek(n int) ([]byte, error) {
	for in.Buffered() < n {
		if err := in.more(); err != nil {
			return in.buf[in.r:in.w], err
		}
	}
	return in.buf[in.r : in.r+n], nil
}

// Discard drops n octets that are buffered.
func (in *input) Discard(n int) (int, error) {
	in.r += n
	return n, nil
}

// drop forgets everything that is buffered.
func (in *input) drop() { in.r, in.w = 0, 0 }

// more reads what has come, into a larger buffer if this one is full of what was not read yet, or too small for what comes.
func (in *input) more() error {
	if in.filled || in.Buffered() == len(in.buf) {
		in.grow()
	}
	if half := len(in.buf) / 2; in.r > 0 && len(in.buf)-in.w < half || in.r == in.w {
		in.r, in.w = 0, copy(in.buf, in.buf[in.r:in.w])
	}
	room := in.buf[in.w:]
	n, err := in.read(room)
	in.w += n
	in.filled = n == len(room) && n >= len(in.buf)/2
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// early reads what comes before anything is said; nothing, when the read's time is over first.
func (in *input) early(r io.Reader) bool {
	n, _ := r.Read(in.buf[in.w:]) // what is wrong with the connection, the next read finds too
	in.w += n
	return n > 0
}

// grow takes the next larger buffer, if there is one.
func (in *input) grow() {
	switch len(in.buf) {
	case smallBuffer:
		in.use(mediumBuffer)
	case mediumBuffer:
		in.use(largeBuffer)
	}
}

// use moves to a buffer of the size, which holds what is unread.
func (in *input) use(size int) {
	old, lent := in.buf[in.r:in.w], in.lent
	if size == smallBuffer {
		in.buf, in.lent = in.small[:], nil
	} else {
		in.lent = in.pool.get(size)
		in.buf = *in.lent
	}
	in.r, in.w = 0, copy(in.buf, old)
	in.filled = false
	if lent != nil {
		in.pool.put(lent)
	}
}

// expect makes room for message data before it comes.
func (in *input) expect() {
	if in.lent == nil {
		in.use(mediumBuffer)
	}
}

// rest gives the lent buffer back while the session waits for a command.
func (in *input) rest() {
	if in.lent != nil && in.Buffered() == 0 {
		in.use(smallBuffer)
	}
}

// line reads a line of at most limit octets and gives it without its CRLF; it stays valid until the next read. After an error of the
// line itself the next line follows; one that goes on and on is errNoise.
func (in *input) line(limit int) ([]byte, error) {
	for scanned := 0; ; {
		unread := in.buf[in.r:in.w]
		if i := bytes.IndexByte(unread[scanned:], '\n'); i >= 0 {
			line := unread[:scanned+i+1]
			in.r += len(line)
			if len(line) > limit {
				return nil, errLineLong
			}
			return checkLine(line)
		}
		if scanned = len(unread); scanned >= limit {
			return nil, in.skipLine()
		}
		if err := in.more(); err != nil {
			return nil, err
		}
	}
}

// checkLine: RFC 5321 §2.3.8 has only CRLF end a line, and §4.1.2 has no controls in commands.
func checkLine(line []byte) ([]byte, error) {
	n := len(line) - 2
	if n < 0 || line[n] != '\r' {
		return nil, errLineEnding
	}
	for _, c := range line[:n] {
		if c < ' ' && c != '\t' || c == 0x7f {
			return nil, errLineControl
		}
	}
	return line[:n], nil
}

// skipLine reads the rest of a line away.
func (in *input) skipLine() error {
	for skipped := 0; skipped <= maxSkip; {
		unread := in.buf[in.r:in.w]
		if i := bytes.IndexByte(unread, '\n'); i >= 0 {
			in.r += i + 1
			return errLineLong
		}
		skipped += len(unread)
		in.drop()
		if err := in.more(); err != nil {
			return err
		}
	}
	return errNoise
}
