package mail

import (
	"io"
	"net/netip"
	"time"
)

// AccountID names an account inside one house: opaque, never reused, safe as a file name.
type AccountID string

// Content is one immutable message, readable many times and from many goroutines. The octets are canonical: every line ends in
// CRLF and no bare CR or LF is in it. Of a message whose Envelope says BodyBinaryMIME that is true of the header, and its body is what
// the client sent, octet for octet (RFC 3030 §3); whoever hands it to others converts it unless they take BINARYMIME too.
type Content interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Envelope is what travels beside a message: RFC 5321 §2.3.1 and the extensions that add to it.
type Envelope struct {
	ID       ID          `json:"id"`   // given by the spool
	From     Address     `json:"from"` // zero: the null reverse-path
	To       []Recipient `json:"to"`
	Body     Body        `json:"body"`
	UTF8     bool        `json:"utf8,omitempty"` // SMTPUTF8 was asked for: RFC 6531 §3.4
	TLS      TLSNeed     `json:"tls,omitempty"`
	Return   Return      `json:"return,omitempty"`
	EnvID    string      `json:"envid,omitempty"`    // RFC 3461 §4.4, decoded
	By       *DeliverBy  `json:"by,omitempty"`       // RFC 2852; nil: whenever it can be
	Priority Priority    `json:"priority,omitempty"` // RFC 6710
	Origin   Origin      `json:"origin"`
	Received time.Time   `json:"received"`
	// NotBefore is when the first attempt may be: RFC 4865. Zero: at once. Hold is how that was asked for, as notices say it (§5.1.2).
	NotBefore time.Time `json:"not_before,omitzero"`
	Hold      string    `json:"hold,omitempty"`
	// Once names the submission in its sender's own words, hashed: what the spool took with the same key is not taken again. Empty: it
	// has no name.
	Once string `json:"once,omitempty"`
	// Bcc are the Bcc fields that were taken out, each ending in CRLF, for the sender's own copy.
	Bcc string `json:"bcc,omitempty"`
	// Quarantined mail is delivered out of the way, into the Junk box.
	Quarantined bool `json:"quarantined,omitempty"`
	// MessageID is the Message-ID field's value without angle brackets, as far as there is one: a key to search by, nothing more.
	MessageID string `json:"message_id,omitempty"`
	// Verdicts is what the admission stages said, in their order, for trace.
	Verdicts []Verdict `json:"verdicts,omitempty"`
}

// Recipient is one forward-path.
type Recipient struct {
	Address  Address `json:"address"`
	Original string  `json:"original,omitempty"` // ORCPT "type;address", decoded: RFC 3461 §4.2; or the alias that led here
	Notify   Notify  `json:"notify,omitempty"`
	// Own is the sender's own copy, for the Sent box of the account whose address this is: it leaves the house for nobody.
	Own bool `json:"own,omitempty"`
}

// Origin is where a message came from.
type Origin struct {
	Protocol string         `json:"protocol"`          // a "with" word: ESMTP, ESMTPSA, LMTP, … (RFC 3848); "local" for our own notices
	Remote   netip.AddrPort `json:"remote"`            // zero for our own notices
	HELO     string         `json:"helo,omitempty"`    // what the client said in EHLO
	Account  AccountID      `json:"account,omitempty"` // the authenticated account
	Login    string         `json:"login,omitempty"`   // its login name
	Session  string         `json:"session,omitempty"` // sid of the log
}

// Verdict is one admission stage's word on a message.
type Verdict struct {
	Stage  string `json:"stage"`
	Result string `json:"result"`
	Detail string `json:"detail,omitempty"`
	Action string `json:"action,omitempty"` // tag, quarantine; empty: nothing was wrong
}

// The words of the verdict on a message that left with our signature; its Detail is the domain.
const (
	SignStage = "sign"
	Signed    = "signed"
)

// SignedFor is the domain whose keys signed the message when it came; empty: we did not sign it.
func (e *Envelope) SignedFor() string {
	for _, v := range e.Verdicts {
		if v.Stage == SignStage && v.Result == Signed {
			return v.Detail
		}
	}
	return ""
}

// Body is the BODY parameter of MAIL: RFC 6152, RFC 3030.
type Body uint8

// The body types; the zero value is 7BIT, the default of RFC 5321.
const (
	Body7Bit Body = iota
	Body8BitMIME
	BodyBinaryMIME
)

var bodyNames = [...]string{"7BIT", "8BITMIME", "BINARYMIME"}

func (b Body) String() string { return bodyNames[b] }

// TLSNeed is what the sender asked of every hop's TLS: RFC 8689.
type TLSNeed uint8

// The zero value leaves it to the policy of each hop.
const (
	TLSByPolicy TLSNeed = iota
	TLSRequired         // REQUIRETLS
	TLSIgnored          // TLS-Required: No
)

// DeliverBy is the BY parameter of MAIL, its seconds counted from the moment it came: RFC 2852 §4.
type DeliverBy struct {
	Time   time.Time `json:"time"`
	Notify bool      `json:"notify,omitempty"` // by-mode N: go on, and tell the sender; else R: return it
	Trace  bool      `json:"trace,omitempty"`  // by-trace: tell the sender of hosts that do not know of it
}

// Priority is the MT-PRIORITY of a message, from MinPriority to MaxPriority; zero is a message's that has none: RFC 6710 §4.1.
type Priority int8

// The bounds of a Priority.
const (
	MinPriority Priority = -9
	MaxPriority Priority = 9
)

// Return is the RET parameter of MAIL: RFC 3461 §4.3.
type Return uint8

// The zero value leaves it to the reporting server.
const (
	ReturnDefault Return = iota
	ReturnFull
	ReturnHeaders
)

// Notify is the NOTIFY parameter of RCPT, a set: RFC 3461 §4.1. The zero value is the default: failure and delay.
type Notify uint8

// Members of Notify; NotifyNever stands alone.
const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// Wants tells whether the recipient's sender wants a notice of the kind.
func (n Notify) Wants(kind Notify) bool {
	if n == 0 {
		n = NotifyFailure | NotifyDelay
	}
	return n&kind != 0
}
