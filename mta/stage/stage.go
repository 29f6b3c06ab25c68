// Package stage holds the admission stages: each looks at a client, or at a message that it sends, and says what is to become of it. A stage
// is a file; which of them run, and in what order, is the server's list.
//
// It must not know sessions, the spool, or what happens to a message later. The flow follows the session's phases, and a stage takes part in
// those whose interface it has: Connect before the greeting, Hello, Mail, Rcpt; at the first recipient Start of every stage that can begin
// before the content is there; after the content, Judge; when the message is safe, Taken. In each phase the stages are asked in their
// order, until one refuses or defers. A stage that cannot tell in time says so in its result; it never accepts what it was there to refuse.
package stage

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-msgauth/authres"

	"posthouse/crypto/dkim"
	"posthouse/mail"
	"posthouse/mail/smtp"
	"posthouse/mta/spf"
)

// Stage is one of the steps between a connection and the commit of its message. It has one or more of the phases below.
type Stage interface {
	// Name is for the log, the envelope and the metrics; a constant.
	Name() string
}

// ConnectStage judges a client before it is greeted.
type ConnectStage interface {
	Stage
	Connect(ctx context.Context, c *Client) Verdict
}

// HelloStage judges what a client says of itself, each time it does.
type HelloStage interface {
	Stage
	Hello(ctx context.Context, c *Client) Verdict
}

// MailStage judges a sender. Of the message's envelope, the recipients are not there yet.
type MailStage interface {
	Stage
	Mail(ctx context.Context, m *Message) Verdict
}

// RcptStage judges a recipient that is known to be one, as the client named it.
type RcptStage interface {
	Stage
	Rcpt(ctx context.Context, m *Message, to mail.Address) Verdict
}

// DataStage judges a whole message. Those that are not Patient share one time, after which ctx ends.
type DataStage interface {
	Stage
	Judge(ctx context.Context, m *Message) Verdict
}

// TakenStage hears of each message that was taken: that it is durable, and the client is about to be told so.
type TakenStage interface {
	Stage
	Taken(m *Message)
}

// Starter is a DataStage that can begin when only the envelope's sender is known, and that somebody here is to get the message.
type Starter interface {
	DataStage
	// Start begins beside the session, with m.Go. ctx ends with the transaction.
	Start(ctx context.Context, m *Message)
}

// Patient is a DataStage that takes a time of its own, since it does more than to look something up.
type Patient interface {
	DataStage
	Patience() time.Duration
}

// Client is what a stage sees of the session's other end. Its owner calls Close when the session ends.
type Client struct {
	Remote, Local netip.AddrPort // zero: the connection has none
	Session       string         // sid of the log
	HELO          string         // empty: it has not greeted yet
	TLS           TLS
	Login         string // of the account, once it has authenticated
	Mechanism     string // by which it did
	// TalksFirst waits before the greeting, and tells whether the client says something meanwhile. nil: it cannot be told.
	TalksFirst func(wait time.Duration) bool

	reverse reverse // what IPRev found; zero: nothing yet
	filters map[*Milter]*conversation
}

// TLS is what is known of the session's encryption; the zero value is none.
type TLS struct{ Version, Cipher string }

// Close ends what stages keep for the session: it is over, or is another client's from here on.
func (c *Client) Close() {
	c.reverse = reverse{}
	for _, f := range c.filters {
		f.close()
	}
	c.filters = nil
}

// Draft is a place for a message that a stage writes anew.
type Draft interface {
	io.Writer
	io.ReaderAt
	Size() int64
}

// Edit is how a stage changes a message.
type Edit struct {
	Content     Draft         // in the place of the message's, of NewDraft; nil: that stays
	From        *mail.Address // another sender
	Add, Remove []mail.Address
}

