package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"posthouse/mail"
	"posthouse/mail/mime"
	"posthouse/mta/milter"
)

// readHeader is the header of a message, without its empty line.
func readHeader(m *Message) ([]byte, error) {
	header, err := io.ReadAll(io.NewSectionReader(m.Content, 0, min(m.Size, maxHeader)))
	if err != nil {
		return nil, err
	}
	switch i := bytes.Index(header, []byte("\r\n\r\n")); {
	case bytes.HasPrefix(header, []byte("\r\n")):
		return nil, nil
	case i >= 0:
		return header[:i+2], nil
	case m.Size > maxHeader:
		return nil, fmt.Errorf("%w: the header is longer than %d octets", milter.ErrChange, maxHeader)
	}
	return header, nil
}

// edit makes the changes. What is written is a message of its own until the verdict is followed, so that half of one is never taken.
func (e *edition) edit(ctx context.Context, c *milter.Changes) (*Edit, error) {
	edit := &Edit{}
	if err := e.envelope(edit, c); err != nil {
		return nil, err
	}
	if len(c.Header) > 0 || c.BodyIsReplaced {
		header := e.fields(c.Header)
		if err := e.write(ctx, edit, header, c.BodyIsReplaced); err != nil {
			return nil, err
		}
		note := Header{}
		for f := range mime.Fields(header) {
			note.Note(f)
		}
		*e.m.Header = note
	}
	if edit.Content == nil && edit.From == nil && edit.Add == nil && edit.Remove == nil {
		return nil, nil //nolint:nilnil // there is nothing to change, and nothing is wrong
	}
	return edit, nil
}

// envelope takes the changes of sender and recipients.
func (e *edition) envelope(edit *Edit, c *milter.Changes) error {
	parse := func(texts []string) (list []mail.Address, err error) {
		for _, text := range texts {
			a, bad := mail.ParseAddress(text)
			if bad != nil {
				err = errors.Join(err, fmt.Errorf("%w: %w", milter.ErrChange, bad))
			}
			list = append(list, a)
		}
		return list, err
	}
	var errAdd, errDelete, errFrom error
	edit.Add, errAdd = parse(c.Add)
	edit.Remove, errDelete = parse(c.Delete)
	if c.From != nil {
		edit.From = &mail.Address{}
		if *c.From != "" {
			*edit.From, errFrom = mail.ParseAddress(*c.From)
		}
	}
	return errors.Join(errAdd, errDelete, errFrom)
}

// fields are those of the header with the changes made.
func (e *edition) fields(changes []milter.HeaderChange) []byte {
	var raw [][]byte
	for f := range mime.Fields(e.header) {
		raw = append(raw, f.Raw)
	}
	for _, c := range changes {
		field := []byte(c.Name + ":" + c.Value + "\r\n")
		switch at := indexOf(raw, c); {
		case c.Place == milter.AtEnd, at < 0 && c.Value != "":
			raw = append(raw, field)
		case c.Place == milter.AtIndex:
			// Its first is the Received field that we are about to put there.
			raw = slices.Insert(raw, min(max(c.Index-1, 0), len(raw)), field)
		case at < 0: // to be removed, and not there
		case c.Value == "":
			raw = slices.Delete(raw, at, at+1)
		default:
			raw[at] = field
		}
	}
	return bytes.Join(raw, nil)
}

// indexOf is the field that a change puts another in the place of; -1: there is none.
func indexOf(raw [][]byte, c milter.HeaderChange) int {
	if c.Place != milter.InsteadOf {
		return 0
	}
	n := 0
	for i, r := range raw {
		for f := range mime.Fields(r) {
			if strings.EqualFold(string(f.Name), c.Name) {
				n++
			}
		}
		if n == max(c.Index, 1) {
			return i
		}
	}
	return -1
}

// write writes the message anew.
func (e *edition) write(ctx context.Context, edit *Edit, header []byte, replaced bool) error {
	draft, err := e.newDraft(ctx)
	if err != nil {
		return err
	}
	body := io.NewSectionReader(e.m.Content, e.bodyStart(), e.m.Size-e.bodyStart())
	if replaced {
		if err := e.body.end(); err != nil {
			return err
		}
		body = io.NewSectionReader(e.body.draft, 0, e.body.draft.Size())
	}
	if _, err := draft.Write(append(header, "\r\n"...)); err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{draft}, struct{ io.Reader }{body}, make([]byte, chunk)); err != nil {
		return err
	}
	edit.Content = draft.Draft
	return nil
}

// replacement is the body that a filter gives in the place of the message's, made canonical: every line ends in CRLF. That of a binary
// message may be anything (RFC 3030 §3), and stays as it comes.
type replacement struct {
	binary bool
	create func() (Draft, error)
	most   int64
	draft  Draft // nil: nothing has come yet
	last   byte
}

// Write is io.Writer.
func (r *replacement) Write(p []byte) (int, error) {
	if r.draft == nil {
		var err error
		if r.draft, err = r.create(); err != nil {
			return 0, err
		}
	}
	if r.draft.Size()+int64(len(p)) > r.most {
		return 0, fmt.Errorf("%w: a body of more than %d octets", milter.ErrChange, r.most)
	}
	if r.binary {
		return r.draft.Write(p)
	}
	out := make([]byte, 0, len(p)+len(p)/32)
	for _, c := range p {
		switch {
		case c == '\n' && r.last != '\r':
			out = append(out, '\r')
		case c != '\n' && r.last == '\r':
			out = append(out, '\n')
		}
		out = append(out, c)
		r.last = c
	}
	_, err := r.draft.Write(out)
	return len(p), err
}

// end ends the last line.
func (r *replacement) end() error {
	if r.draft == nil {
		_, err := r.Write(nil)
		return err
	}
	switch r.last {
	case '\r':
		_, err := r.Write([]byte{'\n'})
		return err
	case '\n', 0:
		return nil
	}
	_, err := r.Write([]byte{'\r', '\n'})
	return err
}
