package mta

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/netip"
	"time"

	"posthouse/crypto/dkim"
	"posthouse/directory"
	"posthouse/directory/sasl"
	"posthouse/internal/dns"
	"posthouse/mail"
	"posthouse/mail/smtp"
	"posthouse/spool"
)

// Kind is what a server is for.
type Kind uint8

// The kinds of server.
const (
	MX          Kind = iota // mail from other servers, for our domains: RFC 5321
	Submission              // mail from our users, who authenticate: RFC 6409
	Submissions             // the same with TLS from the first octet: RFC 8314 §3.3
	LMTP                    // mail for our domains from a server beside us, a reply for each recipient: RFC 2033
)

// traits are what a kind means for the session.
type traits struct {
	name        string // in the log
	service     string // in the greeting: RFC 5321 §4.3.1, RFC 2033 §4
	protocol    string // the stem of the "with" word: RFC 3848
	submission  bool   // MAIL needs AUTH, and the message is made whole
	implicitTLS bool
	lmtp        bool // LHLO, and replies per recipient
}

var kinds = [...]traits{
	MX:          {name: "smtp", service: "ESMTP", protocol: "SMTP"},
	Submission:  {name: "submission", service: "ESMTP", protocol: "SMTP", submission: true},
	Submissions: {name: "submissions", service: "ESMTP", protocol: "SMTP", submission: true, implicitTLS: true},
	LMTP:        {name: "lmtp", service: "LMTP", protocol: "LMTP", lmtp: true},
}

func (k Kind) String() string { return kinds[k].name }

// Options say what a server is.
type Options struct {
	Kind      Kind
	Hostname  string // our name in greetings, trace fields and Authentication-Results; needed
	Spool     spool.Spool
	Directory directory.Directory
	// Auth lets users in. The fronts of a house share one, which knows who guesses. nil: one that has what Directory alone gives.
	Auth *sasl.Authenticator
	// Resolver is asked by SPF, DKIM and DMARC. nil: mail from outside is taken without asking who sent it.
	Resolver dns.Resolver
	// Signer is the DKIM signer of an author's domain, nil for a domain without keys. The field nil: nothing is signed.
	Signer func(domain string) *dkim.Signer
	// MonitorDMARC takes mail that its author's domain asks to refuse (p=reject), and only notes the result.
	MonitorDMARC bool
	// Admission says which stages judge mail. Zero: those named there, as far as there is a Resolver, a Signer.
	Admission Admission
	// Clients remembers who connects, for all servers of a house. nil: nobody is remembered.
	Clients *Clients
	// Tarpit lets clients that err wait.
	Tarpit Tarpit
	// Postmaster gets what is sent to "<postmaster>" without a domain (RFC 5321 §4.5.1). Zero: nobody does.
	Postmaster mail.Address
	// TLS offers STARTTLS, or is spoken from the start. nil: no TLS; Submissions need it.
	TLS *tls.Config
	// AllowPlaintextAuth lets users authenticate without TLS: on a loopback in development, and nowhere else.
	AllowPlaintextAuth bool
	// RelayFrom are networks whose clients may send to anywhere without AUTH, and are believed to be who they say. Empty: none.
	RelayFrom []netip.Prefix
	// Lacks tells whether the next hop of a recipient is known not to offer all of some extensions. nil: nothing is known.
	Lacks func(ctx context.Context, from, to mail.Address, x smtp.Extensions) bool
	// XClientFrom are networks of proxies and filters that may say whose session or message it is, by XCLIENT and XFORWARD. Empty: none.
	XClientFrom []netip.Prefix
	// Queues are the domains, in canonical form, whose mail ETRN has us try at once, for our users and for QueuesFor. Empty: no ETRN.
	Queues    []string
	QueuesFor []netip.Prefix
	// ShowClients puts the name and the address of our users' clients into the Received field. They are in the log in any case.
	ShowClients bool
	// UndoWindow is how long what our users submit waits before it goes, so that they can take it back. 0: not at all.
	UndoWindow time.Duration
	// DSN offers RFC 3461. Only where what is delivered or relayed is also reported as asked.
	DSN    bool
	Limits Limits
	Log    *slog.Logger // nil: none
}

// Limits bound what peers may cost. Zero fields are the defaults.
type Limits struct {
	MessageSize        int64         // octets of a message; 0: 50 MB
	HeaderSize         int           // octets of its header; 0: 100 KiB
	Recipients         int           // RCPT commands taken per message; 0: 1000 (RFC 5321 §4.5.3.1.8: at least 100)
	Messages           int           // MAIL commands in a session; 0: 100,000
	Hops               int           // Received fields; 0: 50. RFC 5321 §6.3 advises 100; no path of real mail comes near either
	Sessions           int           // open at once; 0: 10,000
	SessionsPerNetwork int           // of one IPv4 address or IPv6 /64, but for RelayFrom; 0: 100
	Errors             int           // 5yz replies in a session, since the last message; 0: 20
	Junk               int           // commands that lead nowhere, since the last message; 0: 100
	AuthFailures       int           // in a session; 0: 3
	CommandTime        time.Duration // waiting for a command; 0: 5 min (RFC 5321 §4.5.3.2.7)
	DataTime           time.Duration // waiting for the next block of message data; 0: 5 min (RFC 5321 §4.5.3.2.5: at least 3)
	MessageTime        time.Duration // receiving one message, all in all; 0: 1 h
	WriteTime          time.Duration // a client that does not read; 0: 1 min
	HandshakeTime      time.Duration // of TLS; 0: 30 s
	LookupTime         time.Duration // all stages that only look something up, together; 0: 10 s
}

// Limits that are no one's choice.
const (
	maxTold      = 60       // refused connections a minute that are in the log unless it is for debugging
	maxExpanded  = 10_000   // recipients of a message after its aliases are expanded
	maxSkip      = 64 << 10 // octets of an endless line that are read away
	maxOut       = 16 << 10 // octets of replies that wait while more commands are there
	lingerTime   = time.Second
	barredTime   = 30 * time.Second // for a client that was refused before the greeting to quit: RFC 5321 §3.1
	lingerOctets = 256 << 10        // what a client that we hang up on may still have under way
)

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (l Limits) withDefaults() Limits {
	orDefault(&l.MessageSize, 50_000_000)
	orDefault(&l.HeaderSize, 100<<10)
	orDefault(&l.Recipients, 1000)
	orDefault(&l.Messages, 100_000)
	orDefault(&l.Hops, 50)
	orDefault(&l.Sessions, 10_000)
	orDefault(&l.SessionsPerNetwork, 100)
	orDefault(&l.Errors, 20)
	orDefault(&l.Junk, 100)
	orDefault(&l.AuthFailures, 3)
	orDefault(&l.CommandTime, 5*time.Minute)
	orDefault(&l.DataTime, 5*time.Minute)
	orDefault(&l.MessageTime, time.Hour)
	orDefault(&l.WriteTime, time.Minute)
	orDefault(&l.HandshakeTime, 30*time.Second)
	orDefault(&l.LookupTime, 10*time.Second)
	return l
}
