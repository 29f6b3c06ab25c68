package imapd

import (
	"context"
	"errors"
	"io"
	"strings"

	"posthouse/imapd/wire"
	"posthouse/mailbox"
)

// catenate is CATENATE: a message of APPEND is put together of literals and of parts of messages that are here already.
func catenate() extension {
	return extension{
		name: "CATENATE", rfc: "RFC 4469",
		appends: []appendItem{{"CATENATE", func(p *parser, m *appended) bool {
			m.catenated = p.Word("CATENATE") && p.SP() && p.Special('(')
			return m.catenated
		}}},
	}
}

// urlPartial is URL-PARTIAL: URLs may name a range of octets.
func urlPartial() extension {
	return extension{name: "URL-PARTIAL", rfc: "RFC 5550", needs: "CATENATE"}
}

// catenation reads a message part after part; each is decoded when the one before it has been read.
type catenation struct {
	ctx   context.Context //nolint:containedctx // of the command that reads it
	s     *session
	p     *parser
	parts int
	size  int64
	text  *wire.Literal // the part at hand, if it is one
	link  *pointed      // or this
	nul   bool
	ended bool
}

// Read is io.Reader.
func (c *catenation) Read(b []byte) (n int, err error) {
	for n == 0 && err == nil {
		switch {
		case c.text != nil:
			if n, err = c.text.Read(b); errors.Is(err, io.EOF) {
				c.nul = c.nul || c.text.NUL
				c.text, err = nil, nil
			}
		case c.link != nil:
			if n, err = c.link.Read(b); errors.Is(err, io.EOF) {
				err = c.Close()
			}
		case c.ended:
			return 0, io.EOF
		default:
			err = c.next()
		}
	}
	return n, err
}

// Close lets go of the part at hand.
func (c *catenation) Close() error {
	if c.link == nil {
		return nil
	}
	err := c.link.Close()
	c.link = nil
	return err
}

// next decodes the next cat-part, or the parenthesis after the last.
func (c *catenation) next() error {
	p := c.p
	if c.parts > 0 {
		if c.ended = p.At(')'); c.ended {
			p.Special(')')
			return nil
		}
		if !p.SP() {
			return p.Err()
		}
	}
	if c.parts++; c.parts > maxCatParts {
		return errTooMany
	}
	if p.Word("URL") {
		var text string
		if !p.SP() || !p.AString(&text) {
			return p.Err()
		}
		return c.open(text)
	}
	text := new(wire.Literal)
	if !p.Word("TEXT") || !p.SP() || !p.Literal(text) {
		return p.Err()
	}
	c.text = text
	return c.grow(text.Size)
}

// grow counts a part before it is read.
func (c *catenation) grow(n int64) error {
	if c.size += n; n > c.s.server.opts.Limits.MessageSize || c.size > c.s.server.opts.Limits.MessageSize {
		return errTooBig
	}
	return nil
}

// open opens what a URL names. Only URLs relative to the session's server and user are taken: RFC 4469 §3.
func (c *catenation) open(text string) error {
	u, err := c.s.table.parseURL(text)
	if err == nil && (u.host != "" || u.grant.access != "") {
		err = errURL
	}
	if err == nil {
		c.link, err = c.s.follow(c.ctx, u)
	}
	if errors.Is(err, errURL) || errors.Is(err, mailbox.ErrNoBox) || errors.Is(err, mailbox.ErrNoBlob) || errors.Is(err, mailbox.ErrBoxName) {
		return badURL(text)
	}
	if err != nil {
		return err
	}
	return c.grow(c.link.size)
}

// follow opens what a URL names in a mailbox of the session's, or in the selected one.
func (s *session) follow(ctx context.Context, u *messageURL) (*pointed, error) {
	if u.mailbox == "" {
		if s.view == nil {
			return nil, errURL
		}
		return u.open(ctx, s.view.account, s.view.box)
	}
	at, err := s.placeOf(ctx, u.mailbox, toRead)
	if err != nil {
		return nil, err
	}
	return u.open(ctx, at.account, at.ID)
}

// badURL says which one could not be followed, if it can be said: RFC 4469 §4.1.
func badURL(text string) reply {
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == ']' || r == '\\' || r >= 0x7f }) {
		return no("CANNOT", "Not a URL of a message here")
	}
	return no("BADURL "+text, "Not a URL of a message here")
}
