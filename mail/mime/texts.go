package mime

import (
	"encoding/binary"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// AppendCollated appends text as Collate gives it.
func AppendCollated(b, text []byte) []byte {
	for len(text) > 0 {
		if c := text[0]; c < utf8.RuneSelf {
			if 'a' <= c && c <= 'z' {
				c -= 'a' - 'A'
			}
			b, text = append(b, c), text[1:]
			continue
		}
		n := 1
		for n < len(text) && text[n] >= utf8.RuneSelf {
			n++
		}
		for _, r := range string(norm.NFKD.Bytes(text[:n])) {
			b = utf8.AppendRune(b, unicode.ToTitle(r))
		}
		text = text[n:]
	}
	return b
}

// textFields are the fields that are searched most.
var textFields = [...]string{"subject", "from", "to", "cc", "bcc"}

// MaxTexts is how much of them is kept, in octets; of a message that has more nothing is.
const MaxTexts = 16 << 10

// Texts are the values of a message's Subject, From, To, Cc and Bcc fields, decoded and collated: what they are searched in.
type Texts struct {
	present byte // bits, by textFields
	text    [len(textFields)]string
}

// textField is the index of a field's name; -1: it is not among them.
func textField(name string) int {
	for i, known := range textFields {
		if strings.EqualFold(name, known) {
			return i
		}
	}
	return -1
}

// HasText tells whether Texts know of a field.
func HasText(name string) bool { return textField(name) >= 0 }

// Contain tells whether a field of the name is there and one of them has the text, which is collated.
func (t *Texts) Contain(name, text string) bool {
	i := textField(name)
	return i >= 0 && t.present&(1<<i) != 0 && strings.Contains(t.text[i], text)
}

// Len is how many octets they have.
func (t *Texts) Len() (n int) {
	for _, text := range t.text {
		n += len(text)
	}
	return n
}

// TextsOf are those of a header; false: they are too long.
func TextsOf(header []byte) (t Texts, ok bool) {
	var all [len(textFields)][]byte
	var decoded []byte
	size := 0
	for f := range Fields(header) {
		i := textField(string(f.Name))
		if i < 0 {
			continue
		}
		if t.present&(1<<i) != 0 {
			all[i] = append(all[i], 0) // in no text that is looked for
		}
		t.present |= 1 << i
		decoded = AppendDecoded(decoded[:0], f.Value)
		before := len(all[i])
		all[i] = AppendCollated(all[i], decoded)
		if size += len(all[i]) - before; size > MaxTexts {
			return Texts{}, false
		}
	}
	for i := range all {
		t.text[i] = string(all[i])
	}
	return t, true
}

const textsVersion = 1

// AppendTexts encodes texts for storage; ParseTexts reads them.
func AppendTexts(b []byte, t *Texts) []byte {
	b = append(b, textsVersion, t.present)
	for i := range t.text {
		b = binary.AppendUvarint(b, uint64(len(t.text[i])))
	}
	for i := range t.text {
		b = append(b, t.text[i]...)
	}
	return b
}

var errTexts = errors.New("mime: not encoded texts")

// ParseTexts reads what AppendTexts wrote.
func ParseTexts(b []byte) (t Texts, err error) {
	if len(b) < 2 || b[0] != textsVersion {
		return t, errTexts
	}
	t.present, b = b[1], b[2:]
	var sizes [len(textFields)]int
	for i := range sizes {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > MaxTexts {
			return t, errTexts
		}
		sizes[i], b = int(v), b[n:]
	}
	text := string(b) // one for all
	for i := range t.text {
		if len(text) < sizes[i] {
			return t, errTexts
		}
		t.text[i], text = text[:sizes[i]], text[sizes[i]:]
	}
	if text != "" {
		return t, errTexts
	}
	return t, nil
}
