package pop3d

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"posthouse/directory"
	"posthouse/internal/link"
)

// session is one connection from greeting to end. One goroutine runs it.
type session struct {
	server *Server
	log    *slog.Logger
	link   *link.Link
	in     *bufio.Reader
	out    *link.Writer

	user string // of a USER that was the last command; empty: it was not
	utf8 bool   // after UTF8
	who  directory.Account
	drop *maildrop // nil before authentication

	failedLogins int
	errors       int                   // commands that were none
	gone         error                 // why nothing more can be read
	ended        bool                  // nothing more is read
	delay        time.Duration         // before the answer
	after        func(context.Context) // what follows the answer
}

// inputBuffer is what a session keeps for its input all the time: a command.
const inputBuffer = 256

func newSession(server *Server, l *link.Link) *session {
	s := &session{server: server, log: server.opts.Log.With("sid", l.ID), link: l, out: link.NewWriter(l)}
	l.BeforeRead = s.out.Flush
	s.listen()
	return s
}

// listen begins to read commands, from the connection as it is now: what was read ahead of it is dropped.
func (s *session) listen() { s.in = bufio.NewReaderSize(s.link, inputBuffer) }

// state is the one of RFC 1939 §3.
func (s *session) state() states {
	if s.drop == nil {
		return authorization
	}
	return transaction
}

func (s *session) serve(ctx context.Context) {
	defer s.close(ctx)
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("panic", "value", r, "stack", string(debug.Stack()))
		}
	}()
	s.log.Debug("session begins", "remote", s.link.Remote())
	if s.link.Secure() {
		if err := s.link.StartTLS(ctx, nil); err != nil {
			s.log.Debug("TLS handshake", "err", err)
			return
		}
	}
	s.out.Advance(ok(s.server.opts.Hostname + " POP3 ready").append(s.out.Available())) //nolint:errcheck // the next read tells
	for !s.ended {
		s.step(ctx)
	}
	if s.out.Flush() == nil {
		s.link.Linger()
	}
	s.log.Debug("session ends", "err", s.out.Err())
}

// close ends the session. Without QUIT nothing is removed: RFC 1939 §6.
func (s *session) close(ctx context.Context) {
	if s.drop != nil {
		if err := s.drop.close(ctx); err != nil {
			s.log.Warn("closing the maildrop", "err", err)
		}
	}
	s.link.Close() //nolint:errcheck // it has ended
}

// step reads a command and answers it.
func (s *session) step(ctx context.Context) {
	if !s.link.Await() {
		s.lose(link.ErrClosing)
		return
	}
	line, err := s.readLine()
	if s.gone != nil {
		s.lose(s.gone)
		return
	}
	s.link.Begin()
	began := time.Now()
	var c *command
	var a answer
	if err == nil {
		c, a, err = s.command(ctx, line)
	}
	if s.gone != nil { // in the middle of AUTH
		s.lose(s.gone)
		return
	}
	if err != nil {
		a = answer{reply: s.replyTo(err)}
	}
	s.wait(ctx)
	s.say(a)
	if s.after != nil && s.out.Flush() == nil {
		s.after(ctx)
	}
	s.after = nil
	if observe := s.server.opts.Observe.Command; observe != nil && c != nil {
		observe(c.name, strings.TrimLeft(a.reply.status.String(), "+-"), time.Since(began))
	}
}

// readLine reads a line, without its CRLF. What is wrong with the line alone is a reply, and the next one follows; else gone says why
// there is none.
func (s *session) readLine() (string, error) {
	var line []byte
	long := false
	for skipped := 0; ; {
		piece, err := s.in.ReadSlice('\n')
		if long = long || len(line)+len(piece) > maxResponse; !long {
			line = append(line, piece...)
		}
		if skipped += len(piece); skipped > maxSkip {
			s.gone = errEndless
			return "", s.gone
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			s.gone = err
			return "", err
		}
		break
	}
	text, whole := strings.CutSuffix(string(line), "\r\n")
	switch {
	case long:
		return "", errLine
	case !whole || strings.ContainsRune(text, '\r'):
		return "", errLineEnd
	}
	return text, nil
}

// errEndless is a line that goes on and on.
var errEndless = errors.New("pop3d: a line without end")

// command looks a command up and runs it.
func (s *session) command(ctx context.Context, line string) (*command, answer, error) {
	word, args, _ := strings.Cut(line, " ")
	c, known := s.server.table.commands[strings.ToUpper(word)]
	switch {
	case len(line)+len("\r\n") > maxLine && (!known || !c.long):
		return c, answer{}, errLine
	case !known:
		return nil, answer{}, errUnknownCommand
	case c.in&s.state() == 0:
		return c, answer{}, errState
	}
	a, err := c.run(ctx, s, args)
	if c.name != "USER" {
		s.user = "" // RFC 1939 §7: PASS comes immediately after it
	}
	return c, a, err
}

// wait delays the answer to a failed login.
func (s *session) wait(ctx context.Context) {
	if s.delay == 0 {
		return
	}
	select {
	case <-time.After(s.delay):
	case <-ctx.Done():
	}
	s.delay = 0
}

// say answers.
func (s *session) say(a answer) {
	s.out.Advance(a.reply.append(s.out.Available())) //nolint:errcheck // Err has it
	if a.body != nil {
		if err := a.body(s.out); err != nil {
			if s.out.Err() == nil {
				s.log.Error("an answer could not be completed", "err", err)
			}
			s.out.Fail(err)
		}
	}
	if a.reply.status == statusBad {
		s.errors++
	}
	switch {
	case s.out.Err() != nil, s.failedLogins >= maxFailedLogins, s.errors >= maxErrors, s.drop == nil && s.errors >= maxEarlyErrors:
		s.ended = true
	}
}

// replyTo is the reply that an error means; if it is grave, the log has the rest.
func (s *session) replyTo(err error) reply {
	r, grave := look(err)
	if grave && s.out.Err() == nil {
		s.log.Error("command failed", "err", err)
	}
	return r
}

// lose ends a session from which nothing more can be read. To one that was silent for too long nothing is said (RFC 1939 §3); one that
// is told to end hears why, as the answer to what it would have said next.
func (s *session) lose(err error) {
	switch {
	case s.link.Stopping():
		s.say(answer{reply: replyTo(link.ErrClosing)})
	case errors.Is(err, errEndless):
		s.say(answer{reply: errLine})
	}
	s.ended = true
	if !errors.Is(err, io.EOF) {
		s.log.Debug("session lost", "err", err)
	}
}

// logIn opens the account's maildrop.
func (s *session) logIn(ctx context.Context, who directory.Account) (err error) {
	account, err := s.server.opts.Store.Account(ctx, who.ID)
	if err != nil {
		return fmt.Errorf("opening the account: %w", err)
	}
	if err := s.server.hub.EnterUser(s.link, who.ID); err != nil {
		return errors.Join(err, account.Close())
	}
	if s.drop, err = openMaildrop(ctx, account); err != nil {
		s.server.hub.LeaveUser(s.link)
		return errors.Join(err, account.Close())
	}
	s.who, s.link.Until = who, who.Until
	return nil
}

// logOut takes back logIn.
func (s *session) logOut(ctx context.Context) {
	s.server.hub.LeaveUser(s.link)
	if err := s.drop.close(ctx); err != nil {
		s.log.Warn("closing the maildrop", "err", err)
	}
	s.who, s.drop = directory.Account{}, nil
	s.link.Until = time.Now().Add(s.server.opts.Limits.LoginTime)
}
