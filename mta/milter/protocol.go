package milter

// Commands, which we send.
const (
	cmdAbort       = 'A'
	cmdBody        = 'B'
	cmdConnect     = 'C'
	cmdMacro       = 'D'
	cmdEndOfMail   = 'E'
	cmdHello       = 'H'
	cmdQuitNew     = 'K' // the connection stays for another session
	cmdHeader      = 'L'
	cmdMail        = 'M'
	cmdEndOfHeader = 'N'
	cmdNegotiate   = 'O'
	cmdQuit        = 'Q'
	cmdRcpt        = 'R'
	cmdData        = 'T'
)

// Answers, which the filter gives.
const (
	ansAddRcpt       = '+'
	ansDeleteRcpt    = '-'
	ansAddRcptParams = '2'
	ansAccept        = 'a'
	ansReplaceBody   = 'b'
	ansContinue      = 'c'
	ansDiscard       = 'd'
	ansChangeFrom    = 'e'
	ansConnFail      = 'f'
	ansAddHeader     = 'h'
	ansInsertHeader  = 'i'
	ansChangeHeader  = 'm'
	ansProgress      = 'p'
	ansQuarantine    = 'q'
	ansReject        = 'r'
	ansSkip          = 's'
	ansTempFail      = 't'
	ansReplyCode     = 'y'
)

// version is what we speak; a filter may speak an older one.
const (
	version       = 6
	minVersion    = 2
	dataVersion   = 4 // from which on it may hear of DATA
	reuseVersion  = 6 // from which on a connection serves session after session
	maxChunk      = 65535
	maxPacket     = 1 << 20 // octets of an answer
	maxChanges    = 10_000  // of one message
	maxChangeSize = 4 << 20 // octets of them, but for the body, which is not in memory
	actionsOffers = 0xff    // all changes: add header, replace body, add and delete recipient, change header, quarantine, change sender, add with parameters
)

// Bits of what the filter can ask for besides; all but to be told of recipients that we refused.
const (
	wantSkip         = 1 << 10
	wantRejectedRcpt = 1 << 11
	wantLeadingSpace = 1 << 20
	protocolOffers   = (1<<21 - 1) &^ wantRejectedRcpt
)

// silence is what a filter can say of a command: not to send it, not to wait for an answer.
type silence struct{ unsent, unanswered uint32 }

var silences = map[byte]silence{
	cmdConnect:     {1 << 0, 1 << 12},
	cmdHello:       {1 << 1, 1 << 13},
	cmdMail:        {1 << 2, 1 << 14},
	cmdRcpt:        {1 << 3, 1 << 15},
	cmdBody:        {1 << 4, 1 << 19},
	cmdHeader:      {1 << 5, 1 << 7},
	cmdEndOfHeader: {1 << 6, 1 << 18},
	cmdData:        {1 << 9, 1 << 16},
}
