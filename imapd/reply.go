package imapd

import (
	"context"
	"errors"
	"strconv"

	"posthouse/directory"
	"posthouse/directory/sasl"
	"posthouse/imapd/wire"
	"posthouse/internal/link"
	"posthouse/mailbox"
)

// reply is a status response (RFC 9051 §7.1), which is also what a command fails with. The zero value is an OK.
type reply struct {
	status status
	code   string // without its brackets
	text   string // a constant; empty after an OK: the command is completed
}

// status is the first word of a reply.
type status uint8

const (
	statusOK status = iota
	statusNO
	statusBAD
)

var statusNames = [...]string{"OK", "NO", "BAD"}

func (s status) String() string { return statusNames[s] }

func (r reply) Error() string { return r.status.String() + " [" + r.code + "] " + r.text }

func done(code string) reply     { return reply{code: code} }
func no(code, text string) reply { return reply{statusNO, code, text} }
func bad(text string) reply      { return reply{statusBAD, "", text} }

// append writes it after its tag or "*".
func (r reply) append(b []byte) []byte {
	b = append(b, ' ')
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
	errUIDRequired    = reply{statusBAD, "UIDREQUIRED", "Only UIDs are known"}
	errUnknownCommand = bad("Unknown command")
	errTag            = bad("A command begins with a tag of at most 128 characters and a space")
	errState          = bad("Not in this state")
	errTLSOn          = bad("TLS is on already")
	errNoTLS          = no("CANNOT", "There is no TLS here")
	errReadOnly       = no("NOPERM", "The mailbox is selected read-only")
	errNoPerm         = no("NOPERM", "Not allowed")
	errIdentifier     = bad("Not an identifier")
	errRights         = bad("Not rights")
	errNobody         = no("CANNOT", "Nobody logs in by that name")
	errOwner          = no("CANNOT", "The owner has all rights")
	errReserved       = no("CANNOT", "That name is for mailboxes of others")
	errOtherOwner     = no("CANNOT", "A mailbox stays with its owner")
	errNumber         = bad("No message has that number")
	errUTF7           = no("CANNOT", "Mailbox names are in modified UTF-7, until IMAP4rev2 is enabled")
	errUTF8           = no("CANNOT", "Mailbox names are in UTF-8")
	errTryCreate      = no("TRYCREATE", "No such mailbox")
	errUseAttr        = no("USEATTR", "A mailbox cannot have that use")
	errTooBig         = no("TOOBIG", "The message is too big")
	errBinary         = no("UNKNOWN-CTE", "Messages with NUL octets are not kept")
	errNUL            = bad("A NUL is in the message")
	errUnknownCTE     = no("UNKNOWN-CTE", "The part's encoding cannot be decoded")
	errNotLeaf        = no("CANNOT", "Only parts without parts of their own are decoded")
	errGone           = no("EXPUNGEISSUED", "Some of the messages are expunged")
	errCharset        = no("BADCHARSET (US-ASCII UTF-8)", "Unknown charset")
	errNoCharset      = bad("All is UTF-8")
	errTooMany        = bad("Too many arguments")
	errOption         = bad("Unknown option")
	errVanished       = bad("VANISHED goes with CHANGEDSINCE in UID FETCH, after ENABLE QRESYNC")
	errQResync        = bad("ENABLE QRESYNC first")
	errKnown          = bad("Expected a set of numbers")
	errTwoParts       = bad("PARTIAL goes once, and without ALL")
	errNotOne         = bad("Expected one message")
	errCompressed     = no("COMPRESSIONACTIVE", "DEFLATE is active")
	errNotFuzzy       = bad("RELEVANCY goes with the search key FUZZY")
	errSortKey        = bad("Unknown sort criterion")
	errAlgorithm      = bad("Unknown threading algorithm")
	errQuotaLimit     = no("LIMIT", "Not a limit that can be set")
	errResource       = no("CANNOT", "There is no such resource")
	errQuotaRoot      = no("NONEXISTENT", "There is no such quota root")
	errEntry          = bad("Entries begin with /private/ or /shared/")
	errManyEntries    = no("METADATA TOOMANY", "Too many entries")
	errUnsignable     = bad("Not a URL that can be signed")
	errURLMechanism   = bad("Unknown URL authorization mechanism")
	errLongValue      = no("METADATA MAXSIZE "+strconv.Itoa(mailbox.MaxAnnotation), "The value is too long")
	errDone           = bad("Expected DONE")
	errItem           = bad("Unknown data item")
	errKey            = bad("Unknown search key")
	errFilterName     = bad("The name of a filter has no slash")
	errFilter         = no("CANNOT", "Not a filter's name, or not search criteria")
	errNotSaved       = no("NOTSAVED", "Too many messages to keep in \"$\"")
	errSource         = bad("Unknown mailbox specifier")
	errSaveSelected   = bad("SAVE is for the selected mailbox alone")
	errManyMailboxes  = no("LIMIT", "Too many mailboxes to search at once")
	errManyMessages   = no("LIMIT", "Too many messages to search at once")
	errCollation      = bad("Not the name of a collation")
	errComparator     = no("BADCOMPARATOR", "No such comparator")
	errBadEvent       = no("BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange "+
		"MailboxMetadataChange ServerMetadataChange)", "Unknown event")
	errEventPair   = bad("MessageNew and MessageExpunge go together, and FlagChange with them")
	errNotSelected = bad("That is not for this mailbox specifier")
	errTwoSelected = bad("SELECTED and SELECTED-DELAYED do not go together")
	errOverflow    = no("NOTIFICATIONOVERFLOW", "Too many mailboxes")
	errTagUsed     = bad("A search of that tag is being kept up to date")
	errNoUpdate    = bad("No search of that tag is being kept up to date")
	errFlag        = bad("Not a flag that can be set")
	errRecursive   = bad("RECURSIVEMATCH needs another selection option")
	errServerBug   = no("SERVERBUG", "Internal error")
)

