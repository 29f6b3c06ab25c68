// Package mail owns the nouns every room of the house shares: Address, Envelope, Recipient, Content, ID.
//
// It must not know any room, socket, file or database: it imports only the standard library and golang.org/x, and does no I/O beyond
// io.Reader, io.Writer and io.ReaderAt. The byte formats of the field live below it: mail/smtp (replies, commands, dot-stuffing),
// mail/mime (message structure) and mail/dsn (delivery status notifications).
package mail
