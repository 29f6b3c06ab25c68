package imapd

import (
	"bytes"
	"context"
	"errors"
	"io"

	"posthouse/imapd/wire"
	"posthouse/internal/link"
	"posthouse/mail/mime"
	"posthouse/mailbox"
)

// section is a section of a message: RFC 9051 §6.4.5.1. The zero value is the whole message.
type section struct {
	path   []int
	text   string   // "", HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT or MIME
	fields [][]byte // of HEADER.FIELDS and HEADER.FIELDS.NOT
}

// partial is a range of octets asked for: RFC 9051 §9 partial.
type partial struct {
	asked        bool
	first, count int64
}

// section decodes one after its "[", with its "]".
func (p *parser) section(s *section) bool {
	if !p.At(']') && !p.partNumbers(&s.path) {
		return false
	}
	if !p.At(']') && !p.sectionText(s) {
		return false
	}
	return p.Special(']')
}

// partNumbers decodes the numbers a section begins with, and the period before what follows them.
func (p *parser) partNumbers(path *[]int) bool {
	for p.AtDigit() {
		var n uint32
		if !p.NZNumber(&n) {
			return false
		}
		if len(*path) >= maxSectionDepth {
			return p.Refuse(errTooMany)
		}
		*path = append(*path, int(n))
		if p.At(']') {
			return true
		}
		if !p.Special('.') {
			return false
		}
	}
	return len(*path) == 0 || !p.At(']') || p.Refuse(errItem)
}

func (p *parser) sectionText(s *section) bool {
	if !p.Label(&s.text) {
		return false
	}
	switch s.text {
	case "HEADER", "TEXT":
		return true
	case "MIME":
		return len(s.path) > 0 || p.Refuse(errItem)
	case "HEADER.FIELDS", "HEADER.FIELDS.NOT":
		return p.SP() && p.List1(func() bool { return p.fieldName(s) })
	}
	return p.Refuse(errItem)
}

// fieldName decodes a field name of RFC 5322 §2.2; nothing else is sent back to the client.
func (p *parser) fieldName(s *section) bool {
	var name string
	if !p.AString(&name) {
		return false
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c >= 0x7f || c == ':' {
			return p.Refuse(errItem)
		}
	}
	if name == "" || len(s.fields) >= maxFieldNames {
		return p.Refuse(errTooMany)
	}
	s.fields = append(s.fields, []byte(name))
	return true
}

// partial decodes "<first.count>", if it is there.
func (p *parser) partial(r *partial) bool {
	if !p.At('<') {
		return true
	}
	r.asked = true
	return p.Special('<') && p.Number64(&r.first) && p.Special('.') && p.Number64(&r.count) && p.Special('>') &&
		(r.count > 0 || p.Refuse(errItem))
}

// append writes the section as the client named it.
func (s *section) append(b []byte) []byte {
	b = appendPath(append(b, '['), s.path)
	if len(s.path) > 0 && s.text != "" {
		b = append(b, '.')
	}
	b = append(b, s.text...)
	separator := " ("
	for _, f := range s.fields {
		b = append(b, separator...)
		b = wire.AppendAString(b, string(f))
		separator = " "
	}
	if len(s.fields) > 0 {
		b = append(b, ')')
	}
	return append(b, ']')
}

func appendPath(b []byte, path []int) []byte {
	for i, n := range path {
		if i > 0 {
			b = append(b, '.')
		}
		b = wire.AppendNumber(b, n)
	}
	return b
}

// append writes the origin octet of an answer.
func (r partial) append(b []byte) []byte {
	if !r.asked {
		return b
	}
	b = append(b, '<')
	b = wire.AppendNumber(b, r.first)
	return append(b, '>')
}

// of is the part of n octets that was asked for.
func (r partial) of(n int64) mime.Span {
	if !r.asked {
		return mime.Span{Len: n}
	}
	first := min(r.first, n)
	return mime.Span{Off: first, Len: min(r.count, n-first)}
}

// bodySection decodes BODY[section]<partial>.
func (p *parser) bodySection(reads bool) (fetcher, bool) {
	i := &sectionItem{seen: reads}
	if !p.section(&i.section) || !p.partial(&i.partial) {
		return nil, false
	}
	i.name = string(i.partial.append(i.section.append([]byte("BODY"))))
	return i, true
}

// oldItem is an item that RFC 3501 §6.4.5 has another name for.
func oldItem(name string, of section, reads bool) func(*parser) (fetcher, bool) {
	return func(*parser) (fetcher, bool) { return &sectionItem{section: of, name: name, seen: reads}, true }
}

