// Package hop is what the mover of mail and its transports say to each other: where a message goes next, for whom, and what became of it.
//
// It must not know sockets, mailboxes, the queue or retry policy. It holds values only: a Hop is a next step, a Task is a message and
// the recipients that take that step together, a Result is what became of one of them.
package hop

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"runtime/debug"
	"strconv"

	"posthouse/mail"
	"posthouse/mail/smtp"
)

// Kind is a way a message can go.
type Kind uint8

// The kinds of hops.
const (
	MX       Kind = iota // to the mail exchangers of a domain: RFC 5321 §5.1
	SMTP                 // to a host, with STARTTLS if it offers that
	SMTPS                // to a host, over TLS from the start
	LMTP                 // to a host by LMTP: RFC 2033
	LMTPUnix             // to a unix socket by LMTP
	Local                // into a mailbox of ours
	Dead                 // nowhere: it is parked for an operator
)

// Hop is where a message goes next. It is comparable: what goes to equal hops may share a connection.
type Hop struct {
	Kind Kind
	Host string // the domain of MX, the path of LMTPUnix
	Port uint16 // of SMTP, SMTPS and LMTP
	// Without are extensions that are not used there, whatever its hosts say.
	Without smtp.Extensions
	// Username and Password authenticate us; then the connection must be TLS with a certificate that is good for Host.
	Username, Password string
}

// kinds are the schemes of Parse, with their usual port.
var kinds = map[string]struct {
	kind Kind
	port uint16
}{
	"smtp": {SMTP, 25}, "smtps": {SMTPS, 465}, "lmtp": {LMTP, 24}, "lmtp+unix": {LMTPUnix, 0},
}

// Parse reads a route's via: smtp://host:port, smtps://host:port, lmtp://host:port, lmtp+unix:///path, local or dead.
func Parse(via string) (Hop, error) {
	switch via {
	case "local":
		return Hop{Kind: Local}, nil
	case "dead":
		return Hop{Kind: Dead}, nil
	}
	u, err := url.Parse(via)
	if err != nil {
		return Hop{}, fmt.Errorf("a route's via: %w", err)
	}
	k, ok := kinds[u.Scheme]
	if !ok || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return Hop{}, fmt.Errorf("a route's via: %q is none of smtp://host:port, smtps://host:port, lmtp://host:port, lmtp+unix:///path, local, dead", via)
	}
	if k.kind == LMTPUnix {
		if u.Host != "" || u.Path == "" {
			return Hop{}, fmt.Errorf("a route's via: %q is not lmtp+unix:///path", via)
		}
		return Hop{Kind: LMTPUnix, Host: u.Path}, nil
	}
	if u.Hostname() == "" || u.Path != "" && u.Path != "/" {
		return Hop{}, fmt.Errorf("a route's via: %q is not %s://host:port", via, u.Scheme)
	}
	port := k.port
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return Hop{}, fmt.Errorf("a route's via: %q is not a port", p)
		}
		port = uint16(n)
	}
	return Hop{Kind: k.kind, Host: u.Hostname(), Port: port}, nil
}

// String names the hop as the queue shows it; a domain stands for its mail exchangers. It has no credentials in it.
func (h Hop) String() string {
	switch h.Kind {
	case MX:
		return h.Host
	case Local:
		return "local"
	case Dead:
		return "dead"
	case LMTPUnix:
		return "lmtp+unix://" + h.Host
	}
	for scheme, k := range kinds {
		if k.kind == h.Kind {
			return scheme + "://" + net.JoinHostPort(h.Host, strconv.Itoa(int(h.Port)))
		}
	}
	return ""
}

// Task is one message on its way over one hop.
type Task struct {
	Envelope   *mail.Envelope // its To is not used
	Recipients []mail.Recipient
	Content    mail.Content
}

// Status is what became of a recipient.
type Status uint8

// The states after an attempt. Untried is no attempt at all: we were stopped before it.
const (
	Untried Status = iota
	Delivered
	Temporary // worth another try
	Permanent
)

// Result is what became of one recipient.
type Result struct {
	Status  Status
	Reply   smtp.Reply     // the remote's words, or ours in the same form
	Host    string         // who said it; empty: we did
	Via     string         // host, address and TLS of the connection, for trace
	Relayed bool           // the host was given no word of what notices the sender wants (RFC 3461 §5.2.2)
	Untimed bool           // the host was given no word of when to deliver (RFC 2852 §4.1.4.2)
	Targets []mail.Address // of Delivered: the address is an alias, and the message goes on to these
}

// StatusOf is the state that follows from a reply: RFC 5321 §4.2.1. What is neither 2yz nor 5yz is worth another try.
func StatusOf(r smtp.Reply) Status {
	switch {
	case r.Code >= 200 && r.Code < 300:
		return Delivered
	case r.Permanent():
		return Permanent
	default:
		return Temporary
	}
}

// Transport takes messages over hops. It may be called from many goroutines.
type Transport interface {
	// Deliver attempts every recipient, and returns a result for each, in their order. If ctx ends, those whose outcome is not known
	// are Untried.
	Deliver(ctx context.Context, h Hop, t Task) []Result
	// Close lets go of what is kept between messages.
	Close() error
}

// Panicked is the result of a recipient whose delivery made us panic: it is put off, and what happened is in the log. Called by a
// deferred function, it logs the stack of the panic.
func Panicked(log *slog.Logger, task Task, p any) Result {
	log.Error("panic in delivery", "mid", task.Envelope.ID, "panic", p, "stack", string(debug.Stack()))
	return Result{Status: Temporary, Reply: smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{4, 3, 0}, Text: "an error of ours, which is in the log"}}
}
