package smtp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Errors of message data. The first two are refusals: the data was read to its end all the same, and the next command follows.
var (
	ErrBareLine = errors.New("smtp: a bare CR or LF in message data")
	ErrTooBig   = errors.New("smtp: message data over the limit")
	ErrEndless  = errors.New("smtp: message data far over the limit") // the rest was not read: the connection is of no use
)

// endless is how much refused data is read away before a client is cut off: this many times the limit, and so many octets at least.
const (
	endlessFactor  = 2
	endlessMinimum = 1 << 20
)

// input is a buffered reader, as *bufio.Reader is one; its buffer holds 16 octets or more.
type input interface {
	Buffered() int
	Peek(n int) ([]byte, error)
	Discard(n int) (int, error)
}

// ReadData reads message data up to CRLF.CRLF (RFC 5321 §4.1.1.4) and writes it without its transparency dots (§4.5.2) to w, in pieces
// as large as the buffer below.
//
// Nothing but CRLF ends a line and nothing but CRLF.CRLF ends the data: a bare CR or LF anywhere is ErrBareLine (§2.3.8, §4.1.1.4), so
// that no other server can see an end of data where this one saw none. More than limit octets are ErrTooBig. After either, or an error
// of w, nothing more is written, but the data is read to its real end, and refusal says why. err is that of the connection, or ErrEndless.
func ReadData(in input, w io.Writer, limit int64) (refusal, err error) {
	d := receiver{w: w, limit: limit}
	for lineStart := true; ; {
		if lineStart {
			end, err := cutDot(in)
			if end || err != nil {
				return d.refusal, err
			}
		}
		if lineStart, err = d.copyLines(in); err != nil {
			return d.refusal, err
		}
	}
}

// receiver hands on what is good and remembers the first reason to refuse.
type receiver struct {
	w       io.Writer
	limit   int64
	size    int64
	refusal error
}

func (d *receiver) refuse(err error) {
	if d.refusal == nil {
		d.refusal = err
	}
}

func (d *receiver) write(p []byte) error {
	d.size += int64(len(p))
	if d.size > d.limit {
		d.refuse(ErrTooBig)
	}
	if d.refusal == nil {
		if _, err := d.w.Write(p); err != nil {
			d.refuse(fmt.Errorf("writing message data: %w", err))
		}
		return nil
	}
	if d.size > endlessFactor*d.limit && d.size > endlessMinimum {
		return ErrEndless
	}
	return nil
}

// cutDot looks at the start of a line: the end of data is read away, and so is a dot before anything else.
func cutDot(in input) (end bool, err error) {
	p, err := in.Peek(1)
	if err != nil || p[0] != '.' {
		return false, err
	}
	if p, err = in.Peek(len(endOfData)); err != nil {
		return false, err
	}
	n := 1
	if end = string(p) == endOfData; end {
		n = len(endOfData)
	}
	_, err = in.Discard(n)
	return end, err
}

const endOfData = ".\r\n" // at the start of a line

// copyLines hands on what is buffered, but no further than to a line that begins with a dot, and tells whether it stopped before a line.
// It begins after the dot of a line that had one.
func (d *receiver) copyLines(in input) (lineStart bool, err error) {
	p, err := window(in)
	if err != nil {
		return false, err
	}
	n, lines := 0, 0
	for n < len(p) && (!lineStart || p[n] != '.') {
		i := bytes.IndexByte(p[n:], '\n')
		if i < 0 {
			n, lineStart = len(p), false
			break
		}
		n += i + 1
		lineStart = n > 1 && p[n-2] == '\r'
		if lineStart {
			lines++
		} else {
			d.refuse(ErrBareLine)
		}
	}
	if bytes.Count(p[:n], []byte("\r")) != lines {
		d.refuse(ErrBareLine)
	}
	if err := d.write(p[:n]); err != nil {
		return false, err
	}
	_, err = in.Discard(n)
	return lineStart, err
}

// window is what is buffered, never empty, without a CR at its end whose LF may still be on its way.
func window(in input) ([]byte, error) {
	for least := 1; ; least++ {
		if _, err := in.Peek(least); err != nil {
			return nil, err
		}
		p, err := in.Peek(in.Buffered())
		if err != nil {
			return nil, err
		}
		if n := len(p) - 1; p[n] != '\r' {
			return p, nil
		} else if n > 0 {
			return p[:n], nil
		}
	}
}

// Chunks takes the chunks of one message sent by BDAT (RFC 3030 §2). W gets what they hold, which must be lines that end in CRLF, as
// that of DATA must; with BINARYMIME they may be anything (§3). The fields are set before the first Read.
type Chunks struct {
	W      io.Writer
	Limit  int64 // octets of all chunks together
	Binary bool  // BODY=BINARYMIME: no lines are looked for

	receiver receiver
	lastCR   bool // the octet before was a CR
	middle   bool // the octet before was not the end of a line
}

// Read takes one chunk off the connection, whatever becomes of it. refusal and err are as those of ReadData.
func (c *Chunks) Read(in input, size int64) (refusal, err error) {
	d := &c.receiver
	d.w, d.limit = c.W, c.Limit
	if size > d.limit-d.size {
		d.refuse(ErrTooBig)
	}
	for size > 0 {
		if _, err := in.Peek(1); err != nil {
			return d.refusal, err
		}
		p, err := in.Peek(int(min(int64(in.Buffered()), size)))
		if err != nil {
			return d.refusal, err
		}
		if !c.Binary {
			c.checkLines(p)
		}
		if err := d.write(p); err != nil {
			return d.refusal, err
		}
		if _, err := in.Discard(len(p)); err != nil {
			return d.refusal, err
		}
		size -= int64(len(p))
	}
	return d.refusal, nil
}

// Close ends the message after its last chunk: the last line gets its CRLF if it has none, as RFC 3030 allows it to be without.
func (c *Chunks) Close() (refusal error) {
	if c.lastCR {
		c.receiver.refuse(ErrBareLine)
	}
	if c.middle && c.receiver.refusal == nil {
		if err := c.receiver.write([]byte("\r\n")); err != nil {
			return err
		}
	}
	return c.receiver.refusal
}

func (c *Chunks) checkLines(p []byte) {
	lines := 0
	if c.lastCR && p[0] != '\n' {
		c.receiver.refuse(ErrBareLine)
	}
	for n := 0; ; lines++ {
		i := bytes.IndexByte(p[n:], '\n')
		if i < 0 {
			break
		}
		n += i + 1
		if n == 1 && !c.lastCR || n > 1 && p[n-2] != '\r' {
			c.receiver.refuse(ErrBareLine)
		}
	}
	// Every CR has its LF: those of this piece, less one whose CR was in the piece before, and one whose LF comes with the next.
	crs := bytes.Count(p, []byte("\r"))
	if c.lastCR {
		crs++
	}
	last := p[len(p)-1]
	c.lastCR, c.middle = last == '\r', last != '\n'
	if c.lastCR {
		crs--
	}
	if crs != lines {
		c.receiver.refuse(ErrBareLine)
	}
}
