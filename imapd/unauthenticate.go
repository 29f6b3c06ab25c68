package imapd

import "context"

// unauthenticate is UNAUTHENTICATE: RFC 8437. The connection is as it was after its TLS handshake: nobody's, with nothing enabled.
func unauthenticate() extension {
	return extension{
		name: "UNAUTHENTICATE", rfc: "RFC 8437",
		offered:  func(s *session) bool { return s.account != nil },
		commands: []command{{name: "UNAUTHENTICATE", rfc: "RFC 8437 §2", in: loggedIn, parse: alone(runUnauthenticate)}},
	}
}

func runUnauthenticate(_ context.Context, s *session) (reply, error) {
	err := s.logOut()
	s.view, s.dialect, s.client = nil, dialect{}, awareness{}
	return reply{}, err
}
