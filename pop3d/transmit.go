package pop3d

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"posthouse/mail"
	"posthouse/mail/mime"
	"posthouse/mail/smtp"
)

// pieceSize is how much of a message is in memory while it is sent.
const pieceSize = 32 << 10

var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// wholeMessage is more lines than any message has.
const wholeMessage = int(^uint(0) >> 1)

// transmit sends what write writes as a multi-line answer, whatever octets it has: every line ends in CRLF, also one that ended in a bare
// LF, which a client might take for the end of a line before us; a line that begins with a dot gets another, and the one that ends the
// answer follows (RFC 1939 §3). It stops after so many lines of the body.
func transmit(out io.Writer, lines int, write func(io.Writer) error) error {
	dots := smtp.NewDotWriter(out)
	var w io.Writer = dots
	if lines != wholeMessage {
		w = &topWriter{w: dots, left: lines}
	}
	if err := write(&lineWriter{w: w}); err != nil && !errors.Is(err, errEnough) {
		return err
	}
	return dots.Close()
}

// copyContent writes a content as it is.
func copyContent(w io.Writer, content mail.Content) error {
	piece := pieces.Get().(*[pieceSize]byte) //nolint:forcetypeassert // the pool holds nothing else
	defer pieces.Put(piece)
	_, err := io.CopyBuffer(w, io.NewSectionReader(content, 0, content.Size()), piece[:])
	return err
}

// lineWriter makes every LF the end of a CRLF.
type lineWriter struct {
	w  io.Writer
	cr bool // the octet before was a CR
}

// Write is io.Writer.
func (l *lineWriter) Write(p []byte) (int, error) {
	from := 0
	for at := 0; ; at++ {
		i := bytes.IndexByte(p[at:], '\n')
		if i < 0 {
			break
		}
		at += i
		if at > 0 {
			l.cr = p[at-1] == '\r'
		}
		if !l.cr {
			if err := writeAll(l.w, p[from:at], crlf); err != nil {
				return 0, err
			}
			from = at + 1
		}
		l.cr = false
	}
	if len(p) > 0 {
		l.cr = p[len(p)-1] == '\r'
	}
	if err := writeAll(l.w, p[from:]); err != nil {
		return 0, err
	}
	return len(p), nil
}

var crlf = []byte("\r\n")

func writeAll(w io.Writer, pieces ...[]byte) error {
	for _, p := range pieces {
		if len(p) == 0 {
			continue
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// errEnough ends the writing of a message of which no more is wanted.
var errEnough = errors.New("pop3d: enough")

// topWriter lets through the header of a message, the empty line after it, and some lines of its body; then it is errEnough.
type topWriter struct {
	w    io.Writer
	left int  // lines of the body
	body bool // the header is over
	line int  // octets of the line that has begun
}

// Write is io.Writer. Lines end in CRLF.
func (t *topWriter) Write(p []byte) (int, error) {
	n := 0
	for n < len(p) && !(t.body && t.left == 0) {
		i := bytes.IndexByte(p[n:], '\n')
		if i < 0 {
			t.line += len(p) - n
			n = len(p)
			break
		}
		n += i + 1
		switch {
		case t.body:
			t.left--
		case t.line+i+1 == len(crlf):
			t.body = true
		}
		t.line = 0
	}
	if err := writeAll(t.w, p[:n]); err != nil {
		return 0, err
	}
	if t.body && t.left == 0 {
		return n, errEnough
	}
	return len(p), nil
}

// hasASCIIHeader looks at a message's header, but no further than one may be long.
func hasASCIIHeader(content mail.Content) (bool, error) {
	piece := pieces.Get().(*[pieceSize]byte) //nolint:forcetypeassert // the pool holds nothing else
	defer pieces.Put(piece)
	line := 0 // octets of the line that has begun, without CRs
	for off := int64(0); off < min(content.Size(), mime.MaxHeader); off += pieceSize {
		n, err := content.ReadAt(piece[:min(pieceSize, content.Size()-off)], off)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		for _, c := range piece[:n] {
			switch {
			case c >= 0x80:
				return false, nil
			case c == '\n' && line == 0:
				return true, nil
			case c == '\n':
				line = 0
			case c != '\r':
				line++
			}
		}
	}
	return true, nil
}
