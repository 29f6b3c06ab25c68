package imapd

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"posthouse/directory"
	"posthouse/imapd/wire"
	"posthouse/internal/link"
	"posthouse/mail"
	"posthouse/mailbox"
)

// session is one connection from greeting to BYE. One goroutine at a time runs it, and it alone writes: in IDLE it goes on in others. There,
// and while it has something to tell between commands, a second one waits for the client, and each errand has its own.
type session struct {
	server *Server
	table  *table
	log    *slog.Logger
	anyone *slog.Logger // the log before somebody is logged in
	link   *link.Link
	in     *wire.Decoder
	out    *link.Writer

	tag          string // of the command that runs
	dialect      dialect
	client       awareness
	notification *notification // nil: NOTIFY is not in use
	acted        bool          // the command changed messages
	who          directory.Account
	account      mailbox.Account // nil before authentication
	view         *view           // nil unless a mailbox is selected
	extra        mailbox.Account // kept elsewhere; nil: it is not open
	foreign      map[mail.AccountID]*foreign

	failedLogins int
	errors       int                   // commands answered BAD
	ended        bool                  // nothing more is read
	said         bool                  // the client was told so
	delay        time.Duration         // before the answer
	after        func(context.Context) // what follows the answer
	idler        *idler                // nil: it is not in IDLE

	left    *errand       // the rest of the command that ran, which is done beside others
	errands []*errand     // those under way, in the order of their commands; they outlive no session
	news    chan struct{} // a hint that an errand has ended, or that the client is to hear of one; nil: there was none yet
}

func newSession(server *Server, l *link.Link) *session {
	s := &session{server: server, table: server.table, log: server.opts.Log.With("sid", l.ID), link: l}
	s.anyone = s.log
	s.out = link.NewWriter(l)
	s.listen()
	return s
}

// listen begins to read commands, from the connection as it is now: what was read ahead of it is dropped.
func (s *session) listen() {
	s.link.BeforeRead = s.out.Flush
	s.in = wire.NewDecoder(s.link)
	s.in.Limits = earlyLimits()
	s.in.Continue = func() error {
		if err := s.out.WriteString("+ Go on\r\n"); err != nil {
			return err
		}
		return s.out.Flush()
	}
}

// state is the one of RFC 9051 §3.
func (s *session) state() states {
	switch {
	case s.account == nil:
		return notAuthenticated
	case s.view == nil:
		return authenticated
	}
	return selected
}

// serve goes on with the session, its next part first, to its end or to where it idles.
func (s *session) serve(ctx context.Context, part func(context.Context)) (rest link.Rest) {
	defer func() {
		if rest == nil {
			s.close()
		}
	}()
	defer s.survive()
	for part(ctx); !s.ended; s.step(ctx) {
		if i := s.idler; i != nil {
			return func() link.Rest { return i.rest(ctx) }
		}
	}
	s.farewell()
	return nil
}

// survive ends a session that panics.
func (s *session) survive() {
	if r := recover(); r != nil {
		s.log.Error("panic", "value", r, "stack", string(debug.Stack()))
		s.bye("[SERVERBUG] Internal error")
		s.out.Flush() //nolint:errcheck // it ends in any case
	}
}

func (s *session) welcome(ctx context.Context) {
	s.log.Debug("session begins", "remote", s.link.Remote())
	if s.link.Secure() {
		if err := s.link.StartTLS(ctx, nil); err != nil {
			s.log.Debug("TLS handshake", "err", err)
			s.ended = true
			return
		}
	}
	s.greet()
}

func (s *session) farewell() {
	if s.out.Flush() == nil && s.said {
		s.link.Linger()
	}
	s.log.Debug("session ends", "err", s.out.Err())
}

func (s *session) close() {
	s.abandon()
	if s.idler != nil {
		s.idler.stop()
	}
	s.stopNotifying()
	s.view = nil
	s.closeForeign()
	if s.account != nil {
		if err := errors.Join(s.closeExtra(), s.account.Close()); err != nil {
			s.log.Warn("closing the account", "err", err)
		}
	}
	s.link.Close() //nolint:errcheck // it has ended
}

func (s *session) greet() {
	b := append(s.out.Available(), "* OK ["...)
	b = s.appendCapabilities(b)
	b = append(b, "] "...)
	b = append(b, s.server.opts.Hostname...)
	s.out.Advance(append(b, " IMAP ready\r\n"...)) //nolint:errcheck // the next read tells
}

