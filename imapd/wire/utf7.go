package wire

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrUTF7 is what DecodeUTF7 answers to anything but modified UTF-7.
var ErrUTF7 = errors.New("wire: not modified UTF-7")

var base64UTF7 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding).Strict()

// EncodeUTF7 writes a name, which must be UTF-8, in the modified UTF-7 of RFC 3501 §5.1.3.
func EncodeUTF7(s string) string {
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	for s != "" {
		n := 0
		for n < len(s) && isDirect(s[n]) && s[n] != '&' {
			n++
		}
		b.WriteString(s[:n])
		if s = s[n:]; strings.HasPrefix(s, "&") {
			b.WriteString("&-")
			s = s[1:]
			continue
		}
		for n = 0; n < len(s) && !isDirect(s[n]); n++ {
		}
		if n > 0 {
			b.WriteString("&" + base64UTF7.EncodeToString(bigEndian(s[:n])) + "-")
		}
		s = s[n:]
	}
	return b.String()
}

// DecodeUTF7 reads what EncodeUTF7 writes, and nothing else: one name has one form.
func DecodeUTF7(s string) (string, error) {
	if isPlain(s) {
		return s, nil
	}
	var b strings.Builder
	for s != "" {
		n := strings.IndexByte(s, '&')
		if n < 0 {
			n = len(s)
		}
		for i := range n {
			if !isDirect(s[i]) {
				return "", ErrUTF7
			}
		}
		b.WriteString(s[:n])
		if s = s[n:]; s == "" {
			break
		}
		end := strings.IndexByte(s, '-')
		if end < 0 {
			return "", ErrUTF7
		}
		shifted, ok := decodeShifted(s[1:end])
		if !ok || end > 1 && strings.HasPrefix(s[end+1:], "&") && !strings.HasPrefix(s[end+1:], "&-") {
			return "", ErrUTF7 // The second case is a superfluous shift.
		}
		b.WriteString(shifted)
		s = s[end+1:]
	}
	return b.String(), nil
}

// decodeShifted reads what is between "&" and "-".
func decodeShifted(s string) (string, bool) {
	if s == "" {
		return "&", true
	}
	octets, err := base64UTF7.DecodeString(s)
	if err != nil || len(octets)%2 != 0 || strings.ContainsAny(s, "\r\n") {
		return "", false
	}
	units := make([]uint16, len(octets)/2)
	for i := range units {
		units[i] = uint16(octets[2*i])<<8 | uint16(octets[2*i+1])
	}
	text := string(utf16.Decode(units))
	for _, r := range text {
		if r < utf8.RuneSelf && isDirect(byte(r)) {
			return "", false
		}
	}
	return text, EncodeUTF7(text) == "&"+s+"-" // not so if a surrogate was alone
}

func bigEndian(s string) []byte {
	units := utf16.Encode([]rune(s))
	octets := make([]byte, 0, 2*len(units))
	for _, u := range units {
		octets = append(octets, byte(u>>8), byte(u))
	}
	return octets
}

// isDirect is a character that represents itself.
func isDirect(c byte) bool { return 0x20 <= c && c <= 0x7e }

func isPlain(s string) bool {
	for i := range len(s) {
		if !isDirect(s[i]) || s[i] == '&' {
			return false
		}
	}
	return true
}
