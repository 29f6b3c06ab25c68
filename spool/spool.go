// Package spool is the durable queue between accepting a message and delivering it. Nothing is answered 250 before Draft.Commit
// returned nil, and nothing leaves before Settle recorded what became of it.
//
// It must not know SMTP text, DNS, mailboxes or retry policy: it stores a due time and computes none.
//
// The flow: Create → Draft.Write … → Draft.Prepend → Draft.Commit, then Take → Open → Settle (Extend while it takes long), for each
// recipient until it is Delivered or Dead. The shape is a message queue's on purpose: append, lease, settle, dead letter.
//
// Durability: Commit and Settle return after the change is on stable storage; every caller waiting at that moment shares one
// transaction and one fdatasync. A lease lives until its time has passed or the spool is opened anew; its epoch fences a worker that
// lost it. The zero recipients of a message that are still ready, leased, held or dead keep its body; the last one done drops it.
package spool

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"posthouse/mail"
)

// Errors a Spool answers with.
var (
	ErrNotFound  = errors.New("spool: no such message")
	ErrLeaseLost = errors.New("spool: the lease was lost")
	ErrFull      = errors.New("spool: no space left")  // nothing was stored; try again later
	ErrFailed    = errors.New("spool: storage failed") // a write or sync failed: nothing more is accepted until a restart
	ErrClosed    = errors.New("spool: closed")
	ErrRepeated  = errors.New("spool: taken before") // by Envelope.Once: nothing was stored now
	// ErrBodiesAlone is a spool that is not opened: it would begin empty, and sweep what is left of its messages.
	ErrBodiesAlone = errors.New("spool: bodies of messages, and no queue that knows them")
)

// Spool is a durable queue with leases. All methods may be called from many goroutines.
type Spool interface {
	// Create begins a message. The draft is invisible until its Commit.
	Create(ctx context.Context, env mail.Envelope) (Draft, error)
	// Earlier is the message that was made durable under an Envelope.Once within KeepOnce; ErrNotFound: there is none.
	Earlier(ctx context.Context, once string) (mail.ID, error)
	// Take leases jobs that are due, at most w.Limit. With no w.Destination it blocks until there is one or ctx ends;
	// with one it returns at once, maybe with nothing.
	Take(ctx context.Context, w Want) ([]Job, error)
	// Open reads a message: trace header and body as one. The caller closes it.
	Open(ctx context.Context, id mail.ID) (mail.Content, error)
	// Settle records what became of the recipients of a lease and releases those it does not name, unchanged. The drafts (notices
	// that follow from the outcomes) are committed in the same transaction: all of it happens or nothing. A lease whose time has
	// passed can still be settled while nobody else took its recipients.
	Settle(ctx context.Context, l Lease, outcomes []Outcome, drafts ...Draft) error
	// Extend keeps a lease for d from now.
	Extend(ctx context.Context, l Lease, d time.Duration) error

	// Show is one message as it stands.
	Show(ctx context.Context, id mail.ID) (Entry, error)
	// List yields the messages that have a recipient that matches, oldest first, each with its matching recipients only.
	List(ctx context.Context, f Filter) iter.Seq2[Entry, error]
	// Change applies an operator's verb to every recipient that matches and is not leased, and tells how many changed.
	Change(ctx context.Context, f Filter, c Change) (int, error)
	// Scheduled is what an account submitted for later (its envelopes' NotBefore) and nothing of which was tried.
	Scheduled(ctx context.Context, account mail.AccountID) (Schedule, error)
	// Cancel drops such a message for all its recipients, without a notice. ErrNotFound: the account has none, or it is too late.
	Cancel(ctx context.Context, account mail.AccountID, id mail.ID) error

	// Trace yields the stories that match, newest first, of messages in the queue and of those that left it within Options.KeepHistory.
	Trace(ctx context.Context, q Query) iter.Seq2[Story, error]
	// Stats counts recipients by state and destination, at most limit destinations, the fullest first.
	Stats(ctx context.Context, limit int) (Stats, error)
	// Close waits for what is under way, then closes; leases end with it.
	Close() error
}

// Draft is a message being written: body first, since its verdicts are known only after it. One goroutine uses it.
type Draft interface {
	io.Writer
	io.ReaderAt // what was written so far, without what was prepended
	// Size is the octets written so far, without what was prepended.
	Size() int64
	// Prepend puts header fields (each ending in CRLF) before everything prepended or written so far.
	Prepend(fields []byte)
	// Envelope may be changed until Commit.
	Envelope() *mail.Envelope
	// Commit makes the message durable and due, at the envelope's NotBefore at the earliest. Its nil is the only road to "250", and its
	// ErrRepeated the other: a message with the same Envelope.Once was made durable within KeepOnce, and the ID is that one's.
	Commit(ctx context.Context) (mail.ID, error)
	// Abort forgets the draft; after Commit it does nothing.
	Abort() error
}