// step reads a command and answers it, or begins to idle.
func (s *session) step(ctx context.Context) {
	if s.conclude(ctx) != nil {
		return
	}
	if !s.link.Await() {
		s.lose(ctx, link.ErrClosing)
		return
	}
	if (s.notification != nil || len(s.errands) > 0) && !s.in.Buffered() {
		if s.attend(ctx); s.ended {
			return
		}
	}
	if err := s.in.Next(); err != nil && !errors.Is(err, wire.ErrUnframed) {
		s.lose(ctx, err)
		return
	}
	s.link.Begin()
	began := time.Now()
	c, r := s.command(ctx)
	if i := s.idler; i != nil {
		i.command, i.began = c, began
		return
	}
	s.complete(ctx, c, r, began)
}

// complete answers a command.
func (s *session) complete(ctx context.Context, c *command, r reply, began time.Time) {
	lost := s.in.Finish()
	if lost != nil && !errors.Is(lost, wire.ErrUnframed) {
		s.lose(ctx, lost)
		return
	}
	s.wait(ctx)
	s.respond(ctx, c, r, began)
	s.closeForeign()
	if s.after != nil && s.out.Flush() == nil {
		s.after(ctx)
	}
	s.after = nil
	if lost != nil {
		s.bye("[CLIENTBUG] Cannot tell where the command ends")
	}
	if s.out.Err() != nil {
		s.ended = true
	}
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

// command reads a command to its end and runs it.
func (s *session) command(ctx context.Context) (*command, reply) {
	s.tag, s.acted = "", false
	var name string
	p := &parser{s.in, s.table}
	if !p.Tag(&s.tag) {
		return nil, s.replyTo(cmp.Or(s.in.Gone(), error(errTag)))
	}
	if !p.SP() || !p.name(&name) {
		return nil, s.replyTo(p.Err())
	}
	c, known := s.table.commands[name]
	if !known {
		return nil, errUnknownCommand
	}
	if !c.beside {
		if err := s.await(ctx, 0); err != nil {
			return c, s.replyTo(err)
		}
	}
	switch {
	case c.in&s.state() == 0:
		return c, errState
	case c.numbered && s.client.uidOnly:
		return c, errUIDRequired
	}
	runner, err := c.parse(p)
	if err != nil {
		return c, s.replyTo(err)
	}
	if c.seqs != apart {
		err = s.sync(ctx, telling{early: true})
	} else {
		err = s.heedNow(ctx)
	}
	var r reply
	if err == nil {
		r, err = runner.run(ctx, s)
	}
	if err != nil {
		return c, s.replyTo(err)
	}
	return c, r
}

// answer tells what others changed, and then the tagged reply.
func (s *session) answer(ctx context.Context, c *command, r reply) {
	if r.status == statusBAD {
		s.errors++
	}
	err := s.sync(ctx, telling{expunge: c == nil || c.seqs != byNumbers})
	if err == nil && s.view != nil {
		err = s.view.tellDelayed(s.out)
	}
	if err == nil && s.account != nil {
		err = s.tellOthers(ctx)
	}
	if err != nil && !s.ended {
		s.log.Error("cannot look for changes", "err", err)
	}
	if r.text == "" && c != nil {
		r.text = c.completed()
	}
	b := s.out.Available()
	if s.tag == "" {
		b = append(b, '*')
	} else {
		b = append(b, s.tag...)
	}
	s.out.Advance(r.append(b)) //nolint:errcheck // step looks at Err
	switch {
	case s.ended:
	case s.account == nil && s.errors >= maxEarlyErrors, s.errors >= maxErrors:
		s.bye("[CLIENTBUG] Too many errors")
	case s.failedLogins >= maxFailedLogins:
		s.bye("[LIMIT] Too many failed logins")
	}
}

// replyTo is the reply that an error means; if it is grave, the log has the rest.
func (s *session) replyTo(err error) reply {
	r, grave := replyTo(err)
	if grave && s.out.Err() == nil && s.in.Gone() == nil {
		s.log.Error("command failed", "tag", s.tag, "err", err)
	}
	return r
}

// bye ends the session.
func (s *session) bye(text string) {
	s.ended, s.said = true, true
	s.out.WriteString("* BYE " + text + "\r\n") //nolint:errcheck // it ends in any case
}

// lose ends a session from which nothing more can be read.
func (s *session) lose(ctx context.Context, err error) {
	if !s.ended {
		s.settle(ctx, err)
	}
	switch {
	case s.ended:
	case s.link.Stopping():
		s.bye("[UNAVAILABLE] Closing; try again later")
	case !s.who.Until.IsZero() && time.Now().After(s.who.Until):
		s.bye("[EXPIRED] What you logged in by has ended")
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.bye("Nothing heard for too long")
	}
	s.ended = true
	if !errors.Is(err, io.EOF) {
		s.log.Debug("session lost", "err", err)
	}
}

// sync tells the client what has changed in its mailbox. If the mailbox is gone the session ends: RFC 2180 §3.3 names no other way
// that every client understands.
func (s *session) sync(ctx context.Context, t telling) error {
	if s.view == nil {
		return nil
	}
	t.expunge = t.expunge && s.mayExpunge()
	if s.client.deaf() && !s.acted && t.ofOthers() {
		return s.heedNow(ctx)
	}
	now, err := s.view.account.Snapshot(ctx, s.view.box)
	if errors.Is(err, mailbox.ErrNoBox) {
		s.view = nil
		s.bye("The selected mailbox was deleted")
	}
	if err != nil {
		return err
	}
	if err := s.heed(now.Box); err != nil {
		return err
	}
	before := s.view.told
	err = s.view.follow(ctx, s.out, now, t)
	if err == nil {
		err = s.tellNew(ctx, before)
	}
	if err != nil || s.view.rights == s.view.toldRights {
		return err
	}
	s.view.toldRights = s.view.rights
	return s.write(s.view.appendKeywords)
}

// heed takes up the rights that the user has by now to the selected mailbox, if it is another's. If he may not read it any more he is
// told nothing more of it, and the session ends: RFC 4314 §5.1.1.
func (s *session) heed(now mailbox.Box) error {
	if s.view.prefix == "" {
		return nil
	}
	s.view.rights = now.RightsOf(s.who.ID)
	if !s.view.rights.Has(mailbox.MayRead) {
		s.view = nil
		s.bye("The selected mailbox may not be read any more")
		return mailbox.ErrNoBox
	}
	return nil
}

// heedNow is heed before a command runs, so that none does what is not allowed any more.
func (s *session) heedNow(ctx context.Context) error {
	if s.view == nil || s.view.prefix == "" {
		return nil
	}
	now, err := s.view.account.Snapshot(ctx, s.view.box)
	if err != nil {
		return nil //nolint:nilerr // the command, or what is told after it, will find out
	}
	return s.heed(now.Box)
}

// write appends to the output what f appends.
func (s *session) write(f func([]byte) []byte) error { return s.out.Advance(f(s.out.Available())) }

// logIn begins what is allowed to an account.
func (s *session) logIn(ctx context.Context, who directory.Account) error {
	account, err := s.server.opts.Store.Account(ctx, who.ID)
	if err != nil {
		return fmt.Errorf("opening the account: %w", err)
	}
	if err := s.server.hub.EnterUser(s.link, who.ID); err != nil {
		return errors.Join(err, account.Close())
	}
	s.who, s.account = who, account
	if who.Without != "" {
		s.table = s.server.table.without(strings.Fields(who.Without))
	}
	s.log = s.anyone.With("login", who.Login.String())
	s.link.Until = who.Until
	s.in.Limits = lateLimits(s.server.opts.Limits.MessageSize)
	return nil
}

// logOut ends what logIn began; the connection goes on.
func (s *session) logOut() {
	s.stopNotifying()
	s.server.hub.LeaveUser(s.link)
	if err := errors.Join(s.closeExtra(), s.account.Close()); err != nil {
		s.log.Warn("closing the account", "err", err)
	}
	s.who, s.account, s.log, s.table = directory.Account{}, nil, s.anyone, s.server.table
	s.link.Until = time.Now().Add(s.server.opts.Limits.LoginTime)
	s.in.Limits = earlyLimits()
}

// secure does the handshake of STARTTLS. What the client sent before it is dropped: RFC 9051 §6.2.1.
func (s *session) secure(ctx context.Context, config *tls.Config) {
	if err := s.link.StartTLS(ctx, config); err != nil {
		s.log.Debug("TLS handshake", "err", err)
		s.ended = true
		return
	}
	s.listen()
	s.errors, s.failedLogins = 0, 0
}
