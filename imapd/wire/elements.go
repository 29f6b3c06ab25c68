package wire

import (
	"math"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
)

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isAtom is ATOM-CHAR: RFC 9051 §9.
func isAtom(c byte) bool { return c != ']' && isAString(c) }

// isAString is ASTRING-CHAR.
func isAString(c byte) bool {
	switch c {
	case '(', ')', '{', ' ', '%', '*', '"', '\\':
		return false
	}
	return 0x20 < c && c < 0x7f
}

// isList is list-char.
func isList(c byte) bool { return isAString(c) || c == '%' || c == '*' }

// isTag is a character of a tag.
func isTag(c byte) bool { return isAString(c) && c != '+' }

// isLabel is what names of data items and options consist of, in all of RFC 9051 and its extensions. It leaves out the "[" and "<"
// that are part of an atom by the letter and begin a section or a range in fact.
func isLabel(c byte) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || isDigit(c) || c == '.' || c == '-' || c == '_' || c == '='
}

// Tag decodes the tag of a command, even of a line that is refused.
func (d *Decoder) Tag(s *string) bool {
	n := 0
	for n < len(d.line) && isTag(d.line[n]) {
		n++
	}
	if n == 0 || n > MaxTag {
		return d.missing("a tag")
	}
	*s, d.pos = string(d.line[:n]), n
	return true
}

// run decodes one or more octets of a kind.
func (d *Decoder) run(s *string, kind func(byte) bool, what string) bool {
	if !d.ready() {
		return false
	}
	end := d.pos
	for end < len(d.line) && kind(d.line[end]) {
		end++
	}
	if end == d.pos {
		return d.missing(what)
	}
	*s, d.pos = string(d.line[d.pos:end]), end
	return true
}

// Next octet

// At tells whether the next octet is c, and leaves it.
func (d *Decoder) At(c byte) bool {
	return d.ready() && d.pos < len(d.line) && d.line[d.pos] == c
}

// AtDigit tells whether the next octet is a digit, and leaves it.
func (d *Decoder) AtDigit() bool {
	return d.ready() && d.pos < len(d.line) && isDigit(d.line[d.pos])
}

// Special decodes the octet c.
func (d *Decoder) Special(c byte) bool {
	if !d.At(c) {
		return d.missing(specials[c])
	}
	d.pos++
	return true
}

// specials are the texts for what a grammar asks for by octet.
var specials = map[byte]string{
	'(': `"("`, ')': `")"`, '[': `"["`, ']': `"]"`, '<': `"<"`, '>': `">"`, '.': `"."`, ' ': "a space", '\\': `"\"`, '$': `"$"`,
	':': `":"`, '-': `"-"`,
}

// SP decodes one space.
func (d *Decoder) SP() bool { return d.Special(' ') }

// AtEnd tells whether nothing of the command is left.
func (d *Decoder) AtEnd() bool { return d.ready() && d.pos == len(d.line) }

// End decodes the end of the command.
func (d *Decoder) End() bool { return d.AtEnd() || d.missing("the end of the command") }

// NextLine goes on to a line that the client was asked for after the end of the command: of AUTHENTICATE and IDLE.
func (d *Decoder) NextLine() bool {
	return d.AtEnd() && d.readLine() == nil && d.ready()
}

// Words and strings

// Label decodes the name of a command, a data item or an option, in upper case.
func (d *Decoder) Label(s *string) bool {
	if !d.run(s, isLabel, "a name") {
		return false
	}
	*s = strings.ToUpper(*s)
	return true
}

// Word decodes the atom given in upper case.
func (d *Decoder) Word(want string) bool {
	if !d.ready() || len(d.line)-d.pos < len(want) || !strings.EqualFold(string(d.line[d.pos:d.pos+len(want)]), want) {
		return d.missing(want)
	}
	if end := d.pos + len(want); end == len(d.line) || !isAtom(d.line[end]) {
		d.pos = end
		return true
	}
	return d.missing(want)
}

// Atom decodes an atom.
func (d *Decoder) Atom(s *string) bool { return d.run(s, isAtom, "an atom") }

