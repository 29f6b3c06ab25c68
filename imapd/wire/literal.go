package wire

import (
	"bytes"
	"io"
	"math"
)

// maxHeader is the longest header of a literal: "~{", the digits of a number64, "+}", the end of the line.
const maxHeader = 2 + 19 + 2 + 2

// header is the announcement of a literal at the end of a line: RFC 9051 §9 literal and literal8, RFC 7888 §3.
type header struct {
	found  bool
	at     int // where it begins
	size   int64
	sync   bool
	binary bool // literal8
}

// parseHeader finds it. A size beyond a number64 is one that nobody can send.
func parseHeader(line []byte) (h header) {
	n := len(line)
	if n < 3 || line[n-1] != '}' {
		return header{}
	}
	end := n - 1
	h.sync = line[end-1] != '+'
	if !h.sync {
		end--
	}
	begin := end
	for begin > 0 && isDigit(line[begin-1]) {
		begin--
	}
	if begin == end || begin == 0 || line[begin-1] != '{' {
		return header{}
	}
	for _, c := range line[begin:end] {
		if h.size > (math.MaxInt64-9)/10 {
			h.size = math.MaxInt64
			break
		}
		h.size = h.size*10 + int64(c-'0')
	}
	h.found, h.at = true, begin-1
	if h.at > 0 && line[h.at-1] == '~' {
		h.binary = true
		h.at--
	}
	return h
}

// Literal is one to be read as it arrives, by Read. A synchronizing one is asked for by the first Read: who refuses it does not read.
type Literal struct {
	Size   int64
	Binary bool // a literal8: RFC 3516 §4.4
	NUL    bool // a NUL was in what has been read; only a literal8 may have any

	d     *Decoder
	left  int64
	asked bool // it need not be asked for any more
}

// refused tells whether the client waits in vain.
func (l *Literal) refused() bool { return !l.asked }

// Read reads the literal.
func (l *Literal) Read(p []byte) (int, error) {
	if !l.asked {
		l.asked = true
		if err := l.d.Continue(); err != nil {
			return 0, l.d.lost(err, true)
		}
	}
	if l.left == 0 {
		return 0, io.EOF
	}
	n, err := l.d.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	l.NUL = l.NUL || bytes.IndexByte(p[:n], 0) >= 0
	if err != nil {
		err = l.d.lost(err, true)
	}
	return n, err
}

// Literal decodes the header of a literal that l then reads; it must be read or refused before anything else is decoded.
func (d *Decoder) Literal(l *Literal) bool {
	return !d.next.binary && d.literal(l) || d.missing("a literal")
}

// Literal8 is Literal for a literal8, which may hold NULs: RFC 3516 §4.4.
func (d *Decoder) Literal8(l *Literal) bool {
	return d.next.binary && d.literal(l) || d.missing("a literal8")
}

func (d *Decoder) literal(l *Literal) bool {
	if !d.ready() || !d.next.found || d.pos != d.next.at {
		return false
	}
	*l = Literal{Size: d.next.size, Binary: d.next.binary, d: d, left: d.next.size, asked: !d.next.sync}
	d.open, d.next, d.pos = l, header{}, len(d.line)
	return true
}

// inMemory decodes a literal of a command that keeps it.
func (d *Decoder) inMemory(s *string) bool {
	if !d.next.found || d.pos != d.next.at {
		return d.missing("a string")
	}
	if d.next.size > d.memory {
		return d.fail(ErrLiteral)
	}
	d.memory -= d.next.size
	l := new(Literal)
	d.literal(l)
	buf := make([]byte, l.Size)
	if l.Size == 0 { // Even then it is asked for: RFC 9051 §4.3, Note.
		l.Read(nil) //nolint:errcheck // d keeps the error
	}
	if _, err := io.ReadFull(l, buf); err != nil {
		return d.fail(err)
	}
	if l.NUL && !l.Binary {
		return d.fail(ErrNUL)
	}
	*s = string(buf)
	return true
}
