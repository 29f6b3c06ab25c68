package pop3d

import "context"

// mayStartTLS tells whether STLS is permitted now, which is when it is announced: RFC 2595 §4.
func (s *session) mayStartTLS() bool {
	return s.drop == nil && s.server.opts.TLS != nil && !s.link.Secure()
}

// runSTLS is STLS. What the client said before the handshake is forgotten, and what it sent ahead of it dropped: it may be another's.
func runSTLS(_ context.Context, s *session) (answer, error) {
	config := s.server.opts.TLS
	switch {
	case s.link.Secure():
		return answer{}, errTLSOn
	case config == nil:
		return answer{}, errNoTLS
	}
	s.after = func(ctx context.Context) {
		if err := s.link.StartTLS(ctx, config); err != nil {
			s.log.Debug("TLS handshake", "err", err)
			s.ended = true
			return
		}
		s.listen()
		s.utf8, s.errors, s.failedLogins = false, 0, 0
	}
	return say(ok("Begin TLS"))
}

// runUTF8 is UTF8.
func runUTF8(_ context.Context, s *session) (answer, error) {
	s.utf8 = true
	return say(ok("UTF8"))
}
