package imapd

import (
	"context"
	"encoding/base64"
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
		return nil, errBase64
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
	if err := c.exchange(ctx, s, x); err != nil {
		return reply{}, s.refused(c.mechanism, x.Name, err)
	}
	return s.admitted(ctx, c.mechanism, x)
}

// exchange is the dialogue of RFC 9051 §6.2.2.
func (c *authenticateCommand) exchange(ctx context.Context, s *session, x *sasl.Exchange) error {
	var response []byte
	var err error
	if c.initial != "" {
		if response, err = decodeBase64(c.initial); err != nil {
			return err
		}
	}
	for {
		challenge, done, err := x.Next(ctx, response)
		if err != nil || done {
			return err
		}
		if err := s.out.WriteString("+ " + base64.StdEncoding.EncodeToString(challenge) + "\r\n"); err != nil {
			return err
		}
		line, err := c.line()
		if err != nil {
			return err
		}
		if line == "*" {
			return errCanceled
		}
		if response, err = decodeBase64(line); err != nil {
			return err
		}
	}
}

// decodeBase64 decodes a response; "=" is an empty one: RFC 4959 §3.
func decodeBase64(s string) ([]byte, error) {
	if s == "=" {
		return []byte{}, nil
	}
	response, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, errBase64
	}
	return response, nil
}

// guesses are the errors after which a client may try another password; each makes it wait longer.
var guesses = [...]error{directory.ErrCredentials, sasl.ErrAuthorization, sasl.ErrBinding, sasl.ErrThrottled}

// refused is the end of a LOGIN or AUTHENTICATE that failed. What never came to be an attempt is not told to the metrics.
func (s *session) refused(mechanism, name string, err error) error {
	for _, guess := range guesses {
		if errors.Is(err, guess) {
			s.delay = s.server.opts.Limits.LoginDelay << s.failedLogins
			s.failedLogins++
			s.log.Info("authentication failed", "login", name, "remote", s.link.Remote(), "mechanism", mechanism, "err", err)
		}
	}
	var syntax reply
	if observe := s.server.opts.Observe.Authenticated; observe != nil && !errors.As(err, &syntax) && !errors.Is(err, sasl.ErrResponse) {
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