// State is where a recipient of a message stands.
type State uint8

// The states: a recipient begins Ready and ends Done; Dead waits for an operator or for Options.KeepDead to pass.
const (
	Ready  State = iota // waits for its due time
	Leased              // a worker has it
	Held                // waits for an operator
	Dead                // failed for good; the sender was told, or could not be
	Done                // delivered, or dropped by an operator
)

var stateNames = [...]string{"ready", "leased", "held", "dead", "done"}

func (s State) String() string { return stateNames[s] }

// MarshalText is String.
func (s State) MarshalText() ([]byte, error) { return []byte(stateNames[s]), nil }

// UnmarshalText reads what String writes.
func (s *State) UnmarshalText(text []byte) error {
	for i, name := range stateNames {
		if name == string(text) {
			*s = State(i)
			return nil
		}
	}
	return errors.New("spool: no state " + string(text))
}

// Recipient is one recipient of a message in the queue.
type Recipient struct {
	mail.Recipient
	N           int       `json:"n"` // its number in the message, from 0; names it for ever
	State       State     `json:"state"`
	Destination string    `json:"destination"` // what Options.Destination said of it
	Due         time.Time `json:"due"`         // of a dead one: when it is forgotten
	Since       time.Time `json:"since"`       // when its schedule began: at Commit, or when an operator brought it back from the dead
	Attempts    int       `json:"attempts"`
	LastAttempt time.Time `json:"last_attempt"`
	LastReply   string    `json:"last_reply,omitempty"` // the remote's words, or ours
	Warned      bool      `json:"warned,omitempty"`     // a delay notice was sent
}

// Entry is one message in the queue. The To of its envelope is left empty: Recipients says it all.
type Entry struct {
	mail.Envelope
	Size       int64       `json:"size"` // octets, trace header included
	Recipients []Recipient `json:"recipients"`
}

// Want says what a Take is for.
type Want struct {
	Limit       int           // at most so many jobs; > 0
	Lease       time.Duration // how long each is ours; > 0
	Destination string        // only this one, at once
	Skip        []string      // destinations that are busy
}

// Lease is the right to settle some recipients of a message.
type Lease struct {
	ID    mail.ID
	Epoch int64 // greater than that of every earlier lease
}

// Job is one message and those of its recipients that are due and go to one destination.
type Job struct {
	Lease
	Entry
	Destination string
}

// Result is what became of a recipient.
type Result uint8

// The results of an attempt.
const (
	Delivered Result = iota
	Retry            // again at Due
	Failed           // for good: becomes Dead
)

// Outcome is the result for one recipient of a job.
type Outcome struct {
	N      int
	Result Result
	Due    time.Time // of Retry
	Reply  string    // the remote's words, or ours; for queue list and trace
	Via    string    // host, address and TLS of the hop; for trace
	Warned bool      // a delay notice goes with it
}

// Filter selects recipients; its zero value selects all that are ready, leased or held.
type Filter struct {
	ID          mail.ID       // 0: any
	States      []State       // empty: ready, leased, held
	To, From    string        // shell patterns over addresses ("*@example.com"); empty: any
	Destination string        // empty: any
	Older       time.Duration // received at least so long ago
	Reply       string        // a part of the last reply, in any case
	Limit       int           // messages; 0: all
}

// Change is an operator's verb.
type Change uint8

// The verbs.
const (
	RetryNow Change = iota // ready or dead → ready, due now, whatever NotBefore says; a dead one begins its schedule anew
	Hold                   // ready → held
	Release                // held → ready
	Drop                   // any → done, without a notice
)

// Event is one line of a message's story.
type Event struct {
	Time      time.Time `json:"time"`
	Kind      string    `json:"kind"`      // received, delivered, retry, failed, held, released, requeued, dropped, noticed
	Recipient int       `json:"recipient"` // -1: the whole message
	Text      string    `json:"text"`
}

// Story is all that is known of one message.
type Story struct {
	Entry
	Events []Event `json:"events"`
}

// Query selects stories: by ID, else by an address in the envelope, else by Message-ID without its angle brackets.
type Query struct {
	ID        mail.ID
	Address   mail.Address
	MessageID string
	Limit     int // > 0
}

// Stats is the queue's depth.
type Stats struct {
	Recipients   map[State]int64
	Destinations []DestinationStats
}

// DestinationStats is one destination's depth.
type DestinationStats struct {
	Destination string
	State       State
	Recipients  int64
	Oldest      time.Time // received
}