// String decodes a quoted string or a literal.
func (d *Decoder) String(s *string) bool {
	return d.quoted(s) || !d.next.binary && d.inMemory(s) || d.missing("a string")
}

// String8 decodes a literal8 of a command that keeps it; it may have NULs: RFC 3516 §4.4.
func (d *Decoder) String8(s *string) bool {
	return d.next.binary && d.inMemory(s) || d.missing("a literal8")
}

// AString decodes an atom-like word or a string.
func (d *Decoder) AString(s *string) bool { return d.String(s) || d.run(s, isAString, "a string") }

// NString decodes NIL, or a string.
func (d *Decoder) NString(s *string) bool { return d.Word("NIL") || d.String(s) }

// ListMailbox decodes a pattern of LIST.
func (d *Decoder) ListMailbox(s *string) bool { return d.String(s) || d.run(s, isList, "a pattern") }

// Line decodes all that is left of the line.
func (d *Decoder) Line(s *string) bool {
	if !d.ready() {
		return false
	}
	*s, d.pos = string(d.line[d.pos:]), len(d.line)
	return true
}

// quoted decodes a quoted string: no control characters, and nothing but quoted-specials escaped.
func (d *Decoder) quoted(s *string) bool {
	if !d.At('"') {
		return d.missing("a string")
	}
	var b strings.Builder
	for i := d.pos + 1; i < len(d.line); i++ {
		c := d.line[i]
		switch {
		case c == '"':
			*s, d.pos = b.String(), i+1
			return utf8.ValidString(*s) || d.missing("UTF-8")
		case c == '\\':
			if i++; i == len(d.line) || d.line[i] != '"' && d.line[i] != '\\' {
				return d.missing(`a "\" or a quote after "\"`)
			}
			c = d.line[i]
		}
		b.WriteByte(c)
	}
	return d.missing("a closing quote")
}

// Flag decodes a flag, keyword or system flag.
func (d *Decoder) Flag(f *imap.Flag) bool {
	var backslash, name string
	if d.At('\\') {
		backslash = `\`
		d.pos++
	}
	if !d.Atom(&name) {
		return d.missing("a flag")
	}
	*f = imap.Flag(backslash + name)
	return true
}

// Numbers

// number decodes digits up to a maximum.
func (d *Decoder) number(n *uint64, limit uint64) bool {
	if !d.ready() {
		return false
	}
	begin, v := d.pos, uint64(0)
	for ; d.pos < len(d.line) && isDigit(d.line[d.pos]); d.pos++ {
		digit := uint64(d.line[d.pos] - '0')
		if v > (limit-digit)/10 {
			return d.missing("a smaller number")
		}
		v = v*10 + digit
	}
	*n = v
	return d.pos > begin || d.missing("a number")
}

// Number decodes a number of 32 bits.
func (d *Decoder) Number(n *uint32) bool {
	var v uint64
	ok := d.number(&v, math.MaxUint32)
	*n = uint32(v)
	return ok
}

// NZNumber decodes a number of 32 bits that is not 0.
func (d *Decoder) NZNumber(n *uint32) bool {
	return d.Number(n) && (*n != 0 || d.missing("a number that is not 0"))
}

// Number64 decodes a number of 63 bits.
func (d *Decoder) Number64(n *int64) bool {
	var v uint64
	ok := d.number(&v, math.MaxInt64)
	*n = int64(v) //nolint:gosec // its limit was that of an int64
	return ok
}

// List decodes a parenthesized list of any number of items.
func (d *Decoder) List(item func() bool) bool {
	return d.Special('(') && d.Depth(func() bool {
		if d.Special(')') {
			return true
		}
		for item() {
			if d.Special(')') {
				return true
			}
			if !d.SP() {
				return false
			}
		}
		return false
	})
}

// List1 decodes a parenthesized list of at least one item.
func (d *Decoder) List1(item func() bool) bool {
	some := false
	return d.List(func() bool {
		some = true
		return item()
	}) && (some || d.missing("something in the list"))
}
