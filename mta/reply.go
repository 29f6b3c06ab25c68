package mta

import (
	"errors"

	"posthouse/directory"
	"posthouse/directory/sasl"
	"posthouse/mail/smtp"
	"posthouse/spool"
)

func reply(code int, enhanced smtp.Enhanced, text string) smtp.Reply {
	return smtp.Reply{Code: code, Enhanced: enhanced, Text: text}
}

// The replies that do not come from an error. RFC 5321 §4.2.3 has the codes, RFC 3463 and RFC 5248 the enhanced ones.
var (
	replyOK          = reply(250, smtp.Enhanced{2, 0, 0}, "OK")
	replySender      = reply(250, smtp.Enhanced{2, 1, 0}, "OK")
	replyRecipient   = reply(250, smtp.Enhanced{2, 1, 5}, "OK")
	replyChunk       = reply(250, smtp.Enhanced{2, 0, 0}, "OK, more")
	replyGoAhead     = reply(354, smtp.Enhanced{}, "end with a line that is only a dot")
	replyBye         = reply(221, smtp.Enhanced{2, 0, 0}, "goodbye")
	replyStartTLS    = reply(220, smtp.Enhanced{2, 0, 0}, "begin TLS")
	replyAuthOK      = reply(235, smtp.Enhanced{2, 7, 0}, "welcome")
	replyNoHelp      = reply(504, smtp.Enhanced{5, 5, 1}, "no such command")
	replyInMail      = reply(503, smtp.Enhanced{5, 5, 1}, "not within a mail transaction")
	replyNotThatNode = reply(459, smtp.Enhanced{4, 7, 1}, "not a node of this queue")       // RFC 1985 §5.1
	replyNoQueue     = reply(458, smtp.Enhanced{4, 3, 0}, "unable to queue messages now")   // RFC 1985 §5.1
	replyCannotSay   = reply(252, smtp.Enhanced{2, 5, 2}, "send mail and it will be tried") // RFC 5321 §7.3
	replyUnknown     = reply(500, smtp.Enhanced{5, 5, 2}, "unknown command")
	replyNotOffered  = reply(502, smtp.Enhanced{5, 5, 1}, "command not offered")
	replyNoArgument  = reply(501, smtp.Enhanced{5, 5, 4}, "the command takes no argument")
	replyHelloFirst  = reply(503, smtp.Enhanced{5, 5, 1}, "say hello first")
	replyMailFirst   = reply(503, smtp.Enhanced{5, 5, 1}, "MAIL first")
	replyMailTwice   = reply(503, smtp.Enhanced{5, 5, 1}, "MAIL was given already")
	replyChunksBegun = reply(503, smtp.Enhanced{5, 5, 1}, "BDAT has begun the message")    // RFC 3030 §2
	replyOnlyChunks  = reply(503, smtp.Enhanced{5, 5, 1}, "a binary message goes by BDAT") // RFC 3030 §3
	replyNoRecipient = reply(554, smtp.Enhanced{5, 5, 1}, "no valid recipient")            // RFC 5321 §3.3
	replyRcptFirst   = reply(503, smtp.Enhanced{5, 5, 1}, "MAIL and RCPT first")
	replyAuthNotNow  = reply(503, smtp.Enhanced{5, 5, 1}, "AUTH is not possible now")                        // RFC 4954 §4
	replyAuthFirst   = reply(530, smtp.Enhanced{5, 7, 0}, "authenticate first")                              // RFC 4954 §6
	replyTLSFirst    = reply(530, smtp.Enhanced{5, 7, 0}, "STARTTLS first")                                  // RFC 3207 §4
	replyEncrypt     = reply(538, smtp.Enhanced{5, 7, 11}, "STARTTLS first")                                 // RFC 4954 §6
	replyMechanism   = reply(504, smtp.Enhanced{5, 5, 4}, "no such mechanism")                               // RFC 4954 §4
	replyCancelled   = reply(501, smtp.Enhanced{5, 7, 0}, "authentication cancelled")                        // RFC 4954 §4
	replyNotBase64   = reply(501, smtp.Enhanced{5, 5, 2}, "malformed response")                              // RFC 4954 §4
	replyAuthLong    = reply(500, smtp.Enhanced{5, 5, 6}, "response too long")                               // RFC 4954 §6
	replyBadPath     = reply(501, smtp.Enhanced{5, 1, 7}, "malformed sender address")                        // RFC 3463 §3.2
	replyNeedsUTF8   = reply(553, smtp.Enhanced{5, 6, 7}, "the address needs SMTPUTF8")                      // RFC 6531 §3.5
	replyNoUTF8      = reply(553, smtp.Enhanced{5, 6, 7}, "the next host does not take SMTPUTF8")            // RFC 6531 §3.5
	replyManyTo      = reply(452, smtp.Enhanced{4, 5, 3}, "too many recipients")                             // RFC 5321 §4.5.3.1.10
	replyManyMails   = reply(421, smtp.Enhanced{4, 5, 3}, "too many messages over one connection")           // RFC 9422
	replySoon        = reply(555, smtp.Enhanced{5, 5, 4}, "less time than the least that DELIVERBY says")    // RFC 2852 §4
	replyHold        = reply(501, smtp.Enhanced{5, 5, 4}, "not a time to hold the message until")            // RFC 4865 §4.2
	replyRelay       = reply(550, smtp.Enhanced{5, 7, 1}, "relaying denied")                                 // RFC 3463 §3.8
	replyNoPipeline  = reply(554, smtp.Enhanced{5, 5, 0}, "data before it was asked for")                    // RFC 2920 §3.1
	replyTooMany     = reply(421, smtp.Enhanced{4, 7, 0}, "too many errors")                                 //
	replyTimeout     = reply(421, smtp.Enhanced{4, 4, 2}, "timeout")                                         // RFC 5321 §4.5.3.2.7
	replyClosing     = reply(421, smtp.Enhanced{4, 3, 2}, "session ended, try again later")                  // RFC 5321 §3.8
	replyStays       = reply(550, smtp.Enhanced{5, 7, 1}, "the message looks dangerous, and is not sent on") // RFC 3463 §3.8
	replyBarred      = reply(503, smtp.Enhanced{5, 5, 1}, "you were refused")                                // RFC 5321 §3.1
	replyBusy        = reply(421, smtp.Enhanced{4, 3, 2}, "too many connections, try again later")
	replyBanned      = reply(421, smtp.Enhanced{4, 7, 0}, "not from your network now, try again later")
	replyOften       = reply(421, smtp.Enhanced{4, 7, 0}, "too many connections in a short time, try again later")
	replyBusyFrom    = reply(421, smtp.Enhanced{4, 7, 0}, "too many connections from your network")
	replyNoise       = reply(421, smtp.Enhanced{4, 7, 0}, "this is not SMTP")
	replyStorage     = reply(421, smtp.Enhanced{4, 3, 0}, "no mail is taken now, try again later")
	replyLocal       = reply(451, smtp.Enhanced{4, 3, 0}, "not possible now, try again later")
)

