package mta

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"posthouse/directory"
	"posthouse/mail"
	"posthouse/mail/smtp"
	"posthouse/mta/stage"
)

// session is one connection. One goroutine owns it; only what mu guards is touched by others.
type session struct {
	server  *Server
	id      string
	log     *slog.Logger
	raw     net.Conn       // never changes
	conn    net.Conn       // raw, or TLS over it
	peer    netip.AddrPort // the other end of the connection
	remote  netip.AddrPort // the client: the peer, or whom it says it speaks for
	trusted bool           // of RelayFrom

	in    input
	out   []byte        // replies that wait
	block time.Duration // of message data: how long a read may wait; 0: for a command
	until time.Time     // and until when at most, whatever comes; zero: CommandTime from the next read

	tls     tlsInfo
	hello   greeting
	account directory.Account // zero: nobody
	tx      *transaction      // nil: none
	client  stage.Client      // what the stages see of the session
	// What they found of the connection, and of the greeting.
	connected, greeted findings
	barred             time.Time // not zero: refused before the greeting, it may only quit, and until then
	late               bool      // the replies that wait do so in the tarpit
	forwarded          *proxied  // where the next message comes from, as a filter said; nil: it said nothing
	doing              string    // the verb or stage that is at work, for the metrics
	// What was counted: errors and junk since the last message.
	errors, junk, authFailures int
	mails                      int // MAIL commands that were good, since the session began

	mu      sync.Mutex
	waiting bool           // for a command: may be ended at once
	closing bool           // the server shuts down, or the account is locked
	user    mail.AccountID // account's
}

// Reasons for the end of a session that lie in itself.
var (
	errClosing   = errors.New("mta: the server shuts down")
	errTooMany   = errors.New("mta: too many errors")
	errNoRoom    = errors.New("mta: no mail is taken now")
	errPipeline  = errors.New("mta: data before it was asked for")
	errHangUp    = errors.New("mta: the client is out of step")
	errRefused   = errors.New("mta: refused")
	errDeaf      = errors.New("mta: the client does not take our replies")
	errHandshake = errors.New("mta: no TLS handshake")
)

// serve is the life of a session: greet, then a loop of read command → look up → run → write reply.
func (s *session) serve(ctx context.Context) {
	defer s.client.Close()
	defer s.endTransaction()
	a, err := s.greet(ctx)
	for err == nil {
		if err = s.write(a); err != nil {
			break
		}
		if a.then != nil {
			a, err = a.then(ctx, s)
		} else {
			a, err = s.next(ctx)
		}
	}
	s.end(err)
}

func (s *session) greet(ctx context.Context) (answer, error) {
	if s.server.traits.implicitTLS {
		if err := s.handshake(ctx); err != nil {
			return answer{}, err
		}
	}
	if s.server.broken.Load() {
		return answer{}, errNoRoom
	}
	return s.welcome(ctx), nil
}

// welcome greets a client that may come in.
func (s *session) welcome(ctx context.Context) answer {
	s.client.TLS, s.doing = s.tls.names(), "connect"
	if s.isUnnamed() {
		return say(s.greeting())
	}
	if r := s.judgeConnect(ctx); r.Temporary() {
		r.Code = 421
		return sayAll(r)
	} else if r.Code != 0 { // RFC 5321 §3.1: it hears 554, and every command but QUIT is answered 503
		s.barred, r.Code = time.Now().Add(barredTime), 554
		return say(r)
	}
	return say(s.greeting())
}

func (s *session) greeting() smtp.Reply {
	return smtp.Reply{Code: 220, Text: s.server.opts.Hostname + " " + s.server.traits.service + " Posthouse"}
}

// next reads one command and runs it.
func (s *session) next(ctx context.Context) (answer, error) {
	s.doing = "command"
	line, err := s.command()
	if err != nil {
		if r := replyTo(err); r.Code == 500 { // it is the line's, which was read away
			return say(r), nil
		}
		return answer{}, err
	}
	var name [16]byte
	word, args := smtp.CutVerb(line, &name)
	// Who leaves by itself has done no wrong: a program with an old password tries each mechanism, and should not have its network banned.
	if l := &s.server.opts.Limits; string(word) != "QUIT" && (s.errors >= l.Errors || s.junk >= l.Junk || s.authFailures >= l.AuthFailures) {
		return answer{}, errTooMany
	}
	v, ok := s.server.verbs[string(word)]
	if !ok {
		return unknown(string(word))
	}
	s.doing = v.name
	if !s.barred.IsZero() && v.name != "QUIT" {
		return say(replyBarred), nil
	}
	if v.needs&endsGroup != 0 && s.in.Buffered() > 0 {
		return answer{}, errPipeline
	}
	if v.needs&isJunk != 0 {
		s.junk++
	}
	if r := v.extension.unoffered(s); r.Code != 0 {
		return say(r), nil
	}
	if r := s.missing(v.needs, args); r.Code != 0 {
		return say(r), nil
	}
	return v.run(ctx, s, args), nil
}

// unknown answers what is no verb here.
func unknown(word string) (answer, error) {
	switch {
	case foreign[word]:
		return answer{}, errNoise
	case notOffered[word]:
		return say(replyNotOffered), nil
	}
	return say(replyUnknown), nil
}

