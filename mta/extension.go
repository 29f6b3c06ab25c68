package mta

import (
	"strconv"

	"posthouse/mail/smtp"
)

// extension is a service extension: its line in the answer to EHLO, the parameters it brings (package smtp knows them by bit), and its
// verbs.
type extension struct {
	name    string
	rfc     string
	bit     smtp.Extensions
	offered func(s *session) bool // nil: always
	params  func(s *session) string
	// mail takes what a MAIL command says in its parameters into the transaction, or refuses it; nil: it brings none.
	mail  func(s *session, m *smtp.Mail, t *transaction) smtp.Reply
	verbs []verb
	// refusal is what its verbs are answered where it is not offered; nil: they are not there.
	refusal func(s *session) smtp.Reply
}

// extensions is the table of all of them, in the order of the EHLO answer.
func extensions() []extension {
	return []extension{
		{name: "PIPELINING", rfc: "RFC 2920", bit: smtp.Pipelining},
		{name: "SIZE", rfc: "RFC 1870", bit: smtp.Size, params: func(s *session) string {
			return strconv.FormatInt(s.server.opts.Limits.MessageSize, 10)
		}},
		{name: "8BITMIME", rfc: "RFC 6152", bit: smtp.EightBitMIME},
		{name: "SMTPUTF8", rfc: "RFC 6531", bit: smtp.SMTPUTF8},
		{name: "ENHANCEDSTATUSCODES", rfc: "RFC 2034", bit: smtp.EnhancedCodes},
		chunking(),
		binaryMIME(),
		{name: "DSN", rfc: "RFC 3461", bit: smtp.DSN, offered: func(s *session) bool { return s.server.opts.DSN }},
		requireTLS(),
		deliverBy(),
		futureRelease(),
		priorities(),
		limits(),
		remoteQueue(),
		xclient(),
		xforward(),
		startTLS(),
		authentication(),
	}
}

func (e *extension) isOffered(s *session) bool { return e.offered == nil || e.offered(s) }

// unoffered is the reply to a verb of the extension where it is not offered; zero where it is.
func (e *extension) unoffered(s *session) smtp.Reply {
	switch {
	case e == nil || e.isOffered(s):
		return smtp.Reply{}
	case e.refusal != nil:
		return e.refusal(s)
	}
	return replyNotOffered
}

// line is the extension's line in the answer to EHLO.
func (e *extension) line(s *session) string {
	if e.params == nil {
		return e.name
	}
	return e.name + " " + e.params(s)
}
