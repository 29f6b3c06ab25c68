// Package imapd owns the IMAP conversation: it reads a command, acts on one mailbox.Account, and writes responses. It speaks IMAP4rev1
// (RFC 3501) and, after ENABLE, IMAP4rev2 (RFC 9051).
//
// It must not know the spool, how mail is received or delivered, or how mailboxes are kept.
//
// The flow: Server.Serve → session.serve → step: wire.Decoder.Next → table.lookup → command.parse → runner.run → view.sync → the tagged
// reply. A command is a row of a table and a file; so is an extension (extensions). parse and run are separate values, and only the
// session's loop and what waits for the client (session.hear) touch the connection.
//
// Commands run in their order, except that a search lets others pass while it reads bodies (session.leave): it goes by the snapshot that it
// began with, in a goroutine of its own, and is answered when it is done. Which commands may pass is a column of the table; none tells of
// an EXPUNGE meanwhile (RFC 9051 §5.5).
//
// Message sequence numbers exist in view.go and nowhere else: a view is what the client of one session has been told of its mailbox.
// What the commands of other sessions did comes in by comparing mailbox.Snapshots, at the end of every command and in IDLE, and is
// held back where the protocol forbids to tell it (RFC 9051 §7.5.1).
//
// Nothing of a store is held while waiting for a client: responses are gathered in a buffer, and iterations over facts end before it
// is written.
package imapd
