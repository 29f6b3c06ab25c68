package mta

import (
	"context"
	"slices"
	"strings"

	"posthouse/mail/smtp"
)

// syntaxes are what HELP says of a verb: how it is written.
var syntaxes = map[string]string{
	"MAIL": "MAIL FROM:<address> [parameters]", "RCPT": "RCPT TO:<address> [parameters]", "DATA": "DATA", "BDAT": "BDAT octets [LAST]",
	"EHLO": "EHLO host", "HELO": "HELO host", "LHLO": "LHLO host", "RSET": "RSET", "NOOP": "NOOP [anything]", "QUIT": "QUIT",
	"VRFY": "VRFY address [SMTPUTF8]", "EXPN": "EXPN address [SMTPUTF8]", "HELP": "HELP [command]", "STARTTLS": "STARTTLS",
	"AUTH": "AUTH mechanism [response]", "ETRN": "ETRN [@]domain", "XCLIENT": "XCLIENT name=value...", "XFORWARD": "XFORWARD name=value...",
}

// help is HELP: RFC 5321 §4.1.1.8. It tells which commands there are now, or how one of them is written and where that is said.
func help(_ context.Context, s *session, args []byte) answer {
	if len(args) == 0 {
		return say(reply(214, smtp.Enhanced{2, 0, 0}, "commands: "+strings.Join(s.offeredVerbs(), " ")))
	}
	var name [16]byte
	word, _ := smtp.CutVerb(args, &name)
	v, ok := s.server.verbs[string(word)]
	if !ok || v.extension.unoffered(s).Code != 0 {
		return say(replyNoHelp)
	}
	source := strings.Replace(v.rfc, " §", ", section ", 1)
	return say(reply(214, smtp.Enhanced{2, 0, 0}, syntaxes[v.name]+" ("+source+")"))
}

func (s *session) offeredVerbs() []string {
	var names []string
	for name, v := range s.server.verbs {
		if v.extension.unoffered(s).Code == 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
