package mta

import (
	"context"

	"posthouse/mail/smtp"
)

// verb is a command. It says what it needs; what it does is its run, which gets the argument and answers with a value.
type verb struct {
	name  string
	rfc   string
	needs needs
	run   func(ctx context.Context, s *session, args []byte) answer
}

// needs is what must hold before a verb runs; the session checks it and answers in the order of the constants.
type needs uint8

const (
	needsNoArgument needs = 1 << iota
	needsHello
	needsUser // on a submission listener
	needsMail
	isJunk // leads nowhere: counted
	// endsGroup: nothing may stand behind it before its reply (RFC 2920 §3.1). A client that sends data before it is asked for is out of step:
	// what it sends would run as commands if it is refused.
	endsGroup
)

// answer is what a command leads to: the replies, in order, and what follows them instead of the next command.
type answer struct {
	reply smtp.Reply   // with no code: none
	more  []smtp.Reply // LMTP: of the other recipients
	then  step
}

// step goes on with a command after its reply. An error ends the session.
type step func(ctx context.Context, s *session) (answer, error)

func say(r smtp.Reply) answer { return answer{reply: r} }

// verbs are those of a kind of server, without those that extensions bring.
func verbs(kind traits) []verb {
	table := []verb{
		{"MAIL", "RFC 5321 §4.1.1.2", needsHello | needsUser, mailFrom},
		{"RCPT", "RFC 5321 §4.1.1.3", needsHello | needsUser | needsMail, rcptTo},
		{"DATA", "RFC 5321 §4.1.1.4", needsNoArgument | needsHello | needsUser | needsMail | endsGroup, data},
		{"RSET", "RFC 5321 §4.1.1.5", needsNoArgument | isJunk, rset},
		{"VRFY", "RFC 5321 §4.1.1.6", isJunk, vrfy},
		{"EXPN", "RFC 5321 §4.1.1.7", isJunk, expn},
		{"HELP", "RFC 5321 §4.1.1.8", isJunk, help},
		{"NOOP", "RFC 5321 §4.1.1.9", isJunk, noop},
		{"QUIT", "RFC 5321 §4.1.1.10", needsNoArgument, quit},
	}
	if kind.lmtp { // RFC 2033 §4.1: HELO and EHLO are not there
		return append(table, verb{"LHLO", "RFC 2033 §4.1", isJunk, ehlo})
	}
	return append(table,
		verb{"EHLO", "RFC 5321 §4.1.1.1", isJunk, ehlo},
		verb{"HELO", "RFC 5321 §4.1.1.1", isJunk, helo})
}

// notOffered are verbs that other servers have and we have nowhere: RFC 5321 §4.2.4 has them answered by 502.
var notOffered = map[string]bool{
	"ATRN": true, "TURN": true, "SEND": true, "SOML": true, "SAML": true, "BURL": true,
}

// foreign are verbs of other protocols, whose senders would take our replies for their own.
var foreign = map[string]bool{"GET": true, "POST": true, "HEAD": true, "PUT": true, "CONNECT": true, "OPTIONS": true}
