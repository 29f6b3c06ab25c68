package mail

import (
	"io"
	"net/netip"
	"time"
)

// AccountID names an account inside one house: opaque, never reused, safe as a file name.
type AccountID string

// Content is one immutable message, readable many times and from many goroutines. The octets are canonical: every line ends in
// CRLF and no bare CR or LF is in it.
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
	EnvID    string      `json:"envid,omitempty"` // RFC 3461 §4.4, decoded
	Origin   Origin      `json:"origin"`
	Received time.Time   `json:"received"`
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
