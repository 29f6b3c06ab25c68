package imapd

import (
	"bytes"
	"context"
	"errors"

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
	mime.Scanner
	needles []needle
	found   []bool
	overlap int    // octets of the window that the next one keeps
	window  []byte // folded
	header  bool   // it is a header that is read
}

func newScanner(needles []needle) *scanner {
	s := &scanner{needles: needles, found: make([]bool, len(needles))}
	for _, n := range needles {
		s.overlap = max(s.overlap, len(n.text)-1)
	}
	return s
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
	header, err := s.Header(content, k.Parts.Header)
	if err != nil {
		return c, err
	}
	c.header = append([]byte{}, header...)
	clear(s.found)
	c.found = s.found
	if len(s.needles) == 0 {
		return c, nil
	}
	return c, s.Scan(content, k.Parts, s)
}

// Begin begins a text; what is found ends with it.
func (s *scanner) Begin(place mime.Place) {
	s.header, s.window = place == mime.InHeader, s.window[:0]
}

// Take looks at more of the text.
func (s *scanner) Take(piece []byte) bool {
	s.window = append(s.window, piece...)
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
	return left
}
