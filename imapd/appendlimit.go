package imapd

import (
	"strconv"

	"posthouse/mailbox"
)

// appendLimit is APPENDLIMIT: RFC 7889. It is the same for all mailboxes.
func appendLimit(octets int64) extension {
	return extension{
		name: "APPENDLIMIT", rfc: "RFC 7889",
		words:  func(*session) []string { return []string{"APPENDLIMIT=" + strconv.FormatInt(octets, 10)} },
		status: []statusItem{count("APPENDLIMIT", func(*mailbox.Box) int64 { return octets })},
	}
}
