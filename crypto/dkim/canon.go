package dkim

import (
	"bytes"
	"io"
	"strings"
)

// canon is a canonicalization algorithm: RFC 6376 §3.4.
type canon uint8

const (
	simple canon = iota
	relaxed
)

var canonNames = [...]string{"simple", "relaxed"}

func parseCanon(s string) (canon, bool) {
	for i, name := range canonNames {
		if s == name {
			return canon(i), true
		}
	}
	return 0, false
}

// header is the canonical form of a field: RFC 6376 §3.4.1 and §3.4.2.
func (c canon) header(f field) []byte {
	if c == simple {
		return f.raw
	}
	_, value, _ := bytes.Cut(f.raw, []byte(":"))
	out := append(make([]byte, 0, len(f.raw)), f.name...)
	out = append(out, ':')
	start, blank := len(out), false
	for _, b := range value {
		switch b {
		case ' ', '\t':
			blank = true
		case '\r', '\n': // unfolding
		default:
			if blank && len(out) > start {
				out = append(out, ' ')
			}
			out, blank = append(out, b), false
		}
	}
	return append(out, "\r\n"...)
}

// bodyWriter writes the canonical form of a body to w: RFC 6376 §3.4.3 and §3.4.4. It holds back line ends and white space until
// something follows them, as counts, so that a body of nothing else costs no more than any other.
type bodyWriter struct {
	w     io.Writer // never fails: a hash
	canon canon
	limit int64 // l=: octets of the canonical form still to be hashed; negative: all
	total int64 // octets of the canonical form
	crlfs int64 // held back
	blank bool  // white space held back
	cr    bool  // a CR held back: the next octet says whether it ends the line
	buf   []byte
}

const flushAt = 8 << 10

func (b *bodyWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if b.cr {
			b.cr = false
			if p[0] == '\n' {
				b.lineEnd()
				p = p[1:]
				continue
			}
			b.content([]byte{'\r'})
		}
		i := bytes.IndexByte(p, '\r')
		if i < 0 {
			b.text(p)
			break
		}
		b.text(p[:i])
		b.cr = true
		p = p[i+1:]
	}
	return n, nil
}

func (b *bodyWriter) lineEnd() {
	b.crlfs++
	b.blank = false
}

// text takes a piece of a line.
func (b *bodyWriter) text(p []byte) {
	if b.canon == simple {
		b.content(p)
		return
	}
	for len(p) > 0 {
		n := 0
		for n < len(p) && p[n] != ' ' && p[n] != '\t' {
			n++
		}
		b.content(p[:n])
		if n < len(p) {
			b.blank = true
			n++
		}
		p = p[n:]
	}
}

// content writes what is not white space, after all that was held back.
func (b *bodyWriter) content(p []byte) {
	if len(p) == 0 {
		return
	}
	for ; b.crlfs > 0; b.crlfs-- {
		b.put([]byte("\r\n"))
	}
	if b.blank {
		b.put([]byte{' '})
		b.blank = false
	}
	b.put(p)
}

func (b *bodyWriter) put(p []byte) {
	b.total += int64(len(p))
	if b.limit >= 0 {
		p = p[:min(int64(len(p)), b.limit)]
		b.limit -= int64(len(p))
	}
	b.buf = append(b.buf, p...)
	if len(b.buf) >= flushAt {
		b.flush()
	}
}

func (b *bodyWriter) flush() {
	b.w.Write(b.buf)
	b.buf = b.buf[:0]
}

// close ends the body: the simple form of an empty one is CRLF, the relaxed form nothing; any other ends in one CRLF.
func (b *bodyWriter) close() {
	if b.cr {
		b.cr = false
		b.content([]byte{'\r'})
	}
	if b.total > 0 || b.canon == simple {
		b.put([]byte("\r\n"))
	}
	b.flush()
}

// pick chooses the fields that h= names, from the last occurrence of a name upwards (RFC 6376 §5.4.2), and writes their canonical form.
func pick(w io.Writer, fields []field, names []string, c canon) {
	last := map[string][]int{}
	for i, f := range fields {
		last[f.name] = append(last[f.name], i)
	}
	for _, name := range names {
		name = strings.ToLower(name)
		if at := last[name]; len(at) > 0 {
			w.Write(c.header(fields[at[len(at)-1]]))
			last[name] = at[:len(at)-1]
		}
	}
}