// sectionItem is BODY[section]<partial>.
type sectionItem struct {
	section
	partial
	name string // in the answer
	seen bool

	// Of the message at hand:
	span  mime.Span // where it is
	found bool      // span is known
	kept  []byte    // the fields that were asked for
}

// ofTop tells whether it is the message's own header or a part of it, which facts have.
func (i *sectionItem) ofTop() bool {
	return len(i.path) == 0 && (i.text == "HEADER" || i.fields != nil)
}

// whole tells whether it is the whole message.
func (i *sectionItem) whole() bool { return len(i.path) == 0 && i.text == "" }

func (i *sectionItem) wants() mailbox.FactSet {
	switch {
	case i.ofTop():
		return mailbox.WantHeader
	case i.whole():
		return mailbox.WantOctets
	}
	return mailbox.WantParts | mailbox.WantOctets
}

func (i *sectionItem) reads() bool { return i.seen }

func (i *sectionItem) write(b []byte, t *target) ([]byte, streamer) {
	i.found = false
	octets := t.facts.Octets
	switch {
	case i.ofTop():
		if t.facts.Header == nil {
			return b, i
		}
		return i.appendText(b, i.subset(t.facts.Header)), nil
	case i.whole():
		i.span, i.found = mime.Span{Len: int64(len(octets))}, octets != nil
	default:
		if i.find(t.facts.Parts); !i.found {
			return append(append(b, i.name...), " NIL"...), nil
		}
	}
	if octets == nil || i.fields != nil {
		return b, i
	}
	return i.appendText(b, octets[i.span.Off:i.span.End()]), nil
}

// find looks for the section in the message's structure.
func (i *sectionItem) find(root *mime.Part) {
	part := root.Find(i.path)
	if part == nil {
		return
	}
	message := part
	if len(i.path) > 0 {
		message = part.Message // RFC 9051 §6.4.5.1: HEADER and TEXT after a number are of a message inside.
	}
	switch {
	case i.text == "":
		i.span, i.found = part.Body, true
	case i.text == "MIME":
		i.span, i.found = part.Header, true
	case message == nil:
	case i.text == "TEXT":
		i.span, i.found = message.Body, true
	default:
		i.span, i.found = message.Header, true
	}
}

func (i *sectionItem) prepare(ctx context.Context, m *opened) error {
	switch {
	case i.found:
	case i.ofTop():
		if err := m.parts(ctx, i.find); err != nil {
			return err
		}
	default:
		i.span = mime.Span{Len: m.Size()}
	}
	if i.fields == nil {
		return nil
	}
	header := make([]byte, min(i.span.Len, mime.MaxHeader))
	if _, err := m.ReadAt(header, i.span.Off); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	i.subset(header)
	return nil
}

func (i *sectionItem) stream(w *link.Writer, m *opened) error {
	if i.fields != nil {
		return w.Advance(i.appendText(w.Available(), i.kept))
	}
	part := i.of(i.span.Len)
	b := append(append(w.Available(), i.name...), ' ')
	if err := w.Advance(wire.AppendLiteral(b, part.Len)); err != nil {
		return err
	}
	return copyOctets(w, m, mime.Span{Off: i.span.Off + part.Off, Len: part.Len})
}

// appendText writes the item with text that is in memory.
func (i *sectionItem) appendText(b, text []byte) []byte {
	part := i.of(int64(len(text)))
	b = wire.AppendLiteral(append(append(b, i.name...), ' '), part.Len)
	return append(b, text[part.Off:part.End()]...)
}

// subset is a header, or the fields of it that were asked for with the empty line: RFC 9051 §6.4.5.1.
func (i *sectionItem) subset(header []byte) []byte {
	if i.fields == nil {
		return header
	}
	i.kept = i.kept[:0]
	for field := range mime.Fields(header) {
		if i.names(field.Name) == (i.text == "HEADER.FIELDS") {
			i.kept = append(i.kept, field.Raw...)
		}
	}
	i.kept = append(i.kept, "\r\n"...)
	return i.kept
}

func (i *sectionItem) names(field []byte) bool {
	for _, f := range i.fields {
		if bytes.EqualFold(f, field) {
			return true
		}
	}
	return false
}

// copyOctets writes octets of a message without keeping more than the buffer of them.
func copyOctets(w *link.Writer, from io.ReaderAt, span mime.Span) error {
	for span.Len > 0 {
		b := w.Available()
		room := b[len(b):min(int64(cap(b)), int64(len(b))+span.Len)]
		n, err := from.ReadAt(room, span.Off)
		if n < len(room) && err != nil {
			return err
		}
		span.Off, span.Len = span.Off+int64(n), span.Len-int64(n)
		if err := w.Advance(b[:len(b)+n]); err != nil {
			return err
		}
	}
	return nil
}
