// Package stage holds the admission stages: each looks at a message that a client has sent and says what is to become of it. A stage is
// a file; which of them run, and in what order, is the server's list.
//
// It must not know sessions, the spool, or what happens to a message later. The flow: at the first recipient, Start of every stage that can begin
// before the content is there; after the content, Judge of every stage in order, until one refuses or defers. A stage that cannot tell
// in time says so in its result; it never accepts what it was there to refuse.
package stage

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/emersion/go-msgauth/authres"

	"posthouse/crypto/dkim"
	"posthouse/mail"
	"posthouse/mail/smtp"
	"posthouse/mta/spf"
)

// Stage is one of the steps between a message's last octet and its commit.
type Stage interface {
	// Name is for the log, the envelope and the metrics; a constant.
	Name() string
	// Judge looks at a whole message. ctx ends when the time for all stages together is over.
	Judge(ctx context.Context, m *Message) Verdict
}

// Starter is a Stage that can begin when only the envelope's sender is known, and that somebody here is to get the message.
type Starter interface {
	Stage
	// Start begins beside the session, with m.Go. ctx ends with the transaction.
	Start(ctx context.Context, m *Message)
}

// Message is what a stage sees. Its owner calls Close when it is done with it.
type Message struct {
	Envelope *mail.Envelope // at Start only the sender and the origin are sure
	Header   *Header
	Content  io.ReaderAt // without the trace header that is yet to come
	Size     int64

	// What earlier stages found, for later ones.
	spf  spf.Answer
	dkim []dkim.Signature

	started chan spf.Answer // what Start of SPF promised; nil: nothing
	work    sync.WaitGroup
}

// Go runs f beside the session; Close waits for it.
func (m *Message) Go(f func()) { m.work.Go(f) }

// Close waits for what was started, which ends with the context it was given.
func (m *Message) Close() { m.work.Wait() }

// policyTime is what is left for the policy of the author's domain out of the time for all stages.
const policyTime = 3 * time.Second

// beforePolicy ends early enough for the policy to be looked up: otherwise a client would escape it by a domain of its own whose name
// servers are slow.
func beforePolicy(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, end.Add(-policyTime))
}

// Verdict is a stage's word on a message. Without a reply the message goes on to the next stage.
type Verdict struct {
	Result string // one word for the log and the envelope: pass, fail, none, signed, …
	Detail string // for the log and the envelope; never for the client
	// Reply refuses the message with a 5yz code, or defers it with a 4yz code.
	Reply smtp.Reply
	// Results go into the Authentication-Results field of this host (RFC 8601).
	Results []authres.Result
	// Fields are header fields, each ending in CRLF, to be put before the message.
	Fields []byte
}

// Accepts tells a verdict that lets the message go on.
func (v Verdict) Accepts() bool { return v.Reply.Code == 0 }