// errorReplies is what the errors of those we call, and ours, mean to a client. The text is constant: detail goes to the log.
var errorReplies = []struct {
	err   error
	reply smtp.Reply
}{
	{errLineLong, reply(500, smtp.Enhanced{5, 5, 2}, "line too long")},                  // RFC 5321 §4.5.3.1.9
	{errLineControl, reply(500, smtp.Enhanced{5, 5, 2}, "control character in a line")}, // RFC 5321 §4.1.2
	{errLineEnding, reply(500, smtp.Enhanced{5, 5, 2}, "lines end in CRLF")},            // RFC 5321 §2.3.8
	{errNoise, replyNoise},

	{smtp.ErrSyntax, reply(501, smtp.Enhanced{5, 5, 4}, "malformed argument")},
	{smtp.ErrPath, reply(501, smtp.Enhanced{5, 1, 3}, "malformed address")}, // RFC 3463 §3.2
	{smtp.ErrParameter, reply(501, smtp.Enhanced{5, 5, 4}, "bad parameter")},
	{smtp.ErrUnknownParameter, reply(555, smtp.Enhanced{5, 5, 4}, "unknown parameter")},       // RFC 5321 §4.1.1.11
	{smtp.ErrBareLine, reply(554, smtp.Enhanced{5, 6, 11}, "lines of a message end in CRLF")}, // RFC 5321 §2.3.8
	{smtp.ErrTooBig, reply(552, smtp.Enhanced{5, 3, 4}, "the message is too big")},            // RFC 1870 §6
	{smtp.ErrEndless, reply(552, smtp.Enhanced{5, 3, 4}, "the message is far too big")},       // RFC 1870 §6
	{errHeaderLong, reply(552, smtp.Enhanced{5, 6, 0}, "the header of the message is too big")},
	{errHeaderForm, reply(554, smtp.Enhanced{5, 6, 0}, "the message begins with a folded line")},
	{errHops, reply(554, smtp.Enhanced{5, 4, 6}, "too many hops: the message goes round")}, // RFC 5321 §6.3

	{errSuppressed, reply(550, smtp.Enhanced{5, 1, 1}, "mail to this address came back for good before")},

	{directory.ErrNotLocal, replyRelay},
	{directory.ErrNoAddress, reply(550, smtp.Enhanced{5, 1, 1}, "no such user here")},
	{directory.ErrNoAccount, reply(550, smtp.Enhanced{5, 1, 1}, "no such user here")},
	{directory.ErrNoDomain, replyRelay},
	{directory.ErrAliasLoop, reply(550, smtp.Enhanced{5, 4, 6}, "the address leads to itself")},
	{directory.ErrDisabled, reply(550, smtp.Enhanced{5, 2, 1}, "the mailbox is disabled")},
	{directory.ErrUnavailable, replyLocal},
	{directory.ErrNotOwner, reply(550, smtp.Enhanced{5, 7, 1}, "not an address of yours")},
	{directory.ErrRate, reply(450, smtp.Enhanced{4, 7, 1}, "as much was sent as may be in a day, try again tomorrow")}, // RFC 3463 §3.8
	{directory.ErrExists, replyLocal},                                                                                  // no question of ours leads to these
	{directory.ErrTooMany, replyLocal},                                                                                 //
	{directory.ErrNoEntry, replyLocal},                                                                                 //
	{directory.ErrDeclared, replyLocal},                                                                                //
	{directory.ErrShared, replyLocal},
	{directory.ErrScope, replyLocal},        //
	{directory.ErrCredentials, replyAuthNo}, //

	{spool.ErrFull, reply(452, smtp.Enhanced{4, 3, 1}, "no space now, try again later")}, // RFC 3463 §3.4
	{spool.ErrFailed, replyLocal},
	{spool.ErrClosed, replyLocal},
	{spool.ErrNotFound, replyLocal},  // no question of ours leads to these
	{spool.ErrLeaseLost, replyLocal}, //
	{spool.ErrDraft, replyLocal},     //
	{spool.ErrRepeated, replyLocal},  // the way to 250 asks for it first
}

