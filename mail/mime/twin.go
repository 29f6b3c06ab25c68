package mime

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"strings"
)

// maxTwinHeader is how much of a header is held to find its Message-ID; a message with a longer one has no twin.
const maxTwinHeader = 256 << 10

// Twin finds what a message has in common with itself after a journey: its Message-ID, and its body but for the form of line ends and
// the empty lines at its end. Header fields come and go on the way. The message is written to it, in pieces of any size.
type Twin struct {
	header []byte
	line   int // where its last line begins
	id     string
	body   hash.Hash // nil: still in the header
	ends   int       // line ends not yet hashed, since they may be the last
}

// NewTwin begins a message.
func NewTwin() *Twin { return &Twin{} }

// Write is io.Writer; it has no errors.
func (t *Twin) Write(p []byte) (int, error) {
	n := len(p)
	if t.body == nil {
		t.header = append(t.header, p...)
		end := t.headerEnd()
		switch {
		case end >= 0 && end <= maxTwinHeader:
			p = t.begin(end)
		case end < 0 && len(t.header) <= maxTwinHeader:
			return n, nil
		default: // without an ID: what comes need not be held
			t.body, t.header = sha256.New(), nil
		}
	}
	t.hash(p)
	return n, nil
}

// hash takes a piece of the body.
func (t *Twin) hash(p []byte) {
	for len(p) > 0 {
		i := bytes.IndexAny(p, "\r\n")
		if i < 0 {
			i = len(p)
		}
		if i > 0 {
			for ; t.ends > 0; t.ends-- {
				t.body.Write([]byte{'\n'})
			}
			t.body.Write(p[:i])
		}
		if i < len(p) && p[i] == '\n' {
			t.ends++
		}
		p = p[min(i+1, len(p)):]
	}
}

// begin reads the header, and returns what came of the body.
func (t *Twin) begin(end int) []byte {
	for f := range Fields(t.header[:end]) {
		if strings.EqualFold(string(f.Name), "Message-ID") && t.id == "" {
			t.id = string(bytes.TrimSpace(f.Value))
		}
	}
	rest := t.header[end:]
	t.body, t.header = sha256.New(), nil
	return rest
}

// headerEnd is the index after the empty line that ends the header; -1 if it has not come.
func (t *Twin) headerEnd() int {
	for {
		i := bytes.IndexByte(t.header[t.line:], '\n')
		if i < 0 {
			return -1
		}
		if isBlank(t.header[t.line:]) {
			return t.line + i + 1
		}
		t.line += i + 1
	}
}

// String is equal for two forms of one message, and empty for a message without a Message-ID.
func (t *Twin) String() string {
	if t.body == nil && len(t.header) > 0 { // it is all header
		t.begin(len(t.header))
	}
	if t.id == "" {
		return ""
	}
	return t.id + " " + base64.RawStdEncoding.EncodeToString(t.body.Sum(nil))
}