// Message is what a stage sees of a transaction. Its owner calls Close when it is done with it.
type Message struct {
	Client   *Client
	Envelope *mail.Envelope // before Judge only the sender and the origin are sure
	Header   *Header
	Content  io.ReaderAt // without the trace header that is yet to come
	Size     int64
	// NewDraft makes room for a message in the place of this one, or for a part of it. Its owner forgets what no Edit names.
	NewDraft func(ctx context.Context) (Draft, error)
	MaxSize  int64 // of what is written to it

	// What earlier stages found, for later ones.
	spf   spf.Answer
	dkim  []dkim.Signature
	named []mail.Address // by RCPT, as Recipient counts them

	started chan spf.Answer // what Start of SPF promised; nil: nothing
	reverse chan reverse    // what Start of IPRev promised; nil: nothing
	work    sync.WaitGroup
	crash   atomic.Pointer[crash] // of what was begun beside the session
}

// crash is a panic.
type crash struct {
	reason any
	stack  []byte
}

// String is for the log.
func (c *crash) String() string { return fmt.Sprintf("%v\n%s", c.reason, c.stack) }

// Go runs f beside the session; Close waits for it. A panic is kept for the stage that waits for what f was to bring.
func (m *Message) Go(f func()) {
	m.work.Go(func() {
		defer func() {
			if r := recover(); r != nil {
				m.crash.CompareAndSwap(nil, &crash{r, debug.Stack()})
			}
		}()
		f()
	})
}

// promise runs f beside the session; what it finds comes over the channel, which is closed without if f panics.
func promise[T any](m *Message, f func() T) chan T {
	found := make(chan T, 1)
	m.Go(func() {
		defer close(found)
		found <- f()
	})
	return found
}

// kept is what came over the channel of a promise. A panic there is one here, where the session sees to it.
func kept[T any](m *Message, v T, ok bool) T {
	if !ok {
		panic(m.crash.Load())
	}
	return v
}

// Close waits for what was started, which ends with the context it was given, and tells filters that the message is over.
func (m *Message) Close() {
	m.work.Wait()
	if m.Client == nil {
		return
	}
	for _, f := range m.Client.filters {
		f.endMessage()
	}
}

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

// Action is what a verdict does with the mail, from the mildest to the hardest.
type Action uint8

// The actions.
const (
	Accept     Action = iota // nothing is wrong, or nothing is known
	Tag                      // something is wrong: it is noted, and the mail goes on
	Quarantine               // the message is accepted, and marked for the Junk box
	Defer                    // 4yz: not now
	Refuse                   // 5yz
	Actions    = iota        // how many there are
)

var actionNames = [Actions]string{"accept", "tag", "quarantine", "defer", "refuse"}

func (a Action) String() string { return actionNames[a] }

// ParseAction reads what String writes.
func ParseAction(s string) (Action, error) {
	if i := slices.Index(actionNames[:], s); i >= 0 {
		return Action(i), nil
	}
	return 0, fmt.Errorf("%q is none of %s", s, strings.Join(actionNames[:], ", "))
}

// Verdict is a stage's word. The zero value accepts, and is noted nowhere but in the metrics.
type Verdict struct {
	Action Action
	Result string // one word for the log and the envelope: pass, fail, none, signed, …
	Detail string // for the log and the envelope; never for the client
	// Reply is what a refused or deferred client hears: a 5yz or a 4yz code, as its Action says.
	Reply smtp.Reply
	// Results go into the Authentication-Results field of this host (RFC 8601).
	Results []authres.Result
	// Fields are header fields, each ending in CRLF, to be put before the message.
	Fields []byte
	// Edit changes the message before the next stage sees it; nil: it stays as it is.
	Edit *Edit
}

// Accepts tells a verdict that lets the mail go on.
func (v Verdict) Accepts() bool { return v.Action < Defer }

// answered is the verdict that refuses or defers by a reply.
func (v Verdict) answered(r smtp.Reply) Verdict {
	v.Action, v.Reply = Refuse, r
	if r.Temporary() {
		v.Action = Defer
	}
	return v
}

// by is the verdict with the action that is configured; refusal is the reply to a client that is refused.
func (v Verdict) by(a Action, refusal smtp.Reply) Verdict {
	switch a {
	case Defer: // the same class of trouble, but for now: RFC 3463 §2
		refusal.Code, refusal.Enhanced[0] = 450, 4
		return v.answered(refusal)
	case Refuse:
		return v.answered(refusal)
	}
	v.Action = a
	return v
}
