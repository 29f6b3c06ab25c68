package imapd

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/emersion/go-sasl"

	"posthouse/directory"
)

// mechanism is a SASL mechanism of AUTHENTICATE.
type mechanism struct {
	name   string
	server func(context.Context, *verdict) sasl.Server
}

func (m mechanism) label() string { return m.name }

// verdict is what came of an authentication. Without any, the exchange itself went wrong.
type verdict struct {
	directory authenticator
	who       directory.Account
	err       error
	reached   bool
}

// password judges a name and password.
func (v *verdict) password(ctx context.Context, identity, login, password string) error {
	v.reached = true
	v.who, v.err = v.directory.Authenticate(ctx, directory.Login{Name: login, Password: password, Scope: directory.ScopeIMAP})
	if v.err == nil && identity != "" && !strings.EqualFold(identity, v.who.Login.String()) {
		v.err = errAuthorization
	}
	return v.err
}

func plainServer(ctx context.Context, v *verdict) sasl.Server {
	return sasl.NewPlainServer(func(identity, login, password string) error {
		return v.password(ctx, identity, login, password)
	})
}

func authPlain() extension {
	return extension{
		name: "AUTH=PLAIN", rfc: "RFC 4616",
		offered: func(s *session) bool { return s.beforeLogin() && s.mayLogIn() },
		sasl:    []mechanism{{"PLAIN", plainServer}},
	}
}

func saslIR() extension {
	return extension{name: "SASL-IR", rfc: "RFC 4959", offered: (*session).beforeLogin}
}

func loginDisabled() extension {
	return extension{
		name: "LOGINDISABLED", rfc: "RFC 9051 §6.2.3",
		offered: func(s *session) bool { return s.beforeLogin() && !s.mayLogIn() },
	}
}

// mayLogIn tells whether passwords may be sent on this connection: RFC 9051 §11.7.
func (s *session) mayLogIn() bool { return s.link.secure() || s.server.opts.AllowPlaintextAuth }

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
	if !s.mayLogIn() {
		return reply{}, errLoginDisabled
	}
	m, known := s.server.table.sasl[c.mechanism]
	if !known {
		return reply{}, errMechanism
	}
	v := &verdict{directory: s.server.opts.Directory}
	if err := c.exchange(s, m.server(ctx, v)); !v.reached {
		return reply{}, err
	}
	return s.authenticated(ctx, m.name, v)
}

// exchange is the dialogue of RFC 9051 §6.2.2.
func (c *authenticateCommand) exchange(s *session, server sasl.Server) error {
	var response []byte
	var err error
	if c.initial != "" {
		if response, err = decodeBase64(c.initial); err != nil {
			return err
		}
	}
	for {
		challenge, done, err := server.Next(response)
		if err != nil || done {
			return errSASL // unless there is a verdict
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

// authenticated is the end of LOGIN and AUTHENTICATE.
func (s *session) authenticated(ctx context.Context, mechanism string, v *verdict) (reply, error) {
	if observe := s.server.opts.Observe.Authenticated; observe != nil {
		observe(mechanism, v.err)
	}
	if errors.Is(v.err, directory.ErrCredentials) || errors.Is(v.err, errAuthorization) {
		s.delay = s.server.opts.Limits.LoginDelay << s.failedLogins
		s.failedLogins++
	}
	if v.err != nil {
		return reply{}, v.err
	}
	if err := s.logIn(ctx, v.who); err != nil {
		return reply{}, err
	}
	s.log.Info("logged in", "mechanism", mechanism)
	return reply{code: string(s.appendCapabilities(nil)), text: "Logged in"}, nil
}
