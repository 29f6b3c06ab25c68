package imapd

import "slices"

// rev1 is IMAP4rev1: RFC 3501. All commands of both revisions are here, but for those that an extension of IMAP4rev1 brought first.
func rev1() extension {
	return extension{
		name: "IMAP4rev1", rfc: "RFC 3501",
		commands: slices.Concat(
			[]command{
				{name: "CAPABILITY", rfc: "RFC 9051 §6.1.1", in: anyState, beside: true, parse: alone(runCapability)},
				{name: "NOOP", rfc: "RFC 9051 §6.1.2", in: anyState, beside: true, parse: alone(runNoop)},
				{name: "LOGOUT", rfc: "RFC 9051 §6.1.3", in: anyState, parse: alone(runLogout)},
				{name: "AUTHENTICATE", rfc: "RFC 9051 §6.2.2", in: notAuthenticated, parse: parseAuthenticate},
				{name: "LOGIN", rfc: "RFC 9051 §6.2.3", in: notAuthenticated, parse: parseLogin},
				{name: "SELECT", rfc: "RFC 9051 §6.3.2", in: loggedIn, parse: parseSelect},
				{name: "EXAMINE", rfc: "RFC 9051 §6.3.3", in: loggedIn, parse: parseExamine},
				{name: "CREATE", rfc: "RFC 9051 §6.3.4", in: loggedIn, parse: parseCreate},
				{name: "DELETE", rfc: "RFC 9051 §6.3.5", in: loggedIn, parse: parseDelete},
				{name: "RENAME", rfc: "RFC 9051 §6.3.6", in: loggedIn, parse: parseRename},
				{name: "SUBSCRIBE", rfc: "RFC 9051 §6.3.7", in: loggedIn, parse: parseSubscribe},
				{name: "UNSUBSCRIBE", rfc: "RFC 9051 §6.3.8", in: loggedIn, parse: parseUnsubscribe},
				{name: "LIST", rfc: "RFC 9051 §6.3.9", in: loggedIn, beside: true, parse: parseList},
				{name: "LSUB", rfc: "RFC 3501 §6.3.9", in: loggedIn, beside: true, parse: parseLsub},
				{name: "STATUS", rfc: "RFC 9051 §6.3.11", in: loggedIn, beside: true, parse: parseStatus},
				{name: "APPEND", rfc: "RFC 9051 §6.3.12", in: loggedIn, parse: parseAppend},
				{name: "CHECK", rfc: "RFC 3501 §6.4.1", in: selected, beside: true, parse: alone(runNoop)},
				{name: "CLOSE", rfc: "RFC 9051 §6.4.1", in: selected, parse: alone(runClose)},
				{name: "EXPUNGE", rfc: "RFC 9051 §6.4.3", in: selected, parse: parseExpunge},
			},
			both(command{name: "SEARCH", rfc: "RFC 9051 §6.4.4", in: selected, seqs: byNumbers, beside: true}, parseSearch),
			both(command{name: "FETCH", rfc: "RFC 9051 §6.4.5", in: selected, seqs: byNumbers, beside: true}, parseFetch),
			both(command{name: "STORE", rfc: "RFC 9051 §6.4.6", in: selected, seqs: byNumbers}, parseStore),
			both(command{name: "COPY", rfc: "RFC 9051 §6.4.7", in: selected, seqs: renumbers}, parseCopy),
		),
		fetch:  fetchItems(),
		search: searchKeys(),
		status: statusItems(),
	}
}

// rev2 is IMAP4rev2: RFC 9051. What it made of extensions is theirs here too; the rest is its dialect.
func rev2() extension {
	return extension{
		name: "IMAP4rev2", rfc: "RFC 9051",
		fetch:  binaryItems(),
		status: []statusItem{deletedItem()},
		enable: func(s *session) error { s.dialect = dialect{utf8: true, rev2: true}; return nil },
	}
}
