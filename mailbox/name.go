package mailbox

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// CanonicalName is the one form of a box name that is stored: NFC (RFC 9051 §5.1), Inbox in upper case also as the first level, no
// separator at the end. ErrBoxName: it is no name.
func CanonicalName(name string) (string, error) {
	name = strings.TrimSuffix(name, Separator)
	if len(name) > MaxBoxName || !utf8.ValidString(name) {
		return "", ErrBoxName
	}
	name = norm.NFC.String(name)
	if len(name) > MaxBoxName || strings.Count(name, Separator) >= MaxBoxDepth {
		return "", ErrBoxName
	}
	for level := range strings.SplitSeq(name, Separator) {
		if level == "" || strings.ContainsFunc(level, isUnfit) {
			return "", ErrBoxName
		}
	}
	if first, rest, nested := strings.Cut(name, Separator); strings.EqualFold(first, Inbox) {
		name = Inbox
		if nested {
			name += Separator + rest
		}
	}
	return name, nil
}

// isUnfit is what RFC 9051 §5.1 forbids or warns of: controls, and the separators of lines and paragraphs.
func isUnfit(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
}

// isBelow tells whether name is in the hierarchy below the other.
func isBelow(name, above string) bool {
	return len(name) > len(above) && strings.HasPrefix(name, above) && name[len(above):len(above)+1] == Separator
}

// levelsAbove are the names of the levels above name, outermost first.
func levelsAbove(name string) (above []string) {
	for i := range len(name) {
		if name[i:i+1] == Separator {
			above = append(above, name[:i])
		}
	}
	return above
}

// compareNames orders Inbox first, then by octets.
func compareNames(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == Inbox:
		return -1
	case b == Inbox:
		return 1
	}
	return strings.Compare(a, b)
}
