package mime

import (
	"bufio"
	"encoding/base64"
	"errors"
	"io"
)

// Errors of Convert.
var (
	// ErrSealed: what would have to change is signed or encrypted, and would not be that any more (RFC 1847 §2.1).
	ErrSealed = errors.New("mime: a sealed part cannot be converted")
	// ErrAddress: an address of the header needs UTF-8 (RFC 6532 §3.2), and has no other form.
	ErrAddress = errors.New("mime: an address cannot be written in ASCII")
	// ErrForm: the message is not made so that it could be converted.
	ErrForm = errors.New("mime: a message that cannot be converted")
)

// Form is what a message may hold where it goes. The zero value is lines of any octets: no bare CR or LF, no NUL, no line that is too
// long.
type Form struct {
	SevenBit    bool // ASCII only, in header and body
	ASCIIHeader bool // ASCII only in the header
}

const (
	maxLine      = 998 // octets of a line without its CRLF: RFC 5322 §2.1.1
	maxQuoted    = 76  // octets of an encoded line: RFC 2045 §6.7, §6.8
	convertPiece = 32 << 10
)

// Convert writes a message in a form. It loses nothing (RFC 3030 §3): parts that do not fit get a transfer encoding, and words of a
// header that do not are encoded (RFC 2047); whatever fits is left as it is. What stands around the parts of a multipart is not content,
// and may lose octets. It reads the message three times, and holds its structure and one header.
func Convert(w io.Writer, message io.ReaderAt, size int64, form Form) error {
	p := NewParser()
	if _, err := io.CopyBuffer(p, io.NewSectionReader(message, 0, size), make([]byte, convertPiece)); err != nil {
		return err
	}
	c := &converter{from: message, size: size, out: &ending{w: w}, form: form}
	c.w = bufio.NewWriterSize(c.out, convertPiece)
	if err := c.part(p.Close(), true); err != nil {
		return err
	}
	if err := c.w.Flush(); err != nil || c.out.last == '\n' || c.out.last == 0 {
		return err
	}
	_, err := io.WriteString(w, "\r\n")
	return err
}

// ending remembers the last octet that was written.
type ending struct {
	w    io.Writer
	last byte
}

func (e *ending) Write(p []byte) (int, error) {
	if len(p) > 0 {
		e.last = p[len(p)-1]
	}
	return e.w.Write(p)
}

// converter writes the parts of one message.
type converter struct {
	from io.ReaderAt
	size int64
	out  *ending
	w    *bufio.Writer // to out
	form Form
}

func (c *converter) section(s Span) *io.SectionReader {
	return io.NewSectionReader(c.from, s.Off, s.Len)
}

// part writes a part; top tells the message itself, and a message inside.
func (c *converter) part(p *Part, top bool) error {
	switch {
	case !isASCII([]byte(p.param("boundary"))) && (c.form.SevenBit || c.form.ASCIIHeader):
		return ErrForm
	case p.Type == "multipart" && (p.Subtype == "signed" || p.Subtype == "encrypted"):
		return c.sealed(p, top)
	case len(p.Parts) > 0:
		if err := c.header(p, c.composite(p), top); err != nil {
			return err
		}
		return c.multipart(p)
	case p.Message != nil:
		if err := c.header(p, c.composite(p), top); err != nil {
			return err
		}
		return c.part(p.Message, true)
	}
	return c.leaf(p, top)
}

// composite is the encoding that a multipart or a message says it has, which is that of the most of what is inside: RFC 2045 §6.4.
func (c *converter) composite(p *Part) string {
	switch {
	case c.form.SevenBit && (p.Encoding == "8bit" || p.Encoding == "binary"):
		return "7bit"
	case p.Encoding == "binary":
		return "8bit"
	}
	return p.Encoding
}

