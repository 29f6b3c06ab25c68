package milter

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// Session is one SMTP session as a filter sees it. After an error it is of no use but to be closed.
type Session struct {
	filter *Filter
	conn   *conn
	broken bool
	open   bool // a message has begun
	passed bool // the filter has accepted the session: it hears no more of it
	// decided: the filter has accepted the message, or discarded it, and hears no more of it; skipped: it has seen enough of the body.
	decided, skipped bool
}

// Macros are names and values that go with a command, as sendmail knows them: "j", "{auth_authen}".
type Macros map[string]string

// Connect says who has connected; name is how it is called as far as known.
func (s *Session) Connect(ctx context.Context, name string, remote netip.AddrPort, m Macros) (Answer, error) {
	b := text(name)
	switch addr := remote.Addr(); {
	case addr.Is4():
		b = append(binary.BigEndian.AppendUint16(append(b, '4'), remote.Port()), text(addr.String())...)
	case addr.Is6():
		b = append(binary.BigEndian.AppendUint16(append(b, '6'), remote.Port()), text("IPv6:"+addr.String())...)
	default:
		b = append(b, 'U')
	}
	return s.askOfClient(ctx, cmdConnect, m, b)
}

// Hello says how the client greets.
func (s *Session) Hello(ctx context.Context, name string, m Macros) (Answer, error) {
	return s.askOfClient(ctx, cmdHello, m, text(name))
}

// Mail begins a message; params are those of MAIL.
func (s *Session) Mail(ctx context.Context, from string, params []string, m Macros) (Answer, error) {
	s.open, s.decided, s.skipped = true, false, false
	return s.askOfMessage(ctx, cmdMail, m, text(append([]string{"<" + from + ">"}, params...)...))
}

// Rcpt names a recipient. That the filter refuses one says nothing of the message.
func (s *Session) Rcpt(ctx context.Context, to string, params []string, m Macros) (Answer, error) {
	return s.askOfMessage(ctx, cmdRcpt, m, text(append([]string{"<" + to + ">"}, params...)...))
}

// Data says that the recipients are all there.
func (s *Session) Data(ctx context.Context, m Macros) (Answer, error) {
	return s.askOfMessage(ctx, cmdData, m, nil)
}

// Header gives a field; the value is still folded, as it stands after the colon.
func (s *Session) Header(ctx context.Context, name, value string) (Answer, error) {
	if s.conn.protocol&wantLeadingSpace == 0 {
		value = strings.TrimPrefix(strings.TrimPrefix(value, " "), "\t")
	}
	return s.askOfMessage(ctx, cmdHeader, nil, text(name, strings.ReplaceAll(value, "\r\n", "\n")))
}

// EndOfHeader says that the header is over.
func (s *Session) EndOfHeader(ctx context.Context) (Answer, error) {
	return s.askOfMessage(ctx, cmdEndOfHeader, nil, nil)
}

// WantsBody tells whether the filter would hear of more of the body.
func (s *Session) WantsBody() bool {
	return s.conn.sends(cmdBody) && !s.passed && !s.decided && !s.skipped
}

// Body gives octets of the body, in parts as the protocol has room for.
func (s *Session) Body(ctx context.Context, p []byte) (Answer, error) {
	for len(p) > 0 && s.WantsBody() {
		n := min(len(p), maxChunk)
		a, err := s.askOfMessage(ctx, cmdBody, nil, p[:n])
		if err != nil || a.Kind.ends() {
			return a, err
		}
		p = p[n:]
	}
	return Answer{}, nil
}

// Abort ends a message that is not to be judged any more. The session goes on.
func (s *Session) Abort() {
	if s.broken || !s.open || s.passed {
		return
	}
	s.open = false
	if s.conn.quit(cmdAbort) != nil {
		s.broken = true
	}
}

// Close ends the session. A connection that is in order is kept for the next one where that is wanted.
func (s *Session) Close() {
	s.Abort()
	if !s.broken && s.filter.opts.Reuse && s.conn.version >= reuseVersion && s.conn.quit(cmdQuitNew) == nil {
		s.filter.put(s.conn)
		return
	}
	if !s.broken {
		s.conn.quit(cmdQuit) //nolint:errcheck // it is the last thing we say
	}
	s.conn.Close()
}

// askOfClient is ask for what belongs to no message: there is nothing to discard.
func (s *Session) askOfClient(ctx context.Context, command byte, m Macros, data []byte) (Answer, error) {
	a, err := s.ask(ctx, command, m, data)
	s.passed = s.passed || a.Kind == Accept
	if a.Kind == Discard {
		return Answer{}, s.must(fmt.Errorf("%w: it discards what is no message", ErrProtocol))
	}
	return a, err
}

// askOfMessage is ask for what belongs to a message that the filter has not decided about: one of libmilter would not answer any more.
func (s *Session) askOfMessage(ctx context.Context, command byte, m Macros, data []byte) (Answer, error) {
	if s.decided {
		return Answer{}, nil
	}
	a, err := s.ask(ctx, command, m, data)
	s.decided = a.Kind == Accept || a.Kind == Discard
	s.skipped = s.skipped || a.Kind == Skip
	return a, err
}

// ask sends a command with its macros, as far as the filter wants to hear it, and reads the answer if it gives one.
func (s *Session) ask(ctx context.Context, command byte, m Macros, data []byte) (Answer, error) {
	if s.broken {
		return Answer{}, fmt.Errorf("%w: it was lost before", ErrProtocol)
	}
	if s.passed || !s.conn.sends(command) {
		return Answer{}, nil
	}
	if len(m) > 0 {
		s.conn.add(cmdMacro, []byte{command}, m.encode())
	}
	s.conn.add(command, data)
	if !s.conn.answers(command) {
		if len(s.conn.out) < maxChunk {
			return Answer{}, nil
		}
		return Answer{}, s.must(s.conn.flush(ctx))
	}
	if err := s.must(s.conn.flush(ctx)); err != nil {
		return Answer{}, err
	}
	return s.answer(ctx, command)
}

// answer reads an answer to anything but the end of a message.
func (s *Session) answer(ctx context.Context, command byte) (Answer, error) {
	for {
		p, err := s.conn.next(ctx)
		if s.must(err) != nil {
			return Answer{}, err
		}
		if p.kind == ansProgress {
			continue
		}
		a, err := parseAnswer(p)
		if a.Kind == Skip && command != cmdBody {
			err = fmt.Errorf("%w: it skips what is no body", ErrProtocol)
		}
		return a, s.must(err)
	}
}

// must notes that the session is of no use after an error.
func (s *Session) must(err error) error {
	s.broken = s.broken || err != nil
	return err
}

// text is strings as the protocol has them, each ended by NUL, which none of them can contain.
func text(words ...string) []byte {
	var b []byte
	for _, w := range words {
		b = append(append(b, strings.ReplaceAll(w, "\x00", "")...), 0)
	}
	return b
}

func (m Macros) encode() []byte {
	var b []byte
	for name, value := range m {
		if value != "" {
			b = append(b, text(name, value)...)
		}
	}
	return b
}
