package imapd

import (
	"context"
	"errors"
	"io"
	"strings"
	"unicode"

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
	from *mime.Part
	text string
}

func (i *previewItem) wants() mailbox.FactSet { return mailbox.WantParts }
func (i *previewItem) reads() bool            { return false }

func (i *previewItem) write(b []byte, t *target) ([]byte, streamer) {
	part := previewPart(t.facts.Parts)
	if part == nil { // RFC 8970 §3.2: there is none
		return append(b, `PREVIEW ""`...), nil
	}
	i.from = part
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

// prepare reads the text.
func (i *previewItem) prepare(_ context.Context, m *opened) error {
	i.text = ""
	text := mime.ReadText(m, i.from, maxPreviewRead)
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

// errFound ends reading when no more is wanted.
var errFound = errors.New("imapd: all found")

// Write takes more of the text; errFound: no more is wanted.
func (s *summary) Write(p []byte) (int, error) {
	s.rest = append(s.rest, p...)
	whole := mime.WholeRunes(s.rest)
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
