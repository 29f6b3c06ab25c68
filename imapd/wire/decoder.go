package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
)

// What may be wrong with a command beside its syntax. After ErrUnframed the connection cannot be used any more.
var (
	ErrLine     = errors.New("wire: line too long")
	ErrLiteral  = errors.New("wire: literal too big")
	ErrDepth    = errors.New("wire: nested too deeply")
	ErrLineEnd  = errors.New("wire: line without CRLF, or with a bare CR")
	ErrNUL      = errors.New("wire: NUL")
	ErrUnframed = errors.New("wire: too much to read away")
)

// SyntaxError says which element of the grammar was missing; Want is a constant text.
type SyntaxError struct{ Want string }

func (e *SyntaxError) Error() string { return "wire: expected " + e.Want }

// Limits bound a command.
type Limits struct {
	Line    int   // octets of its lines, literals apart
	Literal int64 // octets of its literals that are kept in memory
	Depth   int   // parentheses, and whatever else nests
	Discard int64 // octets that are read away when it is refused; beyond, the connection is given up
}

// MaxTag is how long a tag may be: it is sent back with every answer.
const MaxTag = 128

// Decoder reads commands. What its methods hand out stays valid.
type Decoder struct {
	// Limits may be changed between commands.
	Limits Limits
	// Continue asks for a synchronizing literal; its answer goes to the client at once.
	Continue func() error

	from   source
	r      *bufio.Reader // on from
	line   []byte        // what is being decoded, without its end
	pos    int
	next   header // the literal announced at the end of line
	open   *Literal
	long   []byte // holds lines that r's buffer cannot
	room   int    // octets left of Limits.Line
	memory int64  // octets left of Limits.Literal
	budget int64  // octets left of Limits.Discard
	depth  int
	want   string // what the last element that failed would have been
	err    error  // of the line, or of reading
	gone   error  // the last error of reading: there will be no more
}

// NewDecoder reads commands from r.
func NewDecoder(r io.Reader) *Decoder {
	d := &Decoder{from: source{Reader: r}}
	d.r = takeBuffer(&d.from)
	return d
}

// Next reads the first line of the next command. It fails if there is none; what is wrong with the line is told by Err.
func (d *Decoder) Next() error {
	if cap(d.long) > keepLine {
		d.long = nil
	}
	d.room, d.memory, d.budget, d.depth = d.Limits.Line, d.Limits.Literal, d.Limits.Discard, 0
	d.open, d.want, d.err = nil, "", nil
	return d.readLine()
}

// keepLine is the size up to which the buffer of an overlong line is kept for the next one.
const keepLine = 16 << 10

// Wait waits for the next octet, without a buffer; the line that was decoded is gone. That there will be none, the next element tells.
func (d *Decoder) Wait() {
	if d.Buffered() {
		return
	}
	d.line, d.pos, d.long = nil, 0, nil
	giveBuffer(d.r)
	d.r = nil
	err := d.from.wait()
	d.r = takeBuffer(&d.from)
	if err != nil {
		d.lost(err, false) //nolint:errcheck // kept
	}
}

// Buffered tells whether something of the next command has been read already.
func (d *Decoder) Buffered() bool { return d.r.Buffered() > 0 }

// Gone is the error that ended reading.
func (d *Decoder) Gone() error { return d.gone }

// readLine reads a line of the command. Its error is one of reading; what is wrong with the line goes to d.err, and the line is
// kept all the same: it may begin with a tag and end with a literal.
func (d *Decoder) readLine() error {
	d.line, d.pos, d.next = nil, 0, header{}
	line, err := d.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		line, err = d.readLong(line)
	}
	if err != nil {
		return d.lost(err, len(line) > 0 || d.room < d.Limits.Line)
	}
	if d.budget -= int64(len(line)); d.budget < 0 {
		return d.lost(ErrUnframed, true)
	}
	if d.room -= len(line); d.room < 0 {
		d.fail(ErrLine)
	}
	line = line[:len(line)-1]
	if n := len(line) - 1; n >= 0 && line[n] == '\r' {
		line = line[:n]
	} else {
		d.fail(ErrLineEnd)
	}
	switch {
	case bytes.IndexByte(line, 0) >= 0:
		d.fail(ErrNUL)
	case bytes.IndexByte(line, '\r') >= 0:
		d.fail(ErrLineEnd)
	}
	d.line, d.next = line, parseHeader(line)
	return nil
}

// readLong goes on with a line that does not fit r's buffer. Of one that is too long only the beginning and the end are kept, as
// much as a tag and the header of a literal may be.
func (d *Decoder) readLong(begin []byte) ([]byte, error) {
	d.long = append(d.long[:0], begin...)
	for {
		part, err := d.r.ReadSlice('\n')
		d.long = append(d.long, part...)
		if end := len(d.long) - maxHeader; len(d.long) > d.room && end > MaxTag+1 {
			d.fail(ErrLine)
			d.budget -= int64(end - (MaxTag + 1))
			d.long = slices.Delete(d.long, MaxTag+1, end)
		}
		if d.budget < 0 {
			return nil, ErrUnframed
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return d.long, err
		}
	}
}

// lost makes an error of reading final.
func (d *Decoder) lost(err error, begun bool) error {
	if begun && errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	d.err, d.gone = err, err
	return err
}

// Refuse makes err what is wrong with the command. It is always false.
func (d *Decoder) Refuse(err error) bool { return d.fail(err) }

// fail keeps the first error of the command.
func (d *Decoder) fail(err error) bool {
	if d.err == nil {
		d.err = err
	}
	return false
}

// Err is what was wrong with the command when an element was not there: the line, a limit, reading, or the syntax.
func (d *Decoder) Err() error {
	if d.err != nil {
		return d.err
	}
	return &SyntaxError{Want: d.want}
}

// Finish reads away what is left of the command. An error is final.
func (d *Decoder) Finish() error {
	for d.gone == nil {
		var left int64
		switch {
		case d.open != nil:
			left = d.open.left
			if d.open.refused() {
				return nil
			}
		case d.next.found && !d.next.sync:
			left = d.next.size
		default: // The client of a synchronizing literal waits, and has its answer.
			return nil
		}
		if d.budget -= left; d.budget < 0 {
			return d.lost(ErrUnframed, true)
		}
		if _, err := io.CopyN(io.Discard, d.r, left); err != nil {
			return d.lost(err, true)
		}
		d.open = nil
		if err := d.readLine(); err != nil {
			return err
		}
	}
	return d.gone
}

// ready tells whether an element may be decoded; it goes on to the line that follows a literal.
func (d *Decoder) ready() bool {
	if d.err != nil {
		return false
	}
	if d.open == nil {
		return true
	}
	if d.open.left > 0 || d.open.refused() {
		d.want = "the literal to be read"
		return false
	}
	d.open = nil
	return d.readLine() == nil && d.err == nil
}

// missing notes what was expected.
func (d *Decoder) missing(what string) bool {
	d.want = what
	return false
}

// Depth runs f one level deeper: whatever recurses in a parser goes through it.
func (d *Decoder) Depth(f func() bool) bool {
	if d.depth++; d.depth > d.Limits.Depth {
		return d.fail(ErrDepth)
	}
	ok := f()
	d.depth--
	return ok
}
