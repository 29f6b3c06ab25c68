package mime

import (
	"bytes"
	"encoding/base64"
	"io"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/transform"
)

// NewUTF8Reader reads text in a charset as UTF-8. What cannot be decoded becomes U+FFFD; text in an unknown charset, in US-ASCII
// and in UTF-8 is read as it is.
func NewUTF8Reader(r io.Reader, charset string) io.Reader {
	if e := findCharset(charset); e != nil {
		return transform.NewReader(r, e.NewDecoder())
	}
	return r
}

// isPlain tells whether text in the charset is kept as it is.
func isPlain(charset string) bool {
	return charset == "" || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "us-ascii")
}

// findCharset is nil for a charset that is plain or unknown.
func findCharset(charset string) encoding.Encoding {
	if isPlain(charset) {
		return nil
	}
	e, err := htmlindex.Get(charset)
	if err != nil {
		return nil
	}
	return e
}

// appendUTF8 appends text of the charset as UTF-8; false: the charset is unknown.
func appendUTF8(b []byte, charset string, text []byte) ([]byte, bool) {
	if isPlain(charset) {
		return append(b, text...), true
	}
	e := findCharset(charset)
	if e == nil {
		return b, false
	}
	decoded, err := e.NewDecoder().Bytes(text)
	return append(b, decoded...), err == nil
}

// AppendDecoded appends a field's value unfolded and with its encoded words (RFC 2047) decoded, in UTF-8: what a person would see
// and search for. Words that cannot be decoded stay as they are.
func AppendDecoded(b, value []byte) []byte {
	value = AppendUnfolded(nil, value)
	for len(value) > 0 {
		i := bytes.Index(value, []byte("=?"))
		if i < 0 {
			break
		}
		b = append(b, value[:i]...)
		value = value[i:]
		words, rest := cutWords(value)
		decoded, ok := b, false
		if words.text != nil {
			decoded, ok = appendUTF8(b, words.charset, words.text)
		} else {
			rest = value[2:]
		}
		if !ok { // All of them, or each would be tried again with those after it.
			b, value = append(b, value[:len(value)-len(rest)]...), rest
			continue
		}
		b, value = decoded, rest
		if next := bytes.TrimLeft(value, " "); isEncodedWord(next) {
			value = next // RFC 2047 §6.2: space between encoded words is not shown
		}
	}
	return append(b, value...)
}

func isEncodedWord(v []byte) bool {
	w, _ := cutEncodedWord(v)
	return w.text != nil
}

// encodedWord is one of RFC 2047 §2, or several of one charset joined, since senders cut characters in two.
type encodedWord struct {
	charset string
	text    []byte // nil: it is none
}

func cutWords(v []byte) (encodedWord, []byte) {
	words, rest := cutEncodedWord(v)
	for words.text != nil {
		next, after := cutEncodedWord(bytes.TrimLeft(rest, " "))
		if next.text == nil || !strings.EqualFold(next.charset, words.charset) {
			break
		}
		words.text = append(words.text, next.text...)
		rest = after
	}
	return words, rest
}

// cutEncodedWord cuts the encoded word v begins with: "=?" charset ["*" language] "?" encoding "?" text "?=".
func cutEncodedWord(v []byte) (encodedWord, []byte) {
	inner, ok := bytes.CutPrefix(v, []byte("=?"))
	if !ok {
		return encodedWord{}, v
	}
	charset, inner, ok := cutMark(inner)
	if !ok || len(charset) == 0 {
		return encodedWord{}, v
	}
	kind, inner, ok := cutMark(inner)
	if !ok || len(kind) != 1 {
		return encodedWord{}, v
	}
	end := bytes.Index(inner[:min(len(inner), MaxParam)], []byte("?="))
	if end < 0 {
		return encodedWord{}, v
	}
	charset, _, _ = bytes.Cut(charset, []byte{'*'}) // RFC 2231 §5
	return encodedWord{string(charset), decodeWord(kind[0], inner[:end])}, inner[end+2:]
}

// cutMark cuts at the "?" that must come soon.
func cutMark(v []byte) (before, after []byte, ok bool) {
	i := bytes.IndexAny(v[:min(len(v), MaxBoundary)], "? ")
	if i < 0 || v[i] == ' ' {
		return nil, v, false
	}
	return v[:i], v[i+1:], true
}

func decodeWord(kind byte, text []byte) []byte {
	switch kind {
	case 'B', 'b':
		out := make([]byte, base64.RawStdEncoding.DecodedLen(len(text)))
		n, err := base64.RawStdEncoding.Decode(out, bytes.TrimRight(text, "="))
		if err != nil && n == 0 {
			return nil
		}
		return out[:n]
	case 'Q', 'q':
		return appendQ([]byte{}, text)
	}
	return nil
}

// appendQ decodes the "Q" encoding of RFC 2047 §4.2.
func appendQ(b, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '_':
			b = append(b, ' ')
		case c == '=' && i+2 < len(text) && unhex(text[i+1]) >= 0 && unhex(text[i+2]) >= 0:
			b = append(b, byte(unhex(text[i+1])<<4|unhex(text[i+2])))
			i += 2
		default:
			b = append(b, c)
		}
	}
	return b
}
