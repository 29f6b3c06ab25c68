package smtp

import "strings"

// Extensions is a set of service extensions: what a server offers, or a peer does.
type Extensions uint32

// The extensions whose parameters and commands this package knows.
const (
	Pipelining    Extensions = 1 << iota // RFC 2920
	Size                                 // RFC 1870
	EightBitMIME                         // RFC 6152
	SMTPUTF8                             // RFC 6531
	EnhancedCodes                        // RFC 2034
	StartTLS                             // RFC 3207
	Auth                                 // RFC 4954
	DSN                                  // RFC 3461
	Chunking                             // RFC 3030 §2
	BinaryMIME                           // RFC 3030 §3
	RequireTLS                           // RFC 8689
	DeliverBy                            // RFC 2852
	FutureRelease                        // RFC 4865
	MTPriority                           // RFC 6710
	Limits                               // RFC 9422
	RemoteQueue                          // RFC 1985
	XClient                              // of Postfix
	XForward                             // of Postfix
)

// extensionNames are the EHLO keywords, in the order of the constants.
var extensionNames = [...]string{
	"PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "STARTTLS", "AUTH", "DSN", "CHUNKING", "BINARYMIME",
	"REQUIRETLS", "DELIVERBY", "FUTURERELEASE", "MT-PRIORITY", "LIMITS", "ETRN", "XCLIENT", "XFORWARD",
}

// Has tells whether all of the others are in the set.
func (e Extensions) Has(others Extensions) bool { return e&others == others }

// ExtensionNamed is the extension of an EHLO keyword, in any case; empty for one that is not known here.
func ExtensionNamed(keyword string) Extensions {
	for i, name := range extensionNames {
		if strings.EqualFold(name, keyword) {
			return 1 << i
		}
	}
	return 0
}

// String is the keywords, with spaces between.
func (e Extensions) String() string {
	var names []string
	for i, name := range extensionNames {
		if e.Has(1 << i) {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}
