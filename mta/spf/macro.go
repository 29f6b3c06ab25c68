package spf

import (
	"context"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxName is the longest expanded domain: RFC 7208 §7.3.
const maxName = 253

// expansion says for what a macro string is expanded.
type expansion struct {
	domain  string // the current one
	explain bool   // in an explanation, which may use c, r and t and is no name
}

// macro is one "%{…}".
type macro struct {
	letter     byte // lower case
	escape     bool // upper case: URL-escaped
	digits     int  // 0: all
	reverse    bool
	delimiters string
}

const delimiterChars = ".-+,/_="

// cutMacro reads a macro-expand (§7.1) at the start of s, which begins with "%". literal is what "%%", "%_" and "%-" stand for.
func cutMacro(s string) (m macro, literal, rest string, ok bool) {
	if len(s) < 2 {
		return macro{}, "", "", false
	}
	switch s[1] {
	case '%':
		return macro{}, "%", s[2:], true
	case '_':
		return macro{}, " ", s[2:], true
	case '-':
		return macro{}, "%20", s[2:], true
	case '{':
	default:
		return macro{}, "", "", false
	}
	body, rest, ok := strings.Cut(s[2:], "}")
	if !ok || body == "" {
		return macro{}, "", "", false
	}
	m.letter, m.escape = body[0]|0x20, body[0] < 'a'
	if !isLetter(body[0]) || strings.IndexByte("slodiphcrtv", m.letter) < 0 {
		return macro{}, "", "", false
	}
	body = body[1:]
	n := 0
	for n < len(body) && isDigit(body[n]) {
		n++
	}
	if n > 0 {
		digits, err := strconv.Atoi(body[:n])
		if err != nil || digits == 0 {
			return macro{}, "", "", false
		}
		m.digits, body = digits, body[n:]
	}
	if body != "" && body[0]|0x20 == 'r' {
		m.reverse, body = true, body[1:]
	}
	if strings.Trim(body, delimiterChars) != "" {
		return macro{}, "", "", false
	}
	m.delimiters = body
	return m, "", rest, true
}

// checkMacros tells whether s is a macro-string.
func checkMacros(s string) bool {
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			return true
		}
		var ok bool
		if _, _, s, ok = cutMacro(s[i:]); !ok {
			return false
		}
	}
}

// checkDomainSpec tells whether s is a domain-spec: a macro-string that uses no letter of explanations and ends in a macro or in
// "." and a top label.
func checkDomainSpec(s string) bool {
	if s == "" || !checkMacros(s) {
		return false
	}
	end := 0 // of the last macro
	for i := strings.IndexByte(s, '%'); i >= 0; {
		m, _, rest, _ := cutMacro(s[i:])
		if m.letter != 0 && strings.IndexByte("crt", m.letter) >= 0 {
			return false
		}
		end = len(s) - len(rest)
		next := strings.IndexByte(rest, '%')
		if next < 0 {
			break
		}
		i = end + next
	}
	if end == len(s) {
		return s[end-1] == '}' || end == 0
	}
	return endsInTopLabel(s[max(0, end-1):])
}

// endsInTopLabel tells whether s ends in "." toplabel [ "." ]: letters, digits and inner hyphens, not digits alone.
func endsInTopLabel(s string) bool {
	s = strings.TrimSuffix(s, ".")
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return false
	}
	top := s[i+1:]
	if top == "" || top[0] == '-' || top[len(top)-1] == '-' {
		return false
	}
	digits := true
	for i := range len(top) {
		c := top[i]
		if !isLetter(c) && !isDigit(c) && c != '-' {
			return false
		}
		digits = digits && isDigit(c)
	}
	return !digits
}

// expand expands a macro-string: §7. What was parsed is well-formed, so only an explanation's text can fail.
func (e *evaluation) expand(ctx context.Context, s string, x expansion) (string, error) {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		m, literal, rest, ok := cutMacro(s[i:])
		if !ok {
			return "", permError("bad macro")
		}
		s = rest
		b.WriteString(literal)
		if literal != "" {
			continue
		}
		value, err := e.value(ctx, m.letter, x)
		if err != nil {
			return "", err
		}
		b.WriteString(m.transform(value))
	}
	if x.explain {
		return b.String(), nil
	}
	return shorten(b.String()), nil
}

// shorten takes labels off the left until the name fits: §7.3.
func shorten(name string) string {
	name = strings.TrimSuffix(name, ".")
	for len(name) > maxName {
		_, rest, ok := strings.Cut(name, ".")
		if !ok {
			break
		}
		name = rest
	}
	return name
}

// value is what a macro letter stands for: §7.2.
func (e *evaluation) value(ctx context.Context, letter byte, x expansion) (string, error) {
	switch letter {
	case 's':
		return e.local + "@" + e.sender, nil
	case 'l':
		return e.local, nil
	case 'o':
		return e.sender, nil
	case 'd':
		return x.domain, nil
	case 'i':
		return dotted(e.ip), nil
	case 'p':
		name, err := e.validated(ctx, x.domain)
		if name == "" {
			name = "unknown"
		}
		return name, err
	case 'v':
		if e.ip.Is4() {
			return "in-addr", nil
		}
		return "ip6", nil
	case 'h':
		return e.helo, nil
	}
	if !x.explain {
		return "", permError("a macro of explanations")
	}
	switch letter {
	case 'c':
		return e.ip.String(), nil
	case 'r':
		if e.receiver == "" {
			return "unknown", nil
		}
		return e.receiver, nil
	default: // t
		return strconv.FormatInt(time.Now().Unix(), 10), nil
	}
}

// dotted is the address as labels: an IPv6 address nibble by nibble.
func dotted(ip netip.Addr) string {
	if ip.Is4() {
		return ip.String()
	}
	var nibbles []string
	for _, b := range ip.As16() {
		nibbles = append(nibbles, fmt.Sprintf("%X", b>>4), fmt.Sprintf("%X", b&15))
	}
	return strings.Join(nibbles, ".")
}

func (m macro) transform(value string) string {
	if m.digits > 0 || m.reverse || m.delimiters != "" {
		delimiters := m.delimiters
		if delimiters == "" {
			delimiters = "."
		}
		parts := splitAny(value, delimiters)
		if m.reverse {
			slices.Reverse(parts)
		}
		if m.digits > 0 && m.digits < len(parts) {
			parts = parts[len(parts)-m.digits:]
		}
		value = strings.Join(parts, ".")
	}
	if m.escape {
		value = strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
	}
	return value
}

// splitAny splits at each of the delimiters, empty parts kept.
func splitAny(s, delimiters string) (parts []string) {
	for {
		i := strings.IndexAny(s, delimiters)
		if i < 0 {
			return append(parts, s)
		}
		parts, s = append(parts, s[:i]), s[i+1:]
	}
}
