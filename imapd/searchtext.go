package imapd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"unicode/utf8"

	"posthouse/mail/mime"
	"posthouse/mailbox"
)

// needle is a string that is looked for in a message's text.
type needle struct {
	text     []byte // folded
	inHeader bool   // also in the header of the message and of its parts
}

// fold appends text as i;unicode-casemap compares it (RFC 5051).
func fold(b, text []byte) []byte { return mime.AppendCollated(b, text) }

// scanner looks for needles in messages, in a window of their text: memory does not depend on their size.
type scanner struct {
	needles []needle
	found   []bool
	overlap int    // octets of the window that the next one keeps
	rest    []byte // the beginning of a character that is not there yet
	window  []byte // folded
	header  bool   // it is a header that is read
	buffer  []byte // a header
	pump    []byte // text on its way
	regions []region
}

const pumpSize = 8 << 10

func newScanner(needles []needle) *scanner {
	s := &scanner{needles: needles, found: make([]bool, len(needles)), pump: make([]byte, pumpSize)}
	for _, n := range needles {
		s.overlap = max(s.overlap, len(n.text)-1)
	}
	return s
}

// region is a piece of a message that has text.
type region struct {
	span     mime.Span
	header   bool // the header of the message or of a part
	inside   bool // the header of a message inside: it is part of the body
	encoding string
	charset  string
}

// read looks into a message for all that can be asked of it. One that is gone stays unknown, and so does not match.
func (s *scanner) read(ctx context.Context, account mailbox.Account, k known) (candidate, error) {
	c := candidate{pos: k.pos, message: k.message}
	content, err := account.Open(ctx, k.Blob)
	if errors.Is(err, mailbox.ErrNoBlob) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	defer content.Close() //nolint:errcheck // it was only read
	header, err := s.readHeader(content, k.Parts.Header)
	if err != nil {
		return c, err
	}
	c.header = append([]byte{}, header...)
	clear(s.found)
	c.found = s.found
	s.regions = s.regions[:0]
	s.addRegions(k.Parts, false)
	return c, s.scan(content)
}

// addRegions adds what has text in a part: parts of other types than text and message are left out, as RFC 9051 §6.4.4 allows.
func (s *scanner) addRegions(p *mime.Part, inside bool) {
	s.regions = append(s.regions, region{span: p.Header, header: true, inside: inside})
	switch {
	case p.Message != nil:
		s.addRegions(p.Message, true)
	case p.Type == "text" && len(p.Parts) == 0:
		s.regions = append(s.regions, region{span: p.Body, encoding: p.Encoding, charset: p.Charset()})
	}
	for _, part := range p.Parts {
		s.addRegions(part, false)
	}
}

// errFound ends reading when there is nothing left to look for.
var errFound = errors.New("imapd: all found")

func (s *scanner) scan(m io.ReaderAt) error {
	for _, r := range s.regions {
		var err error
		if r.header {
			err = s.scanHeader(m, r)
		} else {
			err = s.scanText(m, r)
		}
		if errors.Is(err, errFound) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) readHeader(m io.ReaderAt, span mime.Span) ([]byte, error) {
	n := min(span.Len, mime.MaxHeader)
	if int64(cap(s.buffer)) < n {
		s.buffer = make([]byte, n)
	}
	header := s.buffer[:n]
	if _, err := m.ReadAt(header, span.Off); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return header, nil
}

func (s *scanner) scanHeader(m io.ReaderAt, r region) error {
	header, err := s.readHeader(m, r.span)
	if err != nil {
		return err
	}
	s.begin(!r.inside)
	var line []byte
	for field := range mime.Fields(header) {
		line = append(append(line[:0], field.Name...), ": "...)
		line = append(mime.AppendDecoded(line, field.Value), '\n')
		if _, err := s.Write(line); err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) scanText(m io.ReaderAt, r region) error {
	decoded, err := mime.NewDecoder(io.NewSectionReader(m, r.span.Off, r.span.Len), r.encoding)
	if err != nil { // An unknown encoding has no text.
		return nil //nolint:nilerr // see above
	}
	s.begin(false)
	_, err = io.CopyBuffer(s, struct{ io.Reader }{mime.NewUTF8Reader(decoded, r.charset)}, s.pump)
	return err
}

// begin begins a text; what is found ends with it.
func (s *scanner) begin(header bool) {
	s.header, s.rest, s.window = header, s.rest[:0], s.window[:0]
}

// Write looks at more of the text.
func (s *scanner) Write(p []byte) (int, error) {
	n := len(p)
	if len(s.rest) > 0 {
		s.rest = append(s.rest, p...)
		p = s.rest
	}
	whole := wholeRunes(p)
	s.window = fold(s.window, p[:whole])
	s.rest = append(s.rest[:0], p[whole:]...)
	left := false
	for i, needle := range s.needles {
		if !s.found[i] && (needle.inHeader || !s.header) {
			s.found[i] = bytes.Contains(s.window, needle.text)
		}
		left = left || !s.found[i]
	}
	if keep := len(s.window) - s.overlap; keep > 0 {
		s.window = append(s.window[:0], s.window[keep:]...)
	}
	if !left {
		return n, errFound
	}
	return n, nil
}

// wholeRunes is the length of p without the beginning of a character at its end.
func wholeRunes(p []byte) int {
	for i := 1; i <= min(utf8.UTFMax-1, len(p)); i++ {
		if c := p[len(p)-i]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(p[len(p)-i:]) {
				return len(p) - i
			}
			break
		}
	}
	return len(p)
}
