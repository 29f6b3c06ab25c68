package imapd

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"posthouse/imapd/wire"
	"posthouse/mailbox"
)

// inProgress is INPROGRESS: RFC 9585.
func inProgress() extension { return extension{name: "INPROGRESS", rfc: "RFC 9585"} }

// progressInterval is how often a client that waits for an answer hears of it: RFC 9585 §4 recommends 10 to 15 seconds.
const progressInterval = 10 * time.Second

// progress is how far a command has come.
type progress struct {
	done atomic.Int64 // messages
	goal int64        // 0: not known
	next time.Time    // when the client is to be told; zero: progressInterval from now
}

// meanwhile runs a part of a command that may take long, in which nothing is written, and tells the client how far it is. A part that
// does not take long costs a timer.
func (s *session) meanwhile(p *progress, part func() error) error {
	if p.next.IsZero() {
		p.next = time.Now().Add(progressInterval)
	}
	var mu sync.Mutex // holds off the timer's goroutine; what part does needs no lock
	var timer *time.Timer
	over := false
	mu.Lock()
	timer = time.AfterFunc(time.Until(p.next), func() {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			s.tellProgress(s.tag, p)
			p.next = time.Now().Add(progressInterval)
			timer.Reset(progressInterval)
		}
	})
	mu.Unlock()
	defer func() {
		timer.Stop()
		mu.Lock()
		over = true
		mu.Unlock()
	}()
	return part()
}

// tellProgress tells how far a command has come. A tag with "]" is left out; numbers are there only while there is something left to
// do (RFC 9585 §4).
func (s *session) tellProgress(tag string, p *progress) {
	b := append(s.out.Available(), "* OK [INPROGRESS ("...)
	if strings.Contains(tag, "]") {
		b = append(b, "NIL "...)
	} else {
		b = append(wire.AppendString(b, tag), ' ')
	}
	if done := p.done.Load(); done < p.goal {
		b = wire.AppendNumber(append(wire.AppendNumber(b, done), ' '), p.goal)
	} else {
		b = append(b, "NIL NIL"...)
	}
	if s.out.Advance(append(b, ")] Still at it\r\n"...)) == nil {
		s.out.Flush() //nolint:errcheck // the command's end will know
	}
}

// apply makes changes that may take long, since they are of many messages.
func (s *session) apply(ctx context.Context, account mailbox.Account, changes ...mailbox.Mutation) (applied mailbox.Applied, err error) {
	s.acted = true
	err = s.meanwhile(&progress{}, func() error {
		applied, err = account.Apply(ctx, changes...)
		return err
	})
	return applied, err
}
