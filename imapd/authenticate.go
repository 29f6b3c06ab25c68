package imapd

import (
	"context"
	"errors"

	"posthouse/directory"
	"posthouse/directory/sasl"
)

// authentication is AUTHENTICATE's mechanisms, which are package sasl's: a capability each.
func authentication() extension {
	return extension{
		name: "AUTH", rfc: "RFC 9051 §6.2.2", early: true,
		offered: func(s *session) bool { return s.beforeLogin() && s.mayLogIn() },
		words: func(s *session) []string {
			names := s.server.opts.Auth.Offered(s.channel())
			for i := range names {
				names[i] = "AUTH=" + names[i]
			}
			return names
		},
	}
}

// channel is the session's connection, as mechanisms see it.
func (s *session) channel() sasl.Channel {
	return sasl.Channel{TLS: s.link.TLS(), Plaintext: s.server.opts.AllowPlaintextAuth, Scope: directory.ScopeIMAP, Client: s.link.Client()}
}

func saslIR() extension {
	return extension{name: "SASL-IR", rfc: "RFC 4959", early: true, offered: (*session).beforeLogin}
}

func loginDisabled() extension {
	return extension{
		name: "LOGINDISABLED", rfc: "RFC 9051 §6.2.3", early: true,
		offered: func(s *session) bool { return s.beforeLogin() && !s.mayLogIn() },
	}
}

// mayLogIn tells whether passwords may be sent on this connection: RFC 9051 §11.7.
func (s *session) mayLogIn() bool { return s.link.Secure() || s.server.opts.AllowPlaintextAuth }

type authenticateCommand struct {
	mechanism string
	initial   string                 // base64; empty if there is none
	line      func() (string, error) // asks for a line and reads it
}

func parseAuthenticate(p *parser) (runner, error) {
	c := &authenticateCommand{line: p.continuation}
	if !p.SP() || !p.Label(&c.mechanism) {
		return nil, p.Err()
	}
	if p.AtEnd() {
		return c, nil
	}
	if !p.SP() || !p.Line(&c.initial) {
		return nil, p.Err()
	}
	if c.initial == "" {
		return nil, sasl.ErrBase64
	}
	return c, nil
}

// continuation asks for a line and reads it.
func (p *parser) continuation() (string, error) {
	var line string
	if !p.NextLine() || !p.Line(&line) {
		return "", p.Err()
	}
	return line, nil
}

func (c *authenticateCommand) run(ctx context.Context, s *session) (reply, error) {
	x, err := s.server.opts.Auth.Start(c.mechanism, s.channel())
	if err != nil {
		return reply{}, err
	}
	if err := x.Converse(ctx, c.initial, c.ask(s)); err != nil {
		return reply{}, s.refused(c.mechanism, x.Name, err)
	}
	return s.admitted(ctx, c.mechanism, x)
}

// ask sends a challenge and reads the response: RFC 9051 §6.2.2.
func (c *authenticateCommand) ask(s *session) func(challenge string) (string, error) {
	return func(challenge string) (string, error) {
		if err := s.out.WriteString("+ " + challenge + "\r\n"); err != nil {
			return "", err
		}
		return c.line()
	}
}

// refused is the end of a LOGIN or AUTHENTICATE that failed. What never came to be an attempt is not told to the metrics.
func (s *session) refused(mechanism, name string, err error) error {
	if sasl.IsGuess(err) {
		s.delay = s.server.opts.Limits.LoginDelay << s.failedLogins
		s.failedLogins++
		s.log.Info("authentication failed", "login", name, "remote", s.link.Remote(), "mechanism", mechanism, "err", err)
	}
	var syntax reply
	if observe := s.server.opts.Observe.Authenticated; observe != nil && !errors.As(err, &syntax) && sasl.IsAttempt(err) {
		observe(mechanism, err)
	}
	return err
}

// admitted is the end of one that did not.
func (s *session) admitted(ctx context.Context, mechanism string, x *sasl.Exchange) (reply, error) {
	if err := s.logIn(ctx, x.Account); err != nil {
		return reply{}, err
	}
	if err := x.Confirm(ctx); err != nil {
		s.logOut()
		return reply{}, s.refused(mechanism, x.Name, err)
	}
	if observe := s.server.opts.Observe.Authenticated; observe != nil {
		observe(mechanism, nil)
	}
	s.log.Info("logged in", "remote", s.link.Remote(), "mechanism", mechanism)
	return reply{code: string(s.appendCapabilities(nil)), text: "Logged in"}, nil
}
