package mail

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Limits of a path, in octets.
const (
	MaxLocalPart = 64  // RFC 5321 §4.5.3.1.1
	MaxDomain    = 255 // RFC 5321 §4.5.3.1.2
	MaxAddress   = 254 // RFC 5321 §4.5.3.1.3: 256 with the angle brackets
	maxLabel     = 63  // RFC 1035 §2.3.4
)

// ErrAddress is what every refusal of ParseAddress wraps.
var ErrAddress = errors.New("not a mail address")

// Address is a mailbox of RFC 5321 §4.1.2, canonical and comparable: the domain in lower case and as A-labels, the local part
// without needless quotes and in the case it was given (only its host may fold it: §2.4). Only ParseAddress makes one;
// the zero value is the null reverse-path "<>".
type Address struct{ local, domain string }

// ParseAddress reads local-part@domain, without angle brackets or a display name. UTF-8 is taken in both halves (RFC 6531 §3.3);
// a domain in UTF-8 becomes its A-label form. An address literal ("[192.0.2.1]", "[IPv6:2001:db8::1]") is a domain too.
func ParseAddress(s string) (Address, error) {
	local, rest, err := cutLocalPart(s)
	if err != nil {
		return Address{}, err
	}
	domain, err := ParseDomain(rest)
	if err != nil {
		return Address{}, err
	}
	a := Address{local, domain}
	if len(a.String()) > MaxAddress {
		return Address{}, fmt.Errorf("%w: longer than %d octets", ErrAddress, MaxAddress)
	}
	return a, nil
}

// Local is the local part, unquoted.
func (a Address) Local() string { return a.local }

// Domain is the domain, lower case, as A-labels.
func (a Address) Domain() string { return a.domain }

// IsNull tells the null reverse-path.
func (a Address) IsNull() bool { return a == Address{} }

// NeedsUTF8 tells whether the address can only travel with SMTPUTF8 (RFC 6531 §3.4).
func (a Address) NeedsUTF8() bool { return !IsASCII(a.local) }

// FoldLocal is the address with its local part in lower case, as a host that ignores case compares its own addresses.
func (a Address) FoldLocal() Address { return Address{strings.ToLower(a.local), a.domain} }

// WithLocal is the same domain with another local part (without a plus-tag, say).
func (a Address) WithLocal(local string) Address { return Address{local, a.domain} }

// String is the form that goes on the wire between the angle brackets: quoted where it must be, empty for the null address.
func (a Address) String() string {
	if a.IsNull() {
		return ""
	}
	if isDotString(a.local) {
		return a.local + "@" + a.domain
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(a.local) {
		if c := a.local[i]; c == '"' || c == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(a.local[i])
	}
	return b.String() + `"@` + a.domain
}

// MarshalText is String.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText is ParseAddress; empty text is the null address.
func (a *Address) UnmarshalText(text []byte) (err error) {
	*a = Address{}
	if len(text) > 0 {
		*a, err = ParseAddress(string(text))
	}
	return err
}

// ParseDomain is the canonical form of a domain: lower case, A-labels, no final dot; or of an address literal (RFC 5321 §4.1.3).
// Underscores are taken, since names with them exist.
func ParseDomain(s string) (string, error) {
	if strings.HasPrefix(s, "[") {
		return parseLiteral(s)
	}
	if !IsASCII(s) {
		if !utf8.ValidString(s) {
			return "", fmt.Errorf("%w: the domain is not UTF-8", ErrAddress)
		}
		a, err := idna.Lookup.ToASCII(s)
		if err != nil {
			return "", fmt.Errorf("%w: the domain %q is not a valid internationalized name", ErrAddress, s)
		}
		s = a
	}
	s = strings.ToLower(s)
	if s == "" || len(s) > MaxDomain {
		return "", fmt.Errorf("%w: the domain is empty or longer than %d octets", ErrAddress, MaxDomain)
	}
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(label) {
			return "", fmt.Errorf("%w: the domain %q has a bad label", ErrAddress, s)
		}
	}
	return s, nil
}

func isLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

func parseLiteral(s string) (string, error) {
	inner, ok := strings.CutSuffix(s[1:], "]")
	if !ok {
		return "", fmt.Errorf("%w: the address literal does not end", ErrAddress)
	}
	if v6, ok := cutPrefixFold(inner, "IPv6:"); ok {
		if ip, err := netip.ParseAddr(v6); err == nil && ip.Is6() && ip.Zone() == "" {
			return "[IPv6:" + ip.String() + "]", nil
		}
	} else if ip, err := netip.ParseAddr(inner); err == nil && ip.Is4() {
		return "[" + ip.String() + "]", nil
	}
	return "", fmt.Errorf("%w: %q is not an address literal", ErrAddress, s)
}

// cutLocalPart splits at the "@" that ends the local part, and unquotes it.
func cutLocalPart(s string) (local, rest string, err error) {
	if strings.HasPrefix(s, `"`) {
		local, rest, err = cutQuoted(s[1:])
	} else if at := strings.IndexByte(s, '@'); at >= 0 {
		local, rest = s[:at], s[at:]
		if !isDotString(local) {
			err = fmt.Errorf("%w: the local part %q is neither a dot-string nor quoted", ErrAddress, local)
		}
	} else {
		err = fmt.Errorf("%w: no \"@\" in %q", ErrAddress, s)
	}
	if err != nil {
		return "", "", err
	}
	if len(local) > MaxLocalPart {
		return "", "", fmt.Errorf("%w: the local part is longer than %d octets", ErrAddress, MaxLocalPart)
	}
	if rest, ok := strings.CutPrefix(rest, "@"); ok {
		return local, rest, nil
	}
	return "", "", fmt.Errorf("%w: no \"@\" after the quoted local part", ErrAddress)
}

// cutQuoted reads the rest of a Quoted-string (RFC 5321 §4.1.2): qtextSMTP and quoted pairs of printable ASCII or space, or UTF-8.
func cutQuoted(s string) (local, rest string, err error) {
	if !utf8.ValidString(s) {
		return "", "", fmt.Errorf("%w: the local part is not UTF-8", ErrAddress)
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '"' {
			return b.String(), s[i+1:], nil
		}
		if c == '\\' {
			if i++; i == len(s) {
				break
			}
			c = s[i]
		}
		if c < ' ' || c == 0x7f {
			return "", "", fmt.Errorf("%w: a control character in the local part", ErrAddress)
		}
		b.WriteByte(c)
	}
	return "", "", fmt.Errorf("%w: the quoted local part does not end", ErrAddress)
}

// isDotString is RFC 5321 §4.1.2 Dot-string with the UTF-8 of RFC 6531 §3.3.
func isDotString(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return false
		}
		for i := range len(atom) {
			if c := atom[i]; c < 0x80 && !isAlnum(c) && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) < 0 {
				return false
			}
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// IsASCII tells whether there is no octet above 127, eight at a time: every octet of every message passes here.
func IsASCII[T string | []byte](s T) bool {
	for ; len(s) >= 8; s = s[8:] {
		if s[0]|s[1]|s[2]|s[3]|s[4]|s[5]|s[6]|s[7] >= 0x80 {
			return false
		}
	}
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}
