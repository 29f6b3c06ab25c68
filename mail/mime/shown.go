package mime

import (
	"io"
	"strings"

	"golang.org/x/net/html"
)

// ReadText reads a text part's content without its transfer encoding, in UTF-8, and of HTML what a browser would show of it, more or less.
// What has an unknown encoding has no text. At most so many octets of the document are looked at.
func ReadText(m io.ReaderAt, p *Part, most int64) io.Reader {
	decoded, err := NewDecoder(io.NewSectionReader(m, p.Body.Off, p.Body.Len), p.Encoding)
	if err != nil {
		return strings.NewReader("")
	}
	text := io.LimitReader(NewUTF8Reader(decoded, p.Charset()), most)
	if p.Subtype == "html" {
		return &htmlText{tokens: html.NewTokenizer(text)}
	}
	return text
}

// htmlText reads what a browser would show of a document.
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
