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

// binary is RFC 3516. FETCH is part of IMAP4rev2; the capability adds APPEND of a literal8, whose NULs are not kept.
func binary() extension {
	return extension{
		name: "BINARY", rfc: "RFC 3516",
		fetch:   binaryItems(),
		appends: []appendItem{{"literal8", func(p *parser, m *appended) bool { return p.Literal8(&m.body) }}},
	}
}

func binaryItems() []fetchItem {
	return []fetchItem{
		{"BINARY[", func(p *parser) (fetcher, bool) { return p.binarySection("BINARY", true) }},
		{"BINARY.PEEK[", func(p *parser) (fetcher, bool) { return p.binarySection("BINARY", false) }},
		{"BINARY.SIZE[", func(p *parser) (fetcher, bool) { return p.binarySection("BINARY.SIZE", false) }},
	}
}

func (p *parser) binarySection(name string, reads bool) (fetcher, bool) {
	i := &binaryItem{seen: reads, sizeOnly: name == "BINARY.SIZE"}
	if !p.At(']') && !p.partNumbers(&i.path) || !p.Special(']') {
		return nil, false
	}
	if !i.sizeOnly && !p.partial(&i.partial) {
		return nil, false
	}
	b := append(appendPath([]byte(name+"["), i.path), ']')
	i.name = string(i.partial.append(b))
	return i, true
}

// binaryItem is BINARY[part]<partial> or BINARY.SIZE[part].
type binaryItem struct {
	partial
	path     []int
	name     string // in the answer
	seen     bool
	sizeOnly bool

	// Of the message at hand:
	span     mime.Span
	encoding string
	size     int64
	nul      bool
	err      error
}

func (i *binaryItem) wants() mailbox.FactSet { return mailbox.WantParts }
func (i *binaryItem) reads() bool            { return i.seen }

func (i *binaryItem) write(b []byte, t *target) ([]byte, streamer) {
	part := t.facts.Parts.Find(i.path)
	switch {
	case part == nil && i.sizeOnly:
		return append(append(b, i.name...), " 0"...), nil
	case part == nil:
		return append(append(b, i.name...), " NIL"...), nil
	case len(i.path) == 0: // RFC 3516 §4.2: the whole message
		i.span, i.encoding, i.err = mime.Span{Len: t.facts.Size}, "", nil
	case part.Message != nil || len(part.Parts) > 0:
		i.err = errNotLeaf
	default:
		i.span, i.encoding, i.err = part.Body, part.Encoding, nil
	}
	return b, i
}

// prepare reads it all once: its size has to be known first.
func (i *binaryItem) prepare(_ context.Context, m *opened) error {
	if i.err != nil {
		return i.err
	}
	r, err := i.decoded(m)
	if err != nil {
		return err
	}
	var found nulFinder
	i.size, err = io.Copy(&found, r)
	i.nul = found.nul
	return err
}

func (i *binaryItem) decoded(m *opened) (io.Reader, error) {
	r, err := mime.NewDecoder(io.NewSectionReader(m, i.span.Off, i.span.Len), i.encoding)
	if errors.Is(err, mime.ErrEncoding) {
		return nil, errUnknownCTE
	}
	return r, err
}

// nulFinder looks for NULs in what is written to it.
type nulFinder struct{ nul bool }

func (f *nulFinder) Write(p []byte) (int, error) {
	f.nul = f.nul || bytes.IndexByte(p, 0) >= 0
	return len(p), nil
}

func (i *binaryItem) stream(w *link.Writer, m *opened) error {
	b := append(append(w.Available(), i.name...), ' ')
	if i.sizeOnly {
		return w.Advance(wire.AppendNumber(b, i.size))
	}
	if i.nul { // RFC 3516 §4.3: a string wherever that can be
		b = append(b, '~')
	}
	part := i.of(i.size)
	if err := w.Advance(wire.AppendLiteral(b, part.Len)); err != nil {
		return err
	}
	r, err := i.decoded(m)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, r, part.Off); err != nil {
		return err
	}
	_, err = io.CopyN(w, r, part.Len)
	return err
}