// multipart writes the parts, and the lines between them.
func (c *converter) multipart(p *Part) error {
	at := p.Body.Off
	for _, part := range p.Parts {
		if err := c.between(Span{at, part.Header.Off - at}); err != nil {
			return err
		}
		if err := c.part(part, false); err != nil {
			return err
		}
		at = part.Body.End()
	}
	return c.between(Span{at, p.Body.End() - at})
}

// between writes delimiters, and what stands before the first and after the last; what does not fit there becomes "?". A bare LF ended
// a line, and so becomes one that is whole.
func (c *converter) between(s Span) error {
	in := bufio.NewReader(c.section(s))
	for last := byte(0); ; {
		b, err := in.ReadByte()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		next := byte(0)
		if peeked, err := in.Peek(1); err == nil {
			next = peeked[0]
		}
		switch {
		case b == '\n' && last != '\r':
			_, err = c.w.WriteString("\r\n")
		case b == '\r' && next != '\n', b == 0, b >= 0x80 && c.form.SevenBit:
			err = c.w.WriteByte('?')
		default:
			err = c.w.WriteByte(b)
		}
		if err != nil {
			return err
		}
		last = b
	}
}

// sealed writes a part whose inside nobody may touch.
func (c *converter) sealed(p *Part, top bool) error {
	t, err := c.tally(p.Body)
	if err != nil {
		return err
	}
	if !t.fits(c.form) {
		return ErrSealed
	}
	if err := c.sealedHeaders(p.Parts); err != nil {
		return err
	}
	if err := c.header(p, c.composite(p), top); err != nil {
		return err
	}
	return c.copy(p.Body)
}

// sealedHeaders tells whether the headers of parts, and of those inside, may stay as they are: one with UTF-8 needs SMTPUTF8 as that of the
// message does (RFC 6532 §3).
func (c *converter) sealedHeaders(parts []*Part) error {
	if !c.form.ASCIIHeader {
		return nil
	}
	for _, p := range parts {
		t, err := c.tally(p.Header)
		if err != nil {
			return err
		}
		if t.high > 0 {
			return ErrSealed
		}
		inside := p.Parts
		if p.Message != nil {
			inside = []*Part{p.Message}
		}
		if err := c.sealedHeaders(inside); err != nil {
			return err
		}
	}
	return nil
}

func (c *converter) copy(s Span) error {
	_, err := io.Copy(c.w, c.section(s))
	return err
}

// leaf writes a part that has no others inside.
func (c *converter) leaf(p *Part, top bool) error {
	t, err := c.tally(p.Body)
	if err != nil {
		return err
	}
	if t.fits(c.form) {
		encoding := p.Encoding
		if encoding == "binary" || encoding == "8bit" && c.form.SevenBit {
			encoding = t.encoding()
		}
		if err := c.header(p, encoding, top); err != nil {
			return err
		}
		return c.copy(p.Body)
	}
	encoding := "base64"
	if p.Encoding == "quoted-printable" || p.Encoding != "base64" && p.Type == "text" && t.isMostlyASCII() {
		encoding = "quoted-printable"
	}
	content, err := NewDecoder(c.section(p.Body), p.Encoding)
	if err != nil {
		return ErrForm
	}
	if err := c.header(p, encoding, top); err != nil {
		return err
	}
	if encoding == "base64" {
		return writeBase64(c.w, content)
	}
	return writeQuoted(c.w, bufio.NewReader(content))
}

// tally is what octets there are.
type tally struct {
	octets, high int64
	broken       bool // a bare CR or LF, a NUL, a line that is too long
}

func (c *converter) tally(s Span) (t tally, err error) {
	in, piece := c.section(s), make([]byte, convertPiece)
	line, last := 0, byte('\n')
	for {
		n, err := in.Read(piece)
		t.octets += int64(n)
		for _, b := range piece[:n] {
			switch {
			case b == '\n':
				t.broken = t.broken || last != '\r'
				line = -1
			case last == '\r':
				t.broken = true
			case b == 0:
				t.broken = true
			case b >= 0x80:
				t.high++
			}
			if line++; line > maxLine+1 { // its CR is counted
				t.broken = true
			}
			last = b
		}
		if err == io.EOF { // nothing stands after it that could end its last line
			t.broken = t.broken || last == '\r' || last != '\n' && s.End() == c.size
			return t, nil
		} else if err != nil {
			return t, err
		}
	}
}