// command reads a command line.
func (s *session) command() ([]byte, error) {
	s.in.rest()
	s.block, s.until = 0, s.barred
	line, err := s.in.line(smtp.MaxAuthLine)
	if err == nil && len(line)+2 > smtp.MaxCommandLine && !isAuth(line) {
		return nil, errLineLong
	}
	return line, err
}

// response reads the client's part of an AUTH exchange.
func (s *session) response() ([]byte, error) {
	s.until = time.Time{}
	return s.in.line(smtp.MaxAuthLine)
}

// missing is the reply to a verb that lacks what it needs; zero if it lacks nothing.
func (s *session) missing(n needs, args []byte) smtp.Reply {
	switch {
	case n&needsNoArgument != 0 && len(args) > 0:
		return replyNoArgument
	case n&needsHello != 0 && s.hello.name == "":
		return replyHelloFirst
	case n&needsUser != 0 && s.server.traits.submission && s.account.ID == "":
		if !s.authOffered() {
			return replyTLSFirst
		}
		return replyAuthFirst
	case n&needsMail != 0 && s.tx == nil:
		return replyMailFirst
	}
	return smtp.Reply{}
}

// write puts the replies of an answer behind those that wait. They leave when the input is drained: RFC 2920 §3.2.
func (s *session) write(a answer) error {
	if a.reply.Code != 0 {
		s.out = a.reply.Append(s.out)
	}
	if a.reply.Code >= 400 {
		s.server.metrics.refused.add(s.doing)
	}
	if a.reply.Permanent() {
		s.errors++
		s.late = s.late || s.slow()
	}
	for _, r := range a.more {
		s.out = r.Append(s.out)
	}
	if len(s.out) > maxOut {
		return s.flush()
	}
	return nil
}

// flush is the only place that writes to the client.
func (s *session) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	if s.late {
		s.late = false
		s.waitInTarpit()
	}
	err := s.raw.SetWriteDeadline(time.Now().Add(s.server.opts.Limits.WriteTime))
	if err == nil {
		_, err = s.conn.Write(s.out)
	}
	if s.out = s.out[:0]; cap(s.out) > maxOut/4 {
		s.out = nil
	}
	if err != nil { // there is nobody to say farewell to
		return fmt.Errorf("%w: %v", errDeaf, err) //nolint:errorlint // its time-out is not that of a command
	}
	return nil
}

// read is the only place that reads: what we have to say goes out before, and no wait is for ever.
func (s *session) read(p []byte) (int, error) {
	if err := s.flush(); err != nil {
		return 0, err
	}
	if err := s.await(); err != nil {
		return 0, err
	}
	n, err := s.conn.Read(p)
	s.mu.Lock()
	s.waiting = false
	s.mu.Unlock()
	return n, err
}

func (s *session) await() error {
	now := time.Now()
	if s.until.IsZero() {
		s.until = now.Add(s.server.opts.Limits.CommandTime)
	}
	deadline := s.until
	if s.block > 0 && now.Add(s.block).Before(deadline) {
		deadline = now.Add(s.block)
	}
	if end := s.account.Until; !end.IsZero() && end.Before(deadline) {
		deadline = end
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting = s.block == 0; s.waiting && s.closing {
		return errClosing
	}
	return s.raw.SetReadDeadline(deadline)
}

// shutDown is stop, for the server that shuts down.
func (s *session) shutDown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
}

func (s *session) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// farewells are what a client is told when we end the session.
var farewells = []struct {
	err   error
	reply smtp.Reply
}{
	{errClosing, replyClosing},
	{errTooMany, replyTooMany},
	{errNoRoom, replyStorage},
	{errNoise, replyNoise},
	{errPipeline, replyNoPipeline},
	{smtp.ErrEndless, replyTo(smtp.ErrEndless)},
	{os.ErrDeadlineExceeded, replyTimeout},
}

// end says why, as far as the client is there to hear it, and waits a little until it has.
func (s *session) end(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) && s.isClosing() {
		err = errClosing
	}
	level := slog.LevelDebug
	if errors.Is(err, errRefused) { // with a reply that is said already
		level = slog.LevelInfo
	}
	for _, f := range farewells {
		if errors.Is(err, f.err) {
			level = slog.LevelInfo
			s.out = f.reply.Append(s.out)
			break
		}
	}
	if errors.Is(err, errNoise) || errors.Is(err, errTooMany) || errors.Is(err, errPipeline) {
		s.fault(err.Error())
	}
	s.log.Log(context.Background(), level, "session ends", "why", err)
	if s.flush() == nil && level == slog.LevelInfo {
		s.linger()
	}
	s.in.drop()
	s.in.rest()
}

// linger lets a client read the farewell: closing while its octets are under way would reset the connection, and the farewell with it.
func (s *session) linger() {
	half, ok := s.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || s.raw.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	io.CopyN(io.Discard, s.conn, lingerOctets) //nolint:errcheck // whatever comes is of no use any more
}

func (s *session) endTransaction() {
	s.forwarded = nil
	if s.tx != nil {
		s.tx.close(s.log)
		s.tx = nil
	}
}
