package mta

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"posthouse/mail"
	"posthouse/mail/mime"
	"posthouse/mail/smtp"
)

// Errors of a header.
var (
	errHeaderLong = errors.New("mta: the header is too long")
	errHeaderForm = errors.New("mta: the header begins with a folded line")
	errHops       = errors.New("mta: too many hops")
)

// headerFilter stands between message data and its draft. It holds the header back until it is whole, has it edited, and passes on what
// follows as it comes.
type headerFilter struct {
	w     io.Writer
	limit int
	// edit gives the header to be written in the place of this one; nil: this one. It ends with the empty line if there is one.
	edit func(header []byte) ([]byte, error)
	held []byte
	done bool
}

var emptyLine = []byte("\r\n\r\n")

// Write is io.Writer. p is canonical: lines end in CRLF.
func (f *headerFilter) Write(p []byte) (int, error) {
	if f.done {
		return f.w.Write(p)
	}
	header, from := p, 0
	if len(f.held) > 0 {
		from = max(0, len(f.held)-len(emptyLine)+1)
		f.held = append(f.held, p...)
		header = f.held
	}
	end := headerEnd(header, from)
	if end > f.limit || end < 0 && len(header) > f.limit {
		return 0, errHeaderLong
	}
	if end < 0 {
		if len(f.held) == 0 {
			f.held = append(f.held, p...)
		}
		return len(p), nil
	}
	return len(p), f.pass(header, end)
}

// Close ends the message: one without an empty line is all header.
func (f *headerFilter) Close() error {
	if f.done {
		return nil
	}
	return f.pass(f.held, len(f.held))
}

// pass writes the header, edited, and what stands after it.
func (f *headerFilter) pass(data []byte, end int) error {
	f.done, f.held = true, nil
	edited, err := f.edit(data[:end])
	if err != nil {
		return err
	}
	if edited != nil {
		if _, err := f.w.Write(edited); err != nil {
			return err
		}
		data = data[end:]
	}
	_, err = f.w.Write(data)
	return err
}

// headerEnd is the index after the empty line; -1 if there is none from that index on.
func headerEnd(b []byte, from int) int {
	if bytes.HasPrefix(b, emptyLine[:2]) {
		return 2
	}
	if i := bytes.Index(b[from:], emptyLine); i >= 0 {
		return from + i + len(emptyLine)
	}
	return -1
}

// editHeader reads the header once: for the stages, for hops, and for fields that must not pass.
func (s *session) editHeader(d *incoming, header []byte) ([]byte, error) {
	if len(header) > 0 && (header[0] == ' ' || header[0] == '\t') { // it would become part of our trace field
		return nil, errHeaderForm
	}
	if d.draft.Envelope().Body == mail.BodyBinaryMIME && len(header) > 0 && !isCanonical(header) { // nobody else has looked
		return nil, smtp.ErrBareLine
	}
	var kept []byte // once a field was dropped: what stands before here
	dropped, at := false, 0
	for f := range mime.Fields(header) {
		d.header.Note(f)
		noteTLSRequired(d.draft.Envelope(), f)
		drop := s.drops(d, f)
		if drop && !dropped {
			kept = append(make([]byte, 0, len(header)), header[:at]...)
		}
		at += len(f.Raw)
		if dropped = dropped || drop; dropped && !drop {
			kept = append(kept, f.Raw...)
		}
	}
	if d.header.Received > s.server.opts.Limits.Hops {
		return nil, errHops
	}
	added := s.missingFields(d)
	if !dropped && added == nil {
		return nil, nil
	}
	if !dropped {
		kept = header[:at]
	}
	return bytes.Join([][]byte{added, kept, header[at:]}, nil), nil
}

// drops tells a field that does not pass: results in our name that we did not write (RFC 8601 §5), and what our users keep to themselves.
func (s *session) drops(d *incoming, f mime.Field) bool {
	if strings.EqualFold(string(f.Name), "Authentication-Results") {
		return claims(f.Value, s.server.opts.Hostname)
	}
	return s.server.traits.submission && d.submitted.take(f)
}

// missingFields are what every message must or should have (RFC 5322 §3.6) and our user's does not: RFC 6409 §8.
func (s *session) missingFields(d *incoming) []byte {
	if !s.server.traits.submission {
		return nil
	}
	var b []byte
	if !d.header.HasDate {
		b = append(b, "Date: "...)
		b = d.draft.Envelope().Received.AppendFormat(b, dateFormat)
		b = append(b, "\r\n"...)
	}
	if d.header.MessageID == "" {
		d.header.MessageID = fmt.Sprintf("%s@%s", d.draft.Envelope().ID, s.server.opts.Hostname)
		b = append(b, "Message-ID: <"+d.header.MessageID+">\r\n"...)
	}
	return b
}

// dateFormat is date-time of RFC 5322 §3.3.
const dateFormat = time.RFC1123Z

// isCanonical tells whether every line ends in CRLF, and no CR or LF stands elsewhere.
func isCanonical(b []byte) bool {
	n := bytes.Count(b, []byte("\r\n"))
	return bytes.Count(b, []byte("\r")) == n && bytes.Count(b, []byte("\n")) == n && bytes.IndexByte(b, 0) < 0 && bytes.HasSuffix(b, []byte("\r\n"))
}

// claims tells whether an Authentication-Results field says that the host wrote it: RFC 8601 §2.2. One whose author cannot be read
// could be anybody's, and claims as well.
func claims(value []byte, hostname string) bool {
	rest := skipComments(value)
	var id []byte
	if len(rest) > 0 && rest[0] == '"' {
		end := bytes.IndexByte(rest[1:], '"')
		if end < 0 || bytes.IndexByte(rest[1:1+end], '\\') >= 0 {
			return true
		}
		id = rest[1 : 1+end]
	} else {
		end := bytes.IndexAny(rest, " \t\r\n;(")
		if end < 0 {
			end = len(rest)
		}
		id = rest[:end]
	}
	return len(id) == 0 || strings.EqualFold(strings.TrimSuffix(string(id), "."), hostname)
}

// skipComments skips white space and comments (CFWS, RFC 5322 §3.2.2); of a comment without end it leaves nothing.
func skipComments(b []byte) []byte {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '\\' && depth > 0:
			i++
		case depth == 0 && strings.IndexByte(" \t\r\n", c) < 0:
			return b[i:]
		}
	}
	return nil
}
