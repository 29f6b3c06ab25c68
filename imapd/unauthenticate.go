package imapd

import "context"

// unauthenticate is UNAUTHENTICATE: RFC 8437. The connection is as it was after its TLS handshake: nobody's, with nothing enabled.
// It never fails (§3). While the connection is compressed there is no such command: compression would have to end with it (§4.1), at an
// octet of the input that the two sides may see differently.
func unauthenticate() extension {
	return extension{
		name: "UNAUTHENTICATE", rfc: "RFC 8437",
		offered:  func(s *session) bool { return s.account != nil && !s.link.Layered() },
		commands: []command{{name: "UNAUTHENTICATE", rfc: "RFC 8437 §3", in: loggedIn, parse: alone(runUnauthenticate)}},
	}
}

func runUnauthenticate(_ context.Context, s *session) (reply, error) {
	if s.link.Layered() {
		return reply{}, errState
	}
	s.logOut()
	s.view, s.dialect, s.client = nil, dialect{}, awareness{}
	return reply{}, nil
}
