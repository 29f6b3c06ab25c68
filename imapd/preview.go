package imapd

import (
	"context"
	"errors"
	"io"
	"strings"
	"unicode"

	"golang.org/x/net/html"

	"posthouse/imapd/wire"
	"posthouse/internal/link"
	"posthouse/mail/mime"
	"posthouse/mailbox"
)

// preview is PREVIEW: RFC 8970. It is made when it is asked for, also LAZY: of a message that is there that takes no time worth saving.
func preview() extension {
	return extension{
		name: "PREVIEW", rfc: "RFC 8970",
		fetch: []fetchItem{{"PREVIEW", parsePreview}},
	}
}

// Limits of a preview.
const (
	maxPreview     = 200      // characters: RFC 8970 §3.2
	maxPreviewRead = 64 << 10 // octets of text that are looked at
)

func parsePreview(p *parser) (fetcher, bool) {
	p.Word(" (LAZY)") // RFC 8970 §4: the only modifier, which changes nothing here
	return &previewItem{}, true
}

// previewItem is the beginning of a message's text.
type previewItem struct {
	from region
	html bool
	text string
}

func (i *previewItem) wants() mailbox.FactSet { return mailbox.WantParts }
func (i *previewItem) reads() bool            { return false }

func (i *previewItem) write(b []byte, t *target) ([]byte, streamer) {
	part := previewPart(t.facts.Parts)
	if part == nil { // RFC 8970 §3.2: there is none
		return append(b, `PREVIEW ""`...), nil
	}
	i.html = part.Subtype == "html"
	i.from = region{span: part.Body, encoding: part.Encoding, charset: part.Charset()}
	return b, i
}

// previewPart is the part that a reader sees first: a plain text before its HTML form, and neither of what is attached as a file or
// encrypted.
func previewPart(p *mime.Part) *mime.Part {
	switch {
	case p.Type == "text" && len(p.Parts) == 0:
		if p.Subtype == "plain" || p.Subtype == "html" {
			return p
		}
	case p.Type == "multipart" && p.Subtype == "encrypted":
		return nil
	}
	var found *mime.Part
	for _, child := range p.Parts {
		part := previewPart(child)
		if found == nil || part != nil && found.Subtype == "html" && part.Subtype == "plain" && p.Subtype == "alternative" {
			found = part
		}
	}
	return found
}

// prepare reads the text. What has no known encoding has none.
func (i *previewItem) prepare(_ context.Context, m *opened) error {
	i.text = ""
	decoded, err := mime.NewDecoder(io.NewSectionReader(m, i.from.span.Off, i.from.span.Len), i.from.encoding)
	if err != nil {
		return nil //nolint:nilerr // see above
	}
	text := io.LimitReader(mime.NewUTF8Reader(decoded, i.from.charset), maxPreviewRead)
	if i.html {
		text = &htmlText{tokens: html.NewTokenizer(text)}
	}
	var b strings.Builder
	if _, err := io.Copy(&summary{out: &b}, text); err != nil && !errors.Is(err, errFound) {
		return err
	}
	i.text = strings.TrimRight(strings.ToValidUTF8(b.String(), ""), " ")
	return nil
}

func (i *previewItem) stream(w *link.Writer, _ *opened) error {
	return w.Advance(wire.AppendString(append(w.Available(), "PREVIEW "...), i.text))
}

// summary takes the first characters of a text: white space as one space, lines that quote another message left out.
type summary struct {
	out    *strings.Builder
	count  int
	space  bool // a space comes before the next character
	inside bool // of a line
	quoted bool // this line
	rest   []byte
}

// Write takes more of the text; errFound: no more is wanted.
func (s *summary) Write(p []byte) (int, error) {
	s.rest = append(s.rest, p...)
	whole := wholeRunes(s.rest)
	for _, r := range string(s.rest[:whole]) {
		switch {
		case r == '\n':
			s.space, s.inside, s.quoted = s.count > 0, false, false
		case unicode.IsSpace(r) || unicode.IsControl(r):
			s.space = s.count > 0
		case !s.inside && r == '>':
			s.inside, s.quoted = true, true
		case s.quoted:
		default:
			s.inside = true
			if s.space {
				s.out.WriteByte(' ')
				s.count, s.space = s.count+1, false
			}
			if s.count >= maxPreview {
				return len(p), errFound
			}
			s.out.WriteRune(r)
			s.count++
		}
	}
	s.rest = append(s.rest[:0], s.rest[whole:]...)
	return len(p), nil
}

// htmlText reads what a browser would show of a document, more or less.
type htmlText struct {
	tokens *html.Tokenizer
	hidden int // elements around that show nothing
	text   []byte
}

// hides are the elements whose content is not shown.
var hides = map[string]bool{"head": true, "style": true, "script": true, "title": true, "template": true}

// Read is io.Reader.
func (h *htmlText) Read(p []byte) (int, error) {
	for len(h.text) == 0 {
		kind := h.tokens.Next()
		name, _ := h.tokens.TagName()
		switch kind {
		case html.ErrorToken:
			return 0, io.EOF
		case html.TextToken:
			if h.hidden == 0 {
				h.text = append(h.text, html.UnescapeString(string(h.tokens.Text()))...)
			}
		case html.StartTagToken, html.EndTagToken:
			if hides[string(name)] {
				h.hidden = max(0, h.hidden+map[html.TokenType]int{html.StartTagToken: 1, html.EndTagToken: -1}[kind])
			}
			h.text = append(h.text, ' ')
		}
	}
	n := copy(p, h.text)
	h.text = h.text[n:]
	return n, nil
}
