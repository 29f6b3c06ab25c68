package mail

import (
	"errors"
	"strings"
)

// ID names one message in one house, for as long as the house stands: never given twice, greater than every ID before it,
// positive as an int64. Its text is 13 characters of Crockford's base 32.
type ID uint64

const idAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"
const idLength = 13

// ErrID is what ParseID answers to anything but an ID's text.
var ErrID = errors.New("not a message ID")

func (id ID) String() string {
	var b [idLength]byte
	for i := range b {
		b[idLength-1-i] = idAlphabet[id&31]
		id >>= 5
	}
	return string(b[:])
}

// ParseID reads what String writes, in either case.
func ParseID(s string) (ID, error) {
	if len(s) != idLength {
		return 0, ErrID
	}
	var id uint64
	for i := range len(s) {
		v := strings.IndexByte(idAlphabet, lower(s[i]))
		if v < 0 || id>>58 != 0 {
			return 0, ErrID
		}
		id = id<<5 | uint64(v)
	}
	if id == 0 || id>>63 != 0 {
		return 0, ErrID
	}
	return ID(id), nil
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// MarshalText is String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is ParseID.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))
	return err
}
