// Package pop3d owns the POP3 conversation (RFC 1939, with the extensions of RFC 2449): it lets a client in, shows it the INBOX of its
// account as it stood then, and removes what the client marked when it says QUIT.
//
// It must not know the spool, how mail is received or delivered, or how mailboxes are kept.
//
// The flow: Server.Serve → session.serve → step: a line → table.lookup → command.run → the answer. A command is a row of a table and a
// function; so is a capability (capabilities). Commands give an answer and do not write: the session's loop does, and runs what an answer
// has after its first line.
//
// A maildrop is a mailbox.Snapshot, which never changes. That is the lock of RFC 1939 §4, "as necessary to prevent messages from being
// modified": nobody else is kept out, so that two devices may look for mail at the same time, and IMAP meanwhile goes on. What others
// expunge cannot be retrieved any more, and their numbers stay. Nothing of a store is held while a message is sent but the message.
package pop3d
