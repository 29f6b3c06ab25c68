package smtp

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// addrUTF8 is the address type of internationalized addresses: RFC 6533 §3.
const addrUTF8 = "utf-8"

// parseXtext decodes xtext of printable ASCII: RFC 3461 §4.
func parseXtext(s string) (string, bool) {
	text, ok := decodeXtext(s)
	return text, ok && isPrintable(text)
}

// decodeXtext decodes xtext, RFC 3461 §4: "+" and two upper-case hexadecimal digits stand for an octet.
func decodeXtext(s string) (string, bool) {
	if strings.IndexByte(s, '+') < 0 {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '+' {
			if i+3 > len(s) || !isUpperHex(s[i+1]) || !isUpperHex(s[i+2]) {
				return "", false
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			c = byte(n)
			i += 2
		}
		b = append(b, c)
	}
	return string(b), true
}

// isText tells UTF-8 without controls.
func isText(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0
}

func formatXtext(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '+' || c == '=' {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// parseUTF8Addr decodes the address of ORCPT=utf-8;…, RFC 6533 §3, in each of its forms: "\x{HEX}" stands for a code point.
func parseUTF8Addr(s string) (string, bool) {
	var b strings.Builder
	for s != "" {
		before, after, ok := strings.Cut(s, `\x{`)
		b.WriteString(before)
		if !ok {
			break
		}
		hex, rest, ok := strings.Cut(after, "}")
		n, err := strconv.ParseUint(hex, 16, 32)
		if !ok || err != nil || len(hex) < 2 || len(hex) > 6 || !utf8.ValidRune(rune(n)) || n < ' ' || n == 0x7f {
			return "", false
		}
		b.WriteRune(rune(n))
		s = rest
	}
	text := b.String()
	return text, utf8.ValidString(text)
}

// FormatUTF8 is an address as utf-8-addr-xtext, which may travel without SMTPUTF8: RFC 6533 §3.
func FormatUTF8(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r <= ' ' || r >= 0x7f || r == '+' || r == '=' || r == '\\' {
			fmt.Fprintf(&b, `\x{%02X}`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// isAtom is what an address type may be: RFC 3461 §4.2.
func isAtom(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && strings.IndexByte("!#$%&'*-/?^_`{|}~.", c) < 0 {
			return false
		}
	}
	return true
}

func isUpperHex(c byte) bool { return isDigit(c) || 'A' <= c && c <= 'F' }

func isPrintable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}
