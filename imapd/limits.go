package imapd

import (
	"cmp"
	"time"

	"posthouse/imapd/wire"
	"posthouse/internal/link"
	"posthouse/mail/mime"
)

// Limits of a server. A zero field means the default beside it.
type Limits struct {
	MessageSize        int64         // octets of a message that is appended; 50 MiB
	Sessions           int           // in all; 20,000
	SessionsPerNetwork int           // of one IPv4 address or IPv6 /64; 200
	SessionsPerAccount int           // 100
	LoginTime          time.Duration // from connecting to being authenticated; 2 minutes
	IdleTime           time.Duration // between commands, and in IDLE; RFC 9051 §5.4 asks for 30 minutes, here 31
	CommandTime        time.Duration // to wait for the next octets of a command that has begun; 2 minutes
	WriteTime          time.Duration // for a client to take 64 KiB; 2 minutes
	CommandMessages    int           // of one FETCH, SEARCH, STORE, COPY, MOVE, UID EXPUNGE or APPEND (RFC 9738); any number
	SavedMessages      int           // of one COPY or APPEND; any number
	LoginDelay         time.Duration // of the answer to a failed login, doubled by each further one; 1 second
}

func (l Limits) withDefaults() Limits {
	return Limits{
		MessageSize:        cmp.Or(l.MessageSize, 50<<20),
		Sessions:           cmp.Or(l.Sessions, 20_000),
		SessionsPerNetwork: cmp.Or(l.SessionsPerNetwork, 200),
		SessionsPerAccount: cmp.Or(l.SessionsPerAccount, 100),
		LoginTime:          cmp.Or(l.LoginTime, 2*time.Minute),
		IdleTime:           cmp.Or(l.IdleTime, 31*time.Minute),
		CommandTime:        cmp.Or(l.CommandTime, 2*time.Minute),
		WriteTime:          cmp.Or(l.WriteTime, 2*time.Minute),
		CommandMessages:    l.CommandMessages,
		SavedMessages:      l.SavedMessages,
		LoginDelay:         cmp.Or(l.LoginDelay, time.Second),
	}
}

func (l Limits) times() link.Times {
	return link.Times{Login: l.LoginTime, Idle: l.IdleTime, Command: l.CommandTime, Write: l.WriteTime}
}

// Limits of one session.
const (
	maxFailedLogins  = 4             // then BYE
	maxEarlyErrors   = 10            // commands answered BAD before authentication; then BYE
	maxErrors        = 100           // the same afterwards
	maxIDPairs       = 30            // RFC 2971 §3.3
	maxIDField       = 30            // octets; RFC 2971 §3.3
	maxIDValue       = 1024          // octets; RFC 2971 §3.3
	maxSectionDepth  = mime.MaxDepth // part numbers of a section
	maxFetchItems    = 200           // of one FETCH
	maxSearchKeys    = 1000          // of one SEARCH
	maxSaved         = 100_000       // ranges of UIDs that "$" holds; RFC 5182 §2.5
	maxFilterDepth   = 10            // filters inside filters; RFC 5466 §3.1 asks for 3
	maxSortKeys      = 20            // criteria of one SORT
	maxSearchStrings = 50            // of one SEARCH that are looked for in bodies
	maxQuestions     = 50            // of one SEARCH that the index is asked; what is more is looked for without it
	maxRankings      = 10            // strings of one SEARCH that are matched fuzzily (RFC 6203 §8); what is more is matched exactly
	maxSources       = 100           // mailbox specifiers of one ESEARCH, and names in one
	maxSearched      = 5000          // mailboxes that one ESEARCH searches; RFC 7377 §2.4
	maxNotified      = 10_000        // mailboxes that NOTIFY follows; RFC 5465 §5.8
	maxFollowed      = 100           // accounts of others that NOTIFY follows; likewise
	maxNotices       = 1000          // mailboxes that one change tells of; likewise
	maxErrands       = 4             // searches of one session that read bodies beside other commands; the next one waits
	maxUpdates       = 10            // searches of one session that are kept up to date; RFC 5267 §4.3.1 asks for one at least
	maxAppends       = 10_000        // messages of one APPEND
	maxCatParts      = 1000          // parts that a message of one is put together of: RFC 4469
	maxURL           = 4 << 10       // octets of a URL: RFC 4469, RFC 4467
	maxURLs          = 100           // of one GENURLAUTH or URLFETCH
	maxEntries       = 100           // of one GETMETADATA or SETMETADATA
	maxPatterns      = 100           // of one LIST
	maxFieldNames    = 200           // of one HEADER.FIELDS
	maxFlags         = 100           // keywords in one command
)

// earlyLimits hold before authentication, when memory is given to strangers. A SASL response is a line (RFC 4422 names
// no limit): a token of OAuth takes 2 or 3 KiB of it.
func earlyLimits() wire.Limits {
	return wire.Limits{Line: 8 << 10, Literal: 4 << 10, Depth: 8, Discard: 64 << 10}
}

// lateLimits hold afterwards: RFC 2683 §3.2.1.5 asks for lines of 8,000 octets at least; clients send longer sets of messages.
func lateLimits(messageSize int64) wire.Limits {
	return wire.Limits{Line: 64 << 10, Literal: 64 << 10, Depth: 50, Discard: 2*messageSize + 1<<20}
}
