package imapd

import (
	"strconv"

	"posthouse/mailbox"
)

// appendLimit is APPENDLIMIT: RFC 7889. It is the same for all mailboxes.
func appendLimit(octets int64) extension {
	return extension{
		name: "APPENDLIMIT=" + strconv.FormatInt(octets, 10), rfc: "RFC 7889",
		status: []statusItem{count("APPENDLIMIT", func(*mailbox.Box) int64 { return octets })},
	}
}
