package mime

// Limits of a structure; what is beyond is content of the part that holds it.
const (
	MaxDepth     = 100       // levels of multipart and message/rfc822
	MaxParts     = 10_000    // in all
	MaxHeader    = 256 << 10 // octets of one part's header that are looked at
	MaxParams    = 100       // parameters of one field
	MaxParam     = 4096      // octets of one parameter's value, continuations (RFC 2231) joined
	MaxBoundary  = 200       // octets; RFC 2046 §5.1.1 says 70, senders exceed it
	MaxAddresses = 2000      // of one envelope field
	MaxField     = 32 << 10  // octets of one unfolded field that are kept
	MaxKept      = 1 << 20   // octets of all values kept, of all parts together; values beyond are left out
)

// Span is a range of the message's octets.
type Span struct{ Off, Len int64 }

// End is the offset after the span.
func (s Span) End() int64 { return s.Off + s.Len }

// Param is one parameter of Content-Type or Content-Disposition: the name in lower case, the value decoded (RFC 2231).
type Param struct{ Name, Value string }

// Part is one part of a message; the message itself is the first.
type Part struct {
	Header      Span   // its header with the empty line
	Body        Span   // its content, as sent
	Type        string // lower case; "text" if none was given
	Subtype     string // lower case
	Params      []Param
	ID          string // Content-ID, with its angle brackets
	Description string
	Encoding    string // lower case; "7bit" if none was given
	MD5         string
	Disposition string // lower case
	DispParams  []Param
	Language    []string
	Location    string
	Lines       int64     // line ends in Body
	Parts       []*Part   // of a multipart: never empty, however broken it is
	Message     *Part     // of message/rfc822 and message/global: the message inside
	Envelope    *Envelope // of a message (the first part, and every Message)
}

// Envelope is the structure of RFC 9051 §7.5.2 ENVELOPE: the values as in the header, unfolded, encoded words left alone.
type Envelope struct {
	Date, Subject         string
	From, Sender, ReplyTo []Address
	To, Cc, Bcc           []Address
	InReplyTo, MessageID  string
	Present               Present
}

// Present tells an empty field from one that is not there (RFC 9051 §7.5.2 makes the one "" and the other NIL).
type Present uint8

// Members of Present.
const (
	HasDate Present = 1 << iota
	HasSubject
	HasInReplyTo
	HasMessageID
)

// Address is one address of a header field, or the start or end of a group (RFC 9051 §7.5.2: Host is nil, then Mailbox is the
// group's name or nil).
type Address struct {
	Name, Mailbox, Host string
	Group               Group
}

// Group tells an address from the marks around a group.
type Group uint8

// The kinds of an Address.
const (
	NoGroup Group = iota
	GroupStart
	GroupEnd
)
