package imapd

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"time"

	"posthouse/internal/link"
	"posthouse/mailbox"
)

// idle is RFC 2177.
func idle() extension {
	return extension{
		name: "IDLE", rfc: "RFC 2177",
		commands: []command{{name: "IDLE", rfc: "RFC 9051 §6.3.13", in: loggedIn, parse: parseIdle}},
	}
}

// idleCommand waits for a line, and tells of changes meanwhile.
type idleCommand struct{ p *parser }

func parseIdle(p *parser) (runner, error) {
	if !p.End() {
		return nil, p.Err()
	}
	return &idleCommand{p}, nil
}

func (c *idleCommand) run(ctx context.Context, s *session) (reply, error) {
	watching, cancel := context.WithCancel(ctx)
	selected, err := s.changes(watching)
	if err == nil {
		err = s.tellNow(ctx, "+ Idling\r\n")
	}
	if err != nil {
		cancel()
		return reply{}, err
	}
	s.idler = &idler{session: s, p: c.p, cancel: cancel, selected: selected, heard: s.listenOn()}
	return reply{}, nil
}

// idler is a session in IDLE. It waits in a goroutine of its own, and after each change that it tells of in another: the stack of one that
// has run commands is several times as large as one that waits needs, and clients idle for hours.
type idler struct {
	*session
	p        *parser
	command  *command
	began    time.Time
	cancel   context.CancelFunc // ends selected
	selected <-chan mailbox.ModSeq
	heard    <-chan struct{}
}

// rest waits for the client, or for something to tell it.
func (i *idler) rest(ctx context.Context) link.Rest {
	if i.hint(i.heard, i.selected) {
		return i.serve(ctx, i.tell)
	}
	return i.serve(ctx, i.done)
}

func (i *idler) tell(ctx context.Context) {
	if err := i.tellNow(ctx, ""); err != nil {
		i.end(ctx, err)
	}
}

func (i *idler) done(ctx context.Context) {
	i.stop()
	line, err := i.p.continuation()
	if err == nil && !strings.EqualFold(line, "DONE") {
		err = errDone
	}
	i.end(ctx, err)
}

// end answers the command.
func (i *idler) end(ctx context.Context, err error) {
	i.stop()
	var r reply
	if err != nil {
		r = i.replyTo(err)
	}
	i.complete(ctx, i.command, r, i.began)
}

// stop ends what run began; it may be called again.
func (i *idler) stop() {
	if i.session.idler != nil {
		i.session.idler = nil
		i.listenNoMore(i.heard)
		i.cancel()
	}
}

// attend waits for the next command. Until it comes searches are answered as they end, and a client that listens all the time is told of
// changes: RFC 5465 §3.1.
func (s *session) attend(ctx context.Context) {
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	tell := func() error {
		if err := s.conclude(ctx); err != nil || s.notification == nil {
			return errors.Join(err, s.out.Flush())
		}
		return s.tellAll(ctx, telling{expunge: s.client.expungesAtOnce()}, "")
	}
	var selected <-chan mailbox.ModSeq
	var err error
	if s.notification != nil {
		selected, err = s.changes(watching)
	}
	if err == nil && selected != nil {
		err = tell() // what came before that
	}
	if err == nil {
		err = s.out.Flush()
	}
	if err == nil {
		err = s.hear(selected, tell)
	}
	s.closeForeign() // what telling opened
	if err == nil {
		err = s.in.Gone()
	}
	if err != nil {
		s.lose(ctx, err)
	}
}

// hear tells of changes until the client sends something or is gone.
func (s *session) hear(selected <-chan mailbox.ModSeq, tell func() error) error {
	heard := s.listenOn()
	defer s.listenNoMore(heard)
	for s.hint(heard, selected) {
		if err := tell(); err != nil {
			return err
		}
	}
	return nil
}

// listenOn has another goroutine wait until the client sends something or is gone: heard is closed then. Until then this one alone writes.
func (s *session) listenOn() (heard <-chan struct{}) {
	s.link.BeforeRead = nil
	c := make(chan struct{})
	go func() {
		defer close(c)
		s.link.Await()
		s.in.Wait()
		s.link.Begin()
	}()
	return c
}

// listenNoMore ends what listenOn began.
func (s *session) listenNoMore(heard <-chan struct{}) {
	select {
	case <-heard:
	default: // Telling failed: the session ends, also if the wait for the client has not begun yet.
		s.link.Stop()
		<-heard
	}
	s.link.BeforeRead = s.out.Flush
}

// hint waits for a hint that something may have changed. False: there is none before the client is heard.
func (s *session) hint(heard <-chan struct{}, selected <-chan mailbox.ModSeq) bool {
	if s.notification != nil {
		return s.hintOfMany(heard, selected)
	}
	select {
	case <-heard:
		return false
	case <-s.news:
		return true
	case _, open := <-selected:
		if !open { // the session is about to end
			<-heard
		}
		return open
	}
}

// hintOfMany is hint for a client that uses NOTIFY. It is apart since it takes more of the stack than an idle client shall cost.
func (s *session) hintOfMany(heard <-chan struct{}, selected <-chan mailbox.ModSeq) bool {
	followed := s.notification.accounts
	cases := []reflect.SelectCase{receive(heard), receive(selected), receive(s.news)}
	for _, f := range followed {
		cases = append(cases, receive(f.changes))
	}
	which, _, open := reflect.Select(cases)
	switch {
	case which == 0:
		return false
	case !open: // the session is about to end
		<-heard
		return false
	case which > 2:
		followed[which-3].news = true
	}
	return true
}

func receive[T any](from <-chan T) reflect.SelectCase {
	return reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(from)}
}

// changes are hints that the selected mailbox may have changed; none if there is no mailbox, or its account is followed.
func (s *session) changes(ctx context.Context) (<-chan mailbox.ModSeq, error) {
	if s.view == nil || s.notification != nil && s.notification.of(s.view.owner) != nil {
		return nil, nil
	}
	return s.view.account.Watch(ctx)
}

// tellNow sends what has changed, and a line after it.
func (s *session) tellNow(ctx context.Context, line string) error {
	return s.tellAll(ctx, telling{expunge: true}, line)
}

// tellAll sends what has changed, as far as it may be told now, and a line after it.
func (s *session) tellAll(ctx context.Context, t telling, line string) error {
	err := s.sync(ctx, t)
	if err == nil && s.view != nil {
		err = s.view.tellDelayed(s.out)
	}
	if err == nil {
		err = s.tellOthers(ctx)
	}
	if err != nil && !s.ended && s.out.Err() == nil { // The next change, or the next command, may find it better.
		s.log.Error("cannot look for changes", "err", err)
		err = nil
	}
	return errors.Join(err, s.out.WriteString(line), s.out.Flush())
}

// tellOthers tells of what is not in the selected mailbox.
func (s *session) tellOthers(ctx context.Context) error {
	if s.notification != nil {
		return s.tellNotices(ctx)
	}
	return s.tellAnnotated(ctx)
}