func (t tally) fits(f Form) bool { return !t.broken && (t.high == 0 || !f.SevenBit) }

// encoding is what to call octets that are in lines.
func (t tally) encoding() string {
	if t.high > 0 {
		return "8bit"
	}
	return "7bit"
}

// isMostlyASCII tells whether quoted-printable is shorter than base64, and can be read without decoding.
func (t tally) isMostlyASCII() bool { return t.high < t.octets/3 }

func writeBase64(w io.Writer, content io.Reader) error {
	lines := &lineWriter{w: w}
	enc := base64.NewEncoder(base64.StdEncoding, lines)
	if _, err := io.Copy(enc, content); err != nil {
		return err
	}
	if err := enc.Close(); err != nil {
		return err
	}
	return lines.end()
}

// lineWriter breaks what is written into lines of maxQuoted octets.
type lineWriter struct {
	w io.Writer
	n int
}

func (l *lineWriter) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if l.n == maxQuoted {
			if err := l.end(); err != nil {
				return 0, err
			}
		}
		n := min(len(p), maxQuoted-l.n)
		if _, err := l.w.Write(p[:n]); err != nil {
			return 0, err
		}
		l.n += n
		p = p[n:]
	}
	return total, nil
}

// end ends the line, if one has begun.
func (l *lineWriter) end() error {
	if l.n == 0 {
		return nil
	}
	l.n = 0
	_, err := io.WriteString(l.w, "\r\n")
	return err
}

// writeQuoted writes quoted-printable: RFC 2045 §6.7. CRLF is a line's end, and a CR or LF alone is not.
func writeQuoted(w *bufio.Writer, in *bufio.Reader) error {
	q := quotedWriter{w: w}
	for {
		b, err := in.ReadByte()
		switch {
		case err == io.EOF && q.n > 0: // the content does not end in a line's end
			return q.lineEnd("=\r\n")
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case b == '\r' && startsWith(in, "\n"):
			_, _ = in.Discard(1)
			err = q.lineEnd("\r\n")
		case b == ' ' || b == '\t':
			err = q.octet(b, startsWith(in, "\r\n") || startsWith(in, ""))
		default: // a line that begins with a hyphen may be taken for a delimiter, where the content's own line did not begin with it
			err = q.octet(b, b < ' ' || b >= 0x7f || b == '=' || b == '-' && q.n == 0)
		}
		if err != nil {
			return err
		}
	}
}

// startsWith tells whether this comes next; nothing: whether nothing does.
func startsWith(in *bufio.Reader, text string) bool {
	next, _ := in.Peek(max(1, len(text)))
	return string(next) == text
}

// quotedWriter writes lines of quoted-printable.
type quotedWriter struct {
	w *bufio.Writer
	n int // octets of the line so far
}

func (q *quotedWriter) lineEnd(end string) error {
	q.n = 0
	_, err := q.w.WriteString(end)
	return err
}

// octet writes one, as it is or as its number, and breaks the line where it would be too long.
func (q *quotedWriter) octet(b byte, escape bool) error {
	const hex = "0123456789ABCDEF"
	width := 1
	if escape {
		width = 3
	}
	if q.n+width > maxQuoted-1 { // room for the "=" of a soft line break
		if err := q.lineEnd("=\r\n"); err != nil {
			return err
		}
		escape = escape || b == '-'
		if escape {
			width = 3
		}
	}
	q.n += width
	if !escape {
		return q.w.WriteByte(b)
	}
	_ = q.w.WriteByte('=') // an error stays, and comes with the next
	_ = q.w.WriteByte(hex[b>>4])
	return q.w.WriteByte(hex[b&15])
}
