package milter

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"posthouse/mail/smtp"
)

// Kind is what a filter's answer means.
type Kind uint8

// The kinds of answer.
const (
	Continue Kind = iota
	Skip          // no more of the body
	Accept        // the session or the message, without hearing more of it
	Discard       // take it, and let nobody have it
	Reject        // the session, recipient or message
	TempFail      // the same, for now
)

// ends tells an answer after which the message goes no further to the filter.
func (k Kind) ends() bool { return k > Skip }

// Answer is a filter's answer.
type Answer struct {
	Kind  Kind
	Reply smtp.Reply // of Reject and TempFail, if the filter has its own; else zero
}

// kinds are the answers that say nothing else.
var kinds = map[byte]Kind{
	ansContinue: Continue, ansAccept: Accept, ansDiscard: Discard, ansReject: Reject, ansTempFail: TempFail, ansConnFail: TempFail, ansSkip: Skip,
}

// parseAnswer reads an answer that decides.
func parseAnswer(p packet) (Answer, error) {
	if kind, ok := kinds[p.kind]; ok && len(p.data) == 0 {
		return Answer{Kind: kind}, nil
	}
	if p.kind != ansReplyCode {
		return Answer{}, fmt.Errorf("%w: answer %q", ErrProtocol, p.kind)
	}
	words, err := cut(p.data, 1)
	if err != nil {
		return Answer{}, err
	}
	r, err := smtp.ReadReply(bufio.NewReader(strings.NewReader(strings.TrimRight(words[0], "\r\n") + "\r\n")))
	r.Text = strings.Map(ascii, r.Text)
	switch {
	case err != nil:
		return Answer{}, fmt.Errorf("%w: a reply: %w", ErrProtocol, err)
	case r.Permanent():
		return Answer{Reject, r}, nil
	case r.Temporary():
		return Answer{TempFail, r}, nil
	}
	return Answer{}, fmt.Errorf("%w: a reply with %d", ErrProtocol, r.Code)
}

// ascii is what every client can read: RFC 6531 §3.7.4.2 has UTF-8 in replies only for those that asked for it, and RFC 5321 §4.2 has no
// controls in them.
func ascii(r rune) rune {
	if r > '~' || r < ' ' && r != '\n' {
		return '?'
	}
	return r
}

// Place is where a change of the header puts a field.
type Place uint8

// The places.
const (
	AtEnd     Place = iota // behind all others
	AtIndex                // as the one with that index, from 0; the fields that the server itself adds count as the first
	InsteadOf              // of the one with that index, from 1, among those of the same name; an empty value removes it
)

// HeaderChange is one change of a header.
type HeaderChange struct {
	Place Place
	Index int
	Name  string
	Value string // folded by CRLF; it begins with the space after the colon
}

// Changes are what a filter wants of a message, each list in its order.
type Changes struct {
	Header         []HeaderChange
	From           *string // another sender, without angle brackets
	Add, Delete    []string
	Quarantine     string // why; empty: it is not quarantined
	BodyIsReplaced bool
	count, size    int
}

// EndOfMessage asks for the verdict, and for the changes. A body in the place of the message's is written to body; after an error what was
// written is of no use. The message is over for the filter.
func (s *Session) EndOfMessage(ctx context.Context, m Macros, body io.Writer) (Answer, *Changes, error) {
	changes := &Changes{}
	if s.passed || s.decided {
		s.open = false
		return Answer{}, changes, nil
	}
	if s.broken {
		return Answer{}, nil, fmt.Errorf("%w: it was lost before", ErrProtocol)
	}
	if len(m) > 0 {
		s.conn.add(cmdMacro, []byte{cmdEndOfMail}, m.encode())
	}
	s.conn.add(cmdEndOfMail)
	if err := s.must(s.conn.flush(ctx)); err != nil {
		return Answer{}, nil, err
	}
	for {
		p, err := s.conn.next(ctx)
		if s.must(err) != nil {
			return Answer{}, nil, err
		}
		if p.kind == ansProgress {
			continue
		}
		read, ok := changers[p.kind]
		if !ok {
			s.open = false
			a, err := parseAnswer(p)
			if a.Kind == Skip {
				err = fmt.Errorf("%w: it skips what is no body", ErrProtocol)
			}
			return a, changes, s.must(err)
		}
		if p.kind == ansReplaceBody {
			changes.BodyIsReplaced = true
			_, err = body.Write(p.data)
		} else {
			err = read(changes, p.data, s.conn.protocol&wantLeadingSpace != 0)
			changes.size += len(p.data)
		}
		if changes.count++; changes.count > maxChanges || changes.size > maxChangeSize {
			err = fmt.Errorf("%w: more than %d changes, or %d octets of them", ErrProtocol, maxChanges, maxChangeSize)
		}
		if s.must(err) != nil {
			return Answer{}, nil, err
		}
	}
}

