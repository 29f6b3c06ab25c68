package imapd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"posthouse/internal/link"
)

// errand is what is left of a command that runs beside those that follow it: RFC 9051 §5.5. Its work is done by a goroutine of its own,
// which writes nothing and touches nothing of the session; what came of it the session tells when it is at leisure.
type errand struct {
	tag      string
	command  *command
	began    time.Time // the command
	progress *progress
	work     func(context.Context) error
	tell     func(context.Context) (reply, error) // after the work; it may leave another errand

	cancel   context.CancelFunc
	timer    *time.Timer // until the client is to hear how far it is
	ended    chan struct{}
	err      error  // of the work
	panicked string // with what, and where; empty: it did not
}

// leave has the rest of the command that runs done beside others. run returns after it, and what it returns is not answered.
func (s *session) leave(p *progress, work func(context.Context) error, tell func(context.Context) (reply, error)) {
	s.left = &errand{tag: s.tag, progress: p, work: work, tell: tell}
}

// respond answers a command, or begins what is left of it.
func (s *session) respond(ctx context.Context, c *command, r reply, began time.Time) {
	if e := s.left; e != nil {
		s.left = nil
		e.command, e.began = c, began
		err := s.await(ctx, maxErrands-1)
		if err == nil {
			s.begin(ctx, e)
			return
		}
		r = s.replyTo(err)
	}
	s.answer(ctx, c, r)
	if observe := s.server.opts.Observe.Command; observe != nil && c != nil {
		observe(c.name, r.status.String(), time.Since(began))
	}
}

// begin begins an errand.
func (s *session) begin(ctx context.Context, e *errand) {
	if s.news == nil {
		s.news = make(chan struct{}, 1)
	}
	news := s.news
	ctx, e.cancel = context.WithCancel(ctx)
	e.ended = make(chan struct{})
	e.timer = time.AfterFunc(time.Until(e.progress.next), func() { giveHint(news) })
	s.errands = append(s.errands, e)
	go func() {
		defer giveHint(news)
		defer close(e.ended)
		defer func() {
			if r := recover(); r != nil {
				e.panicked = fmt.Sprintf("%v, at\n%s", r, debug.Stack())
			}
		}()
		e.err = e.work(ctx)
	}()
}

// giveHint has a session look at its errands.
func giveHint(news chan<- struct{}) {
	select {
	case news <- struct{}{}:
	default: // it is going to
	}
}

// conclude answers for the errands that have ended, and tells how far the others are. It fails when the session has ended.
func (s *session) conclude(ctx context.Context) error {
	for _, e := range slices.Clone(s.errands) {
		select {
		case <-e.ended:
			s.finish(ctx, e)
		default:
			if now := time.Now(); !now.Before(e.progress.next) {
				s.tellProgress(e.tag, e.progress)
				e.progress.next = now.Add(progressInterval)
				e.timer.Reset(progressInterval)
			}
		}
		if s.ended {
			return link.ErrClosing
		}
	}
	return nil
}

// finish answers for an errand that has ended. A panic of it is the session's.
func (s *session) finish(ctx context.Context, e *errand) {
	s.errands = slices.DeleteFunc(s.errands, func(other *errand) bool { return other == e })
	e.stop()
	if e.panicked != "" {
		panic(e.panicked)
	}
	defer func(tag string) { s.tag = tag }(s.tag)
	s.tag, s.acted = e.tag, false
	r, err := reply{}, e.err
	if err == nil {
		r, err = e.tell(ctx)
	}
	if err != nil {
		r = s.replyTo(err)
	}
	s.respond(ctx, e.command, r, e.began)
}

func (e *errand) stop() {
	e.timer.Stop()
	e.cancel()
}

// await answers for errands as they end, until so many at most are left.
func (s *session) await(ctx context.Context, most int) error {
	for len(s.errands) > most {
		if err := s.out.Flush(); err != nil {
			return err
		}
		<-s.news
		if err := s.conclude(ctx); err != nil {
			return err
		}
	}
	return nil
}

// settle is the end of the errands of a session from which nothing more can be read. A client that may be there still has their answers;
// what is done for nobody is given up.
func (s *session) settle(ctx context.Context, lost error) {
	if !s.link.Stopping() && !errors.Is(lost, os.ErrDeadlineExceeded) {
		for _, e := range s.errands {
			e.cancel()
		}
	}
	s.await(ctx, 0) //nolint:errcheck // the session ends in any case
}

// abandon gives up the errands, and waits for them.
func (s *session) abandon() {
	for _, e := range s.errands {
		e.stop()
	}
	for _, e := range s.errands {
		<-e.ended
	}
	s.errands = nil
}

// mayExpunge tells whether EXPUNGE may be told as far as errands are concerned. They are searches, whose keys and answers have sequence
// numbers, and of those by UID the keys at least (RFC 9051 §5.5, §7.5.1; RFC 7162 §3.2.10): only with UIDONLY there are none.
func (s *session) mayExpunge() bool { return len(s.errands) == 0 || s.client.uidOnly }