// replies says what errors of other rooms are to a client. It is the only place that does; a test enumerates every sentinel.
var replies = []struct {
	err   error
	reply reply
	grave bool // for the log
}{
	{mailbox.ErrNoBox, no("NONEXISTENT", "No such mailbox"), false},
	{mailbox.ErrBoxExists, no("ALREADYEXISTS", "That mailbox exists"), false},
	{mailbox.ErrBoxName, no("CANNOT", "A mailbox cannot have that name"), false},
	{mailbox.ErrInbox, no("CANNOT", "INBOX can be neither deleted nor replaced"), false},
	{mailbox.ErrHasChildren, no("HASCHILDREN", "The mailbox has children"), false},
	{mailbox.ErrSpecialUse, no("USEATTR", "Another mailbox has that use"), false},
	{mailbox.ErrNoBlob, errGone, false},
	{mailbox.ErrGrantee, errServerBug, true},
	{mailbox.ErrReadOnly, no("NOPERM", "The mailbox cannot be changed like that"), false},
	{mailbox.ErrOverQuota, no("OVERQUOTA", "Over quota"), false},
	{mailbox.ErrLimit, no("LIMIT", "Too many mailboxes, keywords or messages"), false},
	{mailbox.ErrFull, no("UNAVAILABLE", "No space left; try again later"), true},
	{mailbox.ErrFailed, no("UNAVAILABLE", "Storage failed; try again later"), true},
	{mailbox.ErrCorrupt, no("CORRUPTION", "Mailbox damaged"), true},
	{mailbox.ErrClosed, no("UNAVAILABLE", "Closing; try again later"), false},

	{link.ErrClosing, no("UNAVAILABLE", "Closing; try again later"), false},
	{link.ErrFull, no("UNAVAILABLE", "Too many sessions; try again later"), false},
	{link.ErrNetworkFull, no("LIMIT", "Too many sessions from your network"), false},
	{link.ErrUserFull, no("LIMIT", "Too many sessions of this account"), false},

	{directory.ErrCredentials, no("AUTHENTICATIONFAILED", "Wrong name or password"), false},
	{directory.ErrDisabled, no("CONTACTADMIN", "The account is disabled"), false},
	{directory.ErrUnavailable, no("UNAVAILABLE", "Cannot authenticate now; try again later"), true},
	{sasl.ErrMechanism, no("CANNOT", "Unknown authentication mechanism"), false},
	{sasl.ErrUnprotected, no("PRIVACYREQUIRED", "Use TLS to log in"), false},
	{sasl.ErrResponse, bad("Not a response of that mechanism"), false},
	{sasl.ErrBase64, bad("Not base64"), false},
	{sasl.ErrCanceled, bad("Authentication canceled"), false},
	{sasl.ErrBinding, no("AUTHENTICATIONFAILED", "Wrong name or password"), true},
	{sasl.ErrAuthorization, no("AUTHORIZATIONFAILED", "Only as yourself"), false},
	{sasl.ErrThrottled, no("LIMIT", "Too many failures; try again later"), false},
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

	{wire.ErrLine, bad("The command is too long"), false},
	{wire.ErrLiteral, reply{statusBAD, "TOOBIG", "The literal is too big"}, false},
	{wire.ErrDepth, bad("Nested too deeply"), false},
	{wire.ErrLineEnd, bad("A line ends in CRLF, and has no other CR or LF"), false},
	{wire.ErrNUL, bad("A NUL is in the command"), false},
	{wire.ErrUnframed, bad("The command is too long"), false},
	{wire.ErrUTF7, errUTF7, false},

	{context.Canceled, no("UNAVAILABLE", "Closing; try again later"), false},
	{context.DeadlineExceeded, no("UNAVAILABLE", "Timed out; try again later"), true},
}

// replyTo is the reply that an error means, and whether the log should know.
func replyTo(err error) (r reply, grave bool) {
	if errors.As(err, &r) {
		return r, r == errServerBug
	}
	var syntax *wire.SyntaxError
	if errors.As(err, &syntax) {
		return bad("Expected " + syntax.Want), false
	}
	for _, known := range replies {
		if errors.Is(err, known.err) {
			return known.reply, known.grave
		}
	}
	return errServerBug, true
}

// turnedAway is what a client hears that cannot have a session: RFC 9051 §7.1.5.
func turnedAway(err error) string {
	r, _ := replyTo(err)
	return "* BYE [" + r.code + "] " + r.text + "\r\n"
}
