package imapd

import (
	"context"

	"posthouse/mailbox"
)

func namespace() extension {
	return extension{
		name: "NAMESPACE", rfc: "RFC 2342",
		commands: []command{{name: "NAMESPACE", rfc: "RFC 9051 §6.3.10", in: loggedIn, parse: alone(runNamespace)}},
	}
}

// runNamespace tells of the one namespace there is, the account's own.
func runNamespace(_ context.Context, s *session) (reply, error) {
	return reply{}, s.out.WriteString(`* NAMESPACE (("" "` + mailbox.Separator + `")) NIL NIL` + "\r\n")
}
