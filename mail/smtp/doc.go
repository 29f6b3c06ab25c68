// Package smtp owns the SMTP words that both ends of a connection share: replies and enhanced codes (RFC 5321 §4.2, RFC 3463),
// commands, paths and parameters (§4.1.2), and the transparency of message data (§4.5.2).
//
// It must not know sockets, sessions, queues or policy. Parsers never panic and never read beyond their stated limits;
// what a formatter writes, the parser of the other end reads back.
package smtp