var replyAuthNo = reply(535, smtp.Enhanced{5, 7, 8}, "wrong name or password") // RFC 4954 §6

var authUnavailable = reply(454, smtp.Enhanced{4, 7, 0}, "not possible now, try again later") // RFC 4954 §6

// authReplies are the errors of an exchange.
var authReplies = []struct {
	err   error
	reply smtp.Reply
}{
	{directory.ErrCredentials, replyAuthNo},
	{directory.ErrDisabled, reply(525, smtp.Enhanced{5, 7, 13}, "the account is disabled")}, // RFC 5248 §2.4
	{directory.ErrUnavailable, authUnavailable},
	{sasl.ErrAuthorization, replyAuthNo},
	{sasl.ErrBinding, replyAuthNo},
	{sasl.ErrThrottled, reply(454, smtp.Enhanced{4, 7, 0}, "too many failures, try again later")}, // RFC 4954 §6
	{sasl.ErrResponse, replyNotBase64},
	{sasl.ErrBase64, replyNotBase64},
	{sasl.ErrCanceled, replyCancelled},
	{sasl.ErrMechanism, replyMechanism},
	{sasl.ErrUnprotected, replyEncrypt},
}

// replyTo is the reply to an error: 451 for one that nobody foresaw.
func replyTo(err error) smtp.Reply {
	for _, r := range errorReplies {
		if errors.Is(err, r.err) {
			return r.reply
		}
	}
	return replyLocal
}

// replyToAuth is the reply to a failed AUTH: 454 to an error that nobody foresaw.
func replyToAuth(err error) smtp.Reply {
	for _, r := range authReplies {
		if errors.Is(err, r.err) {
			return r.reply
		}
	}
	return authUnavailable
}
