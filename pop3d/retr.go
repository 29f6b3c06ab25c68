package pop3d

import (
	"context"
	"errors"
	"fmt"
	"io"

	"posthouse/internal/link"
	"posthouse/mail"
	"posthouse/mail/mime"
)

func runRetr(ctx context.Context, s *session, args string) (answer, error) {
	n, err := numbers(args, 1)
	if err != nil {
		return answer{}, err
	}
	m, err := s.open(ctx, n[0])
	if err != nil {
		return answer{}, err
	}
	return answer{ok(fmt.Sprintf("%d octets", m.octets)), func(out *link.Writer) error {
		err := m.send(out, wholeMessage)
		if err == nil {
			s.drop.read.set(m.position, s.drop.box.Len())
		}
		return err
	}}, nil
}

// runTop is TOP: the header and some lines of the body. That is not reading it.
func runTop(ctx context.Context, s *session, args string) (answer, error) {
	n, err := numbers(args, 2)
	if err != nil {
		return answer{}, err
	}
	m, err := s.open(ctx, n[0])
	if err != nil {
		return answer{}, err
	}
	return answer{ok("The top"), func(out *link.Writer) error { return m.send(out, n[1]) }}, nil
}

// message is one that is about to be sent.
type message struct {
	mail.Content
	position int
	octets   int64 // that are sent
	ascii    bool  // a surrogate is sent, with a header in ASCII
}

// open opens the message of a number, in the form in which the client takes it.
func (s *session) open(ctx context.Context, number int) (*message, error) {
	position, err := s.drop.position(number)
	if err != nil {
		return nil, err
	}
	content, err := s.drop.account.Open(ctx, s.drop.box.At(position).Blob)
	if err != nil {
		return nil, err
	}
	m := &message{Content: content, position: position, octets: s.drop.size(position)}
	if !s.utf8 {
		if err := m.toASCII(); err != nil {
			return nil, errors.Join(err, content.Close())
		}
	}
	return m, nil
}

// toASCII has a message with UTF-8 in its header sent as a surrogate, in which words are encoded (RFC 2047): RFC 6856 §2.1 asks for it
// before UTF8. Addresses in UTF-8 have no other form. What a surrogate needs is found out before anything is sent.
func (m *message) toASCII() error {
	plain, err := hasASCIIHeader(m.Content)
	if plain || err != nil {
		return err
	}
	var n counter
	err = mime.Convert(&lineWriter{w: &n}, m.Content, m.Size(), mime.Form{ASCIIHeader: true})
	if errors.Is(err, mime.ErrSealed) || errors.Is(err, mime.ErrAddress) || errors.Is(err, mime.ErrForm) {
		return errNeedsUTF8
	}
	m.ascii, m.octets = true, int64(n)
	return err
}

// counter counts octets.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// send sends the message, or the top of it with so many lines of its body, and closes it.
func (m *message) send(out io.Writer, lines int) error {
	err := transmit(out, lines, func(w io.Writer) error {
		if m.ascii {
			return mime.Convert(w, m.Content, m.Size(), mime.Form{ASCIIHeader: true})
		}
		return copyContent(w, m.Content)
	})
	return errors.Join(err, m.Close())
}
