package mta

import (
	"context"
	"crypto/tls"
	"time"

	"posthouse/mail/smtp"
)

// startTLS is STARTTLS: RFC 3207.
func startTLS() extension {
	return extension{
		name:    "STARTTLS",
		rfc:     "RFC 3207",
		bit:     smtp.StartTLS,
		offered: func(s *session) bool { return s.server.opts.TLS != nil && !s.tls.on() },
		verbs:   []verb{{"STARTTLS", "RFC 3207 §4", needsNoArgument, runStartTLS}},
	}
}

// runStartTLS: what the client sent before the handshake is dropped, and what it said is forgotten (RFC 3207 §4.2).
func runStartTLS(context.Context, *session, []byte) answer {
	return answer{reply: replyStartTLS, then: func(ctx context.Context, s *session) (answer, error) {
		s.in.drop()
		s.endTransaction()
		s.hello = greeting{}
		s.becomesUser(noAccount, "")
		return answer{}, s.handshake(ctx)
	}}
}

// handshake is the server's, in its time.
func (s *session) handshake(ctx context.Context) error {
	if err := s.flush(); err != nil {
		return err
	}
	if err := s.raw.SetDeadline(time.Now().Add(s.server.opts.Limits.HandshakeTime)); err != nil {
		return err
	}
	conn := tls.Server(s.raw, s.server.opts.TLS)
	if err := conn.HandshakeContext(ctx); err != nil {
		s.server.metrics.tls.add("failed")
		s.log.Info("TLS handshake failed", "err", err)
		return errHandshake
	}
	state := conn.ConnectionState()
	s.tls = tlsInfo{state.Version, state.CipherSuite}
	s.server.metrics.tls.add(tls.VersionName(state.Version))
	s.conn = conn
	return nil
}
