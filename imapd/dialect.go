package imapd

import (
	"strings"
	"unicode/utf8"

	"posthouse/imapd/wire"
	"posthouse/mailbox"
)

// dialect is what differs between a session of IMAP4rev1 and one that has enabled IMAP4rev2 (RFC 9051 appendix E), and nothing
// else does.
type dialect struct {
	utf8 bool // names of mailboxes are in UTF-8: RFC 9051 §5.1
	// accept is UTF8=ACCEPT, which allows no CHARSET: RFC 9755 §3.
	accept bool
	// rev2 leaves out what IMAP4rev2 dropped (RECENT, the UNSEEN code of SELECT, SEARCH responses) and adds what it requires (LIST and
	// CLOSED with SELECT, ESEARCH responses).
	rev2 bool
}

// name is the name of a mailbox as the client wrote it.
func (d dialect) name(raw string) (string, error) {
	if !d.utf8 {
		return wire.DecodeUTF7(raw)
	}
	if !utf8.ValidString(raw) {
		return "", errUTF8
	}
	return raw, nil
}

// appendName writes the name of a mailbox.
func (d dialect) appendName(b []byte, name string) []byte {
	if d.utf8 {
		return wire.AppendUTF8(b, name)
	}
	return wire.AppendAString(b, wire.EncodeUTF7(name))
}

// appendListed tells of a mailbox that a command named: as RFC 9051 §6.3.2 requires of SELECT, and wherever its name is another one than
// the client wrote (§6.3.9.7 OLDNAME).
func (d dialect) appendListed(b []byte, box mailbox.Box, asked string) []byte {
	renamed := asked != box.Name && !strings.EqualFold(asked, mailbox.Inbox)
	b = append(b, "* LIST ("...)
	if box.Special != "" {
		b = append(append(b, '\\'), box.Special...)
	}
	b = append(b, `) "`+mailbox.Separator+`" `...)
	b = d.appendName(b, box.Name)
	if renamed {
		b = append(d.appendName(append(b, ` ("OLDNAME" (`...), asked), "))"...)
	}
	return append(b, "\r\n"...)
}

// appendSelected tells what SELECT and EXAMINE must: RFC 9051 §6.3.2, RFC 3501 §6.3.1.
func (d dialect) appendSelected(b []byte, v *view, asked string) []byte {
	b = v.appendExists(v.appendKeywords(b))
	if !d.rev2 { // No message is recent.
		b = v.appendUnseen(append(b, "* 0 RECENT\r\n"...))
	}
	b = wire.AppendNumber(append(b, "* OK [UIDVALIDITY "...), v.told.Box.UIDValidity)
	b = wire.AppendNumber(append(b, "] UIDs valid\r\n* OK [UIDNEXT "...), v.told.Box.UIDNext)
	b = wire.AppendNumber(append(b, "] Predicted next UID\r\n* OK [HIGHESTMODSEQ "...), v.told.Box.ModSeq)
	b = appendMailboxID(append(b, "] Highest mod-sequence\r\n* OK [MAILBOXID "...), &v.told.Box) // RFC 8474 §4.2
	b = append(b, "] Its ID\r\n"...)
	if d.rev2 {
		b = d.appendListed(b, shownBox(v.told.Box, v.prefix), asked)
	}
	return b
}

// appendCreated tells of a mailbox that was created under another name than was asked for: RFC 9051 §6.3.4.
func (d dialect) appendCreated(b []byte, box mailbox.Box, asked string) []byte {
	if !d.rev2 || box.Name == asked {
		return b
	}
	return d.appendListed(b, box, asked)
}

// searchesPlainly tells whether SEARCH without RETURN is answered by a SEARCH response: RFC 9051 §6.4.4 has ESEARCH instead.
func (d dialect) searchesPlainly() bool { return !d.rev2 }

// appendClosed tells that the mailbox selected before is not any more, in both revisions: RFC 9051 §7.1 CLOSED, RFC 7162 §3.2.11.
func (d dialect) appendClosed(b []byte) []byte {
	return append(b, "* OK [CLOSED] Previous mailbox is now closed\r\n"...)
}