// changers read the answers that change something. leading: the value of a field comes with the space after its colon.
var changers = map[byte]func(c *Changes, data []byte, leading bool) error{
	ansReplaceBody: nil, // is written as it comes
	ansAddHeader: func(c *Changes, data []byte, leading bool) error {
		return c.header(AtEnd, 0, data, leading)
	},
	ansInsertHeader: func(c *Changes, data []byte, leading bool) error {
		return c.indexed(AtIndex, data, leading)
	},
	ansChangeHeader: func(c *Changes, data []byte, leading bool) error {
		return c.indexed(InsteadOf, data, leading)
	},
	ansAddRcpt:       func(c *Changes, data []byte, _ bool) error { return address(&c.Add, data, 1) },
	ansAddRcptParams: func(c *Changes, data []byte, _ bool) error { return address(&c.Add, data, 2) },
	ansDeleteRcpt:    func(c *Changes, data []byte, _ bool) error { return address(&c.Delete, data, 1) },
	ansChangeFrom: func(c *Changes, data []byte, _ bool) error {
		var from []string
		err := address(&from, data, 2)
		if err == nil {
			c.From = &from[0]
		}
		return err
	},
	ansQuarantine: func(c *Changes, data []byte, _ bool) error {
		words, err := cut(data, 1)
		if err == nil {
			c.Quarantine = "the filter says so"
			if words[0] != "" {
				c.Quarantine = words[0]
			}
		}
		return err
	},
}

// cut takes texts that are each ended by NUL: at least one, at most so many.
func cut(data []byte, most int) ([]string, error) {
	if len(data) == 0 || data[len(data)-1] != 0 {
		return nil, fmt.Errorf("%w: a text without end", ErrProtocol)
	}
	parts := bytes.Split(data[:len(data)-1], []byte{0})
	if len(parts) > most {
		return nil, fmt.Errorf("%w: %d texts", ErrProtocol, len(parts))
	}
	words := make([]string, len(parts))
	for i, p := range parts {
		words[i] = string(p)
	}
	return words, nil
}

// address takes an address in angle brackets or without; parameters behind it are for options that the message has of its own.
func address(to *[]string, data []byte, most int) error {
	words, err := cut(data, most)
	if err != nil {
		return err
	}
	*to = append(*to, strings.TrimSuffix(strings.TrimPrefix(words[0], "<"), ">"))
	return nil
}

func (c *Changes) indexed(place Place, data []byte, leading bool) error {
	if len(data) < 4 {
		return fmt.Errorf("%w: no index", ErrProtocol)
	}
	index := binary.BigEndian.Uint32(data)
	return c.header(place, int(min(index, maxIndex)), data[4:], leading)
}

const maxIndex = 1 << 20 // behind all fields that a header can have

// header notes a change of the header. The field must be one: no more and no less than it says.
func (c *Changes) header(place Place, index int, data []byte, leading bool) error {
	words, err := cut(data, 2)
	if err != nil {
		return err
	}
	if len(words) != 2 || !isFieldName(words[0]) {
		return fmt.Errorf("%w: a field %.100q", ErrChange, data)
	}
	value, ok := fold(words[1])
	if !ok {
		return fmt.Errorf("%w: the field %.100q would be several", ErrChange, data)
	}
	if !leading && value != "" {
		value = " " + value
	}
	c.Header = append(c.Header, HeaderChange{place, index, words[0], value})
	return nil
}

// isFieldName is RFC 5322 §3.6.8.
func isFieldName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || c == ':' {
			return false
		}
	}
	return name != ""
}

// fold is a value with its lines ended by CRLF; not one whose next line would be another field: RFC 5322 §2.2.3.
func fold(value string) (string, bool) {
	lines := strings.Split(strings.TrimRight(strings.ReplaceAll(value, "\r\n", "\n"), "\n"), "\n")
	for i, line := range lines {
		if strings.Contains(line, "\r") || i > 0 && (line == "" || line[0] != ' ' && line[0] != '\t') {
			return "", false
		}
	}
	return strings.Join(lines, "\r\n"), true
}
