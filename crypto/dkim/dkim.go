// Package dkim verifies and makes DKIM signatures: RFC 6376, RFC 8301 (key sizes, no SHA-1), RFC 8463 (Ed25519), RFC 8616 (EAI).
//
// It must not know sessions, queues or policy: a message comes as octets, keys by a lookup function, results go out as values.
//
// The flow of Verify: readHeader → parseSignature for each DKIM-Signature → hashBodies, one pass for all of them → lookupKey →
// canonical header → check. Work is linear in the message, whatever is in it, and bounded in signatures and lookups.
package dkim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Limits of verifying.
const (
	MaxHeader     = 1 << 20 // octets; a longer header has no signature we look at
	MaxSignatures = 8       // verified per message; later ones are left out (RFC 6376 §6.1 allows)
	MinRSABits    = 1024    // RFC 8301 §3.2
	MaxRSABits    = 8192    // what one message may cost us
)

// Result is a result word of RFC 8601 §2.7.1.
type Result string

// The results.
const (
	None      Result = "none"
	Pass      Result = "pass"
	Fail      Result = "fail"
	Policy    Result = "policy" // it verifies, but we do not take it
	Neutral   Result = "neutral"
	TempError Result = "temperror"
	PermError Result = "permerror"
)

// Signature is what came of one DKIM-Signature field.
type Signature struct {
	Result    Result
	Domain    string // d=, lower case A-labels
	Selector  string // s=
	Algorithm string // a=
	B         string // the first characters of b=, enough to tell signatures apart: RFC 6008
	Reason    string // why it is not Pass
}

// TXT looks up the TXT records of a name; its errors are those of a dns.Resolver.
type TXT func(ctx context.Context, name string) ([]string, error)

var errNoHeader = errors.New("dkim: the header is too long")

// field is one header field as it stands in the message, with its final CRLF.
type field struct {
	name string // lower case
	raw  []byte
}

// readHeader reads the header and tells where the body begins.
func readHeader(content io.ReaderAt, size int64) (fields []field, body int64, err error) {
	buf := make([]byte, 0, min(size, 8<<10))
	for {
		if end := headerEnd(buf); end >= 0 {
			return splitFields(buf[:end]), min(int64(end)+2, size), nil
		}
		if int64(len(buf)) == size {
			return splitFields(buf), size, nil // all header, no body
		}
		if len(buf) >= MaxHeader {
			return nil, 0, errNoHeader
		}
		n := len(buf)
		buf = append(buf, make([]byte, min(size-int64(n), max(int64(n), 8<<10)))...)
		if _, err := content.ReadAt(buf[n:], int64(n)); err != nil && !errors.Is(err, io.EOF) {
			return nil, 0, fmt.Errorf("dkim: reading the message: %w", err)
		}
	}
}

// headerEnd is the length of the header without its empty line, -1 if that is not in buf.
func headerEnd(buf []byte) int {
	if bytes.HasPrefix(buf, []byte("\r\n")) {
		return 0
	}
	if i := bytes.Index(buf, []byte("\r\n\r\n")); i >= 0 {
		return i + 2
	}
	return -1
}

func splitFields(header []byte) (fields []field) {
	for len(header) > 0 {
		end := fieldEnd(header)
		raw := header[:end]
		header = header[end:]
		name, _, ok := bytes.Cut(raw, []byte(":"))
		if !ok {
			name = nil // a line that is no field still takes its place
		}
		fields = append(fields, field{strings.ToLower(string(bytes.TrimRight(name, " \t"))), raw})
	}
	return fields
}

// fieldEnd is the length of the first field, its folded lines included.
func fieldEnd(b []byte) int {
	for at := 0; ; {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			return len(b)
		}
		at += i + 1
		if at == len(b) || b[at] != ' ' && b[at] != '\t' {
			return at
		}
	}
}
