package mime

import (
	"errors"
	"io"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Place says where a text stands.
type Place uint8

// The places.
const (
	InHeader Place = iota // the header of the message or of a part
	InBody                // a text, or the header of a message inside: that is part of a body
)

// Sink takes texts.
type Sink interface {
	// Begin begins a text: no string goes over to it from the one before.
	Begin(Place)
	// Take takes the next piece of it: whole characters, as AppendCollated gives them, valid until it returns. False: no more is wanted.
	Take(piece []byte) bool
}

// Scanner goes over all that is text in messages: the fields of headers, decoded, and the content of text parts, without its transfer
// encoding and in UTF-8. Parts of other types than text and message have none (RFC 9051 §6.4.4 allows it), nor have those of an unknown
// encoding. Memory does not depend on the message's size. The zero value is ready; it is for one goroutine at a time.
type Scanner struct {
	header []byte // as it was read
	line   []byte // a field
	pump   []byte // text on its way
	rest   []byte // its end, which may go on
	folded []byte
}

const pumpSize = 8 << 10

// errEnough ends reading when no more is wanted.
var errEnough = errors.New("mime: enough")

// Scan gives a message's text to the sink.
func (s *Scanner) Scan(m io.ReaderAt, root *Part, to Sink) error {
	err := (&scan{Scanner: s, from: m, to: to}).part(root, InHeader)
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// Header reads a header as far as it is looked at. It is valid until the next call.
func (s *Scanner) Header(m io.ReaderAt, span Span) ([]byte, error) {
	n := min(span.Len, MaxHeader)
	if int64(cap(s.header)) < n {
		s.header = make([]byte, n)
	}
	header := s.header[:n]
	if _, err := m.ReadAt(header, span.Off); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return header, nil
}

// scan is a Scanner at work.
type scan struct {
	*Scanner
	from io.ReaderAt
	to   Sink
}

// part goes over a part, whose header is at that place.
func (s *scan) part(p *Part, place Place) error {
	err := s.fields(p.Header, place)
	switch {
	case err != nil:
	case p.Message != nil:
		err = s.part(p.Message, InBody)
	case p.Type == "text" && len(p.Parts) == 0:
		err = s.text(p)
	}
	for i := 0; i < len(p.Parts) && err == nil; i++ {
		err = s.part(p.Parts[i], InHeader)
	}
	return err
}

// fields goes over a header: "Name: value" and a line end, for each field.
func (s *scan) fields(span Span, place Place) error {
	header, err := s.Header(s.from, span)
	if err != nil {
		return err
	}
	s.begin(place)
	for field := range Fields(header) {
		s.line = append(append(s.line[:0], field.Name...), ": "...)
		s.line = append(AppendDecoded(s.line, field.Value), '\n')
		if _, err := s.Write(s.line); err != nil {
			return err
		}
	}
	return s.end()
}

func (s *scan) text(p *Part) error {
	decoded, err := NewDecoder(io.NewSectionReader(s.from, p.Body.Off, p.Body.Len), p.Encoding)
	if err != nil { // an unknown encoding has no text
		return nil //nolint:nilerr // see above
	}
	if s.pump == nil {
		s.pump = make([]byte, pumpSize)
	}
	s.begin(InBody)
	if _, err := io.CopyBuffer(s, struct{ io.Reader }{NewUTF8Reader(decoded, p.Charset())}, s.pump); err != nil {
		return err
	}
	return s.end()
}

func (s *scan) begin(place Place) {
	s.rest = s.rest[:0]
	s.to.Begin(place)
}

// Write takes more of a text.
func (s *scan) Write(p []byte) (int, error) {
	n := len(p)
	if len(s.rest) > 0 {
		s.rest = append(s.rest, p...)
		p = s.rest
	}
	whole := closed(p)
	err := s.give(p[:whole])
	s.rest = append(s.rest[:0], p[whole:]...)
	return n, err
}

// end gives what was kept back, as it is.
func (s *scan) end() error { return s.give(s.rest) }

func (s *scan) give(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	if s.folded = AppendCollated(s.folded[:0], text); !s.to.Take(s.folded) {
		return errEnough
	}
	return nil
}

// maxOpen is how many octets of text are kept back at most, since what follows may change how they are collated: letters have few marks.
const maxOpen = 256

// closed is the length of p without the end that what follows may change: the beginning of a character, or one that marks may follow.
func closed(p []byte) int {
	if len(p) == 0 || p[len(p)-1] < utf8.RuneSelf {
		return len(p) // AppendCollated begins anew after it
	}
	if n := max(norm.NFKD.LastBoundary(p), 0); len(p)-n <= maxOpen {
		return n
	}
	return WholeRunes(p)
}

// WholeRunes is the length of p without the beginning of a character at its end.
func WholeRunes(p []byte) int {
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
