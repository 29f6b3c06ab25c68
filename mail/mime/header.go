package mime

import (
	"bytes"
	"iter"
)

// Field is one header field, as slices of the header it is in.
type Field struct {
	Name  []byte // as written; nil if the line has no field name (a stray line, an mbox "From " line)
	Value []byte // after the colon, still folded, without its last line end
	Raw   []byte // the whole field with its line ends
}

// Fields yields the fields of a header up to its empty line, in order. Every octet before that line is in one field's Raw.
func Fields(header []byte) iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for len(header) > 0 && !isBlank(header) {
			raw := header[:fieldEnd(header)]
			header = header[len(raw):]
			if !yield(makeField(raw)) {
				return
			}
		}
	}
}

// isBlank tells whether b begins with the empty line.
func isBlank(b []byte) bool {
	return b[0] == '\n' || len(b) > 1 && b[0] == '\r' && b[1] == '\n'
}

// fieldEnd is the length of the field b begins with: its line and those that continue it (RFC 5322 §2.2.3).
func fieldEnd(b []byte) int {
	for end := 0; ; {
		i := bytes.IndexByte(b[end:], '\n')
		if i < 0 {
			return len(b)
		}
		if end += i + 1; end == len(b) || b[end] != ' ' && b[end] != '\t' {
			return end
		}
	}
}

func makeField(raw []byte) Field {
	line := trimLineEnd(raw)
	name, value, ok := bytes.Cut(line, colon)
	name = bytes.TrimRight(name, " \t") // RFC 5322 §4.5 lets space stand before the colon
	if !ok || !isFieldName(name) {
		return Field{Value: line, Raw: raw}
	}
	return Field{Name: name, Value: value, Raw: raw}
}

var colon = []byte{':'}

// isFieldName is RFC 5322 §2.2: printable ASCII but the colon. 8-bit names are seen, and do no harm.
func isFieldName(name []byte) bool {
	for _, c := range name {
		if c <= ' ' || c == 0x7f {
			return false
		}
	}
	return len(name) > 0
}

func trimLineEnd(b []byte) []byte {
	b = bytes.TrimSuffix(b, []byte{'\n'})
	return bytes.TrimSuffix(b, []byte{'\r'})
}

// AppendUnfolded appends a field's value on one line: without line ends and NULs, tabs as spaces, no space around it.
func AppendUnfolded(b, value []byte) []byte {
	start := len(b)
	for _, c := range value {
		switch c {
		case '\r', '\n', 0:
			continue
		case '\t':
			c = ' '
		}
		if c == ' ' && len(b) == start {
			continue
		}
		b = append(b, c)
	}
	for len(b) > start && b[len(b)-1] == ' ' {
		b = b[:len(b)-1]
	}
	return b
}

// keeper makes the strings a structure keeps, up to MaxKept octets in all.
type keeper struct {
	left    int
	scratch []byte
}

// text is the unfolded value, at most MaxField octets of it.
func (k *keeper) text(value []byte) string {
	k.scratch = AppendUnfolded(k.scratch[:0], value[:min(len(value), MaxField)])
	return k.keep(k.scratch)
}

// keep is b as a string, or empty when no more is kept.
func (k *keeper) keep(b []byte) string {
	if len(b) > k.left {
		return ""
	}
	k.left -= len(b)
	return intern(b)
}

// intern spares an allocation for the words almost every message has.
func intern(b []byte) string {
	switch string(b) {
	case "text":
		return "text"
	case "plain":
		return "plain"
	case "html":
		return "html"
	case "multipart":
		return "multipart"
	case "charset":
		return "charset"
	case "boundary":
		return "boundary"
	case "utf-8":
		return "utf-8"
	case "7bit":
		return "7bit"
	case "8bit":
		return "8bit"
	case "base64":
		return "base64"
	case "quoted-printable":
		return "quoted-printable"
	}
	return string(b)
}

// lower is b in lower case, ASCII only, in place.
func lower(b []byte) []byte {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return b
}
