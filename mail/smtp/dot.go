package smtp

import (
	"bytes"
	"io"
)

// DotWriter makes message data transparent on its way out (RFC 5321 §4.5.2): a line that begins with "." gets another, and Close
// writes the end of data. Its input is canonical (CRLF only); the last line may lack its CRLF, which Close then adds.
type DotWriter struct {
	w   io.Writer
	mid bool // inside a line
	err error
}

// NewDotWriter writes to w, which should be buffered.
func NewDotWriter(w io.Writer) *DotWriter { return &DotWriter{w: w} }

func (d *DotWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && d.err == nil; {
		if !d.mid && rest[0] == '.' {
			d.put(".")
		}
		// The next line that needs a dot begins after "\n."; everything before it goes in one piece.
		n := len(rest)
		if i := bytes.Index(rest, []byte("\n.")); i >= 0 {
			n = i + 1
		}
		if d.err == nil {
			_, d.err = d.w.Write(rest[:n])
		}
		d.mid = rest[n-1] != '\n'
		rest = rest[n:]
	}
	if d.err != nil {
		return 0, d.err
	}
	return len(p), nil
}

// Close ends the data with CRLF.CRLF; it does not flush or close the writer below.
func (d *DotWriter) Close() error {
	if d.mid {
		d.put("\r\n")
	}
	d.put(".\r\n")
	return d.err
}

func (d *DotWriter) put(s string) {
	if d.err == nil {
		_, d.err = io.WriteString(d.w, s)
	}
}
