package imapd

import "context"

func startTLS() extension {
	return extension{
		name: "STARTTLS", rfc: "RFC 9051 §6.2.1", early: true,
		offered:  func(s *session) bool { return s.beforeLogin() && s.server.opts.TLS != nil && !s.link.Secure() },
		commands: []command{{name: "STARTTLS", rfc: "RFC 9051 §6.2.1", in: notAuthenticated, parse: alone(runStartTLS)}},
	}
}

func runStartTLS(_ context.Context, s *session) (reply, error) {
	config := s.server.opts.TLS
	switch {
	case s.link.Secure():
		return reply{}, errTLSOn
	case config == nil:
		return reply{}, errNoTLS
	}
	s.after = func(ctx context.Context) { s.secure(ctx, config) }
	return reply{text: "Begin TLS"}, nil
}
