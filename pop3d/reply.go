package pop3d

import (
	"context"
	"errors"

	"posthouse/directory"
	"posthouse/directory/sasl"
	"posthouse/internal/link"
	"posthouse/mailbox"
)

// reply is the first line of an answer (RFC 1939 §3), which is also what a command fails with.
type reply struct {
	status status
	code   string // an extended response code without its brackets: RFC 2449 §8
	text   string
}

// status tells +OK from -ERR, and errors of the client from others: too many of those end the session.
type status uint8

const (
	statusOK status = iota
	statusERR
	statusBad
)

var statusNames = [...]string{"+OK", "-ERR", "-ERR"}

func (s status) String() string { return statusNames[s] }

func (r reply) Error() string { return r.status.String() + " [" + r.code + "] " + r.text }

func ok(text string) reply       { return reply{status: statusOK, text: text} }
func no(code, text string) reply { return reply{statusERR, code, text} }
func bad(text string) reply      { return reply{statusBad, "", text} }

// append writes it. A text without a code never begins with a bracket: RFC 2449 §6.4.
func (r reply) append(b []byte) []byte {
	b = append(b, r.status.String()...)
	if r.code != "" {
		b = append(b, " ["...)
		b = append(b, r.code...)
		b = append(b, ']')
	}
	b = append(b, ' ')
	b = append(b, r.text...)
	return append(b, "\r\n"...)
}

// What commands answer beside what follows from errors of others.
var (
	errUnknownCommand = bad("Unknown command")
	errState          = bad("Not in this state")
	errLine           = bad("The line is too long")
	errLineEnd        = bad("A line ends in CRLF, and has no other CR or LF")
	errArguments      = bad("Not the arguments of that command")
	errUserFirst      = bad("USER first")
	errUTF8           = bad("Not UTF-8")
	errTLSOn          = bad("TLS is on already")
	errNoTLS          = no("", "There is no TLS here")
	errNoMessage      = no("", "No such message")
	errDeleted        = no("", "The message is marked as deleted")
	errNeedsUTF8      = no("UTF8", "The message cannot be had without UTF8") // RFC 6856 §5
	errNotRemoved     = no("SYS/TEMP", "Deleted messages not removed")       // RFC 1939 §6
	errServerBug      = no("SYS/TEMP", "Internal error")
)

// replies says what errors of other rooms are to a client: [AUTH] if its credentials are to blame (RFC 3206 §5), [SYS] if we are (§4). It
// is the only place that does; a test enumerates every sentinel.
var replies = []struct {
	err   error
	reply reply
	grave bool // for the log
}{
	{mailbox.ErrNoBlob, no("", "The message was removed meanwhile"), false},
	{mailbox.ErrFull, no("SYS/TEMP", "No space left; try again later"), true},
	{mailbox.ErrFailed, no("SYS/TEMP", "Storage failed; try again later"), true},
	{mailbox.ErrCorrupt, no("SYS/PERM", "Mailbox damaged"), true},
	{mailbox.ErrClosed, no("SYS/TEMP", "Closing; try again later"), false},
	{mailbox.ErrNoBox, errServerBug, true}, // no question of ours leads to these
	{mailbox.ErrBoxExists, errServerBug, true},
	{mailbox.ErrBoxName, errServerBug, true},
	{mailbox.ErrInbox, errServerBug, true},
	{mailbox.ErrHasChildren, errServerBug, true},
	{mailbox.ErrSpecialUse, errServerBug, true},
	{mailbox.ErrGrantee, errServerBug, true},
	{mailbox.ErrReadOnly, errServerBug, true},
	{mailbox.ErrOverQuota, errServerBug, true},
	{mailbox.ErrLimit, errServerBug, true},

	{link.ErrClosing, no("SYS/TEMP", "Closing; try again later"), false},
	{link.ErrFull, no("SYS/TEMP", "Too many sessions; try again later"), false},
	{link.ErrNetworkFull, no("SYS/TEMP", "Too many sessions from your network"), false},
	{link.ErrUserFull, no("IN-USE", "Too many sessions of this account"), false}, // RFC 2449 §8.1.2

	{directory.ErrCredentials, no("AUTH", "Wrong name or password"), false},
	{directory.ErrDisabled, no("AUTH", "The account is disabled"), false},
	{directory.ErrUnavailable, no("SYS/TEMP", "Cannot authenticate now; try again later"), true},
	{sasl.ErrMechanism, no("", "Unknown authentication mechanism"), false},
	{sasl.ErrUnprotected, no("", "Use TLS to log in"), false},
	{sasl.ErrResponse, bad("Not a response of that mechanism"), false},
	{sasl.ErrBase64, bad("Not base64"), false},
	{sasl.ErrCanceled, no("", "Authentication canceled"), false},
	{sasl.ErrBinding, no("AUTH", "Wrong name or password"), true},
	{sasl.ErrAuthorization, no("AUTH", "Only as yourself"), false},
	{sasl.ErrThrottled, no("SYS/TEMP", "Too many failures; try again later"), false}, // another password would not help
	{directory.ErrNotLocal, errServerBug, true},
	{directory.ErrNoAddress, errServerBug, true},
	{directory.ErrNoAccount, errServerBug, true},
	{directory.ErrNoDomain, errServerBug, true},
	{directory.ErrExists, errServerBug, true},
	{directory.ErrNotOwner, errServerBug, true},
	{directory.ErrAliasLoop, errServerBug, true},
	{directory.ErrTooMany, errServerBug, true},
	{directory.ErrNoEntry, errServerBug, true},
	{directory.ErrRate, errServerBug, true},
	{directory.ErrDeclared, errServerBug, true},
	{directory.ErrShared, errServerBug, true},
	{directory.ErrScope, errServerBug, true},

	{context.Canceled, no("SYS/TEMP", "Closing; try again later"), false},
	{context.DeadlineExceeded, no("SYS/TEMP", "Timed out; try again later"), true},
}

// replyTo is the reply that an error means.
func replyTo(err error) reply {
	r, _ := look(err)
	return r
}

// look is the reply that an error means, and whether the log should know.
func look(err error) (r reply, grave bool) {
	if errors.As(err, &r) {
		return r, r == errServerBug
	}
	for _, known := range replies {
		if errors.Is(err, known.err) {
			return known.reply, known.grave
		}
	}
	return errServerBug, true
}
