package pop3d

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"posthouse/directory"
	"posthouse/directory/sasl"
)

// channel is the session's connection, as mechanisms see it.
func (s *session) channel() sasl.Channel {
	return sasl.Channel{TLS: s.link.TLS(), Plaintext: s.server.opts.AllowPlaintextAuth, Scope: directory.ScopePOP3, Client: s.link.Client()}
}

// mayLogIn tells whether passwords may be sent on this connection: RFC 2595 §2.3.
func (s *session) mayLogIn() bool { return s.link.Secure() || s.server.opts.AllowPlaintextAuth }

// runUser is USER. Every name is good: who is here is nobody's business.
func runUser(_ context.Context, s *session, name string) (answer, error) {
	switch {
	case !s.mayLogIn():
		return answer{}, sasl.ErrUnprotected
	case name == "":
		return answer{}, errArguments
	case !utf8.ValidString(name): // RFC 6856 §2.2
		return answer{}, errUTF8
	}
	s.user = name
	return say(ok("PASS, please"))
}

// runPass is PASS. Spaces are of the password: RFC 1939 §7.
func runPass(ctx context.Context, s *session, password string) (answer, error) {
	switch {
	case s.user == "":
		return answer{}, errUserFirst
	case !utf8.ValidString(password):
		return answer{}, errUTF8
	}
	x, err := s.server.opts.Auth.Password(ctx, s.channel(), s.user, password)
	if err != nil {
		return answer{}, s.refused("USER", s.user, err)
	}
	return s.admitted(ctx, "USER", x)
}

// mechanisms are the arguments of SASL: RFC 5034 §3.
func mechanisms(s *session) string { return strings.Join(s.server.opts.Auth.Offered(s.channel()), " ") }

// runAuth is AUTH, with the exchange of RFC 5034 §4. An initial response should not make the line longer than other commands are; clients
// with tokens of OAuth have it so nevertheless.
func runAuth(ctx context.Context, s *session, args string) (answer, error) {
	words := strings.Fields(args)
	if len(words) < 1 || len(words) > 2 {
		return answer{}, errArguments
	}
	mechanism, initial := strings.ToUpper(words[0]), strings.Join(words[1:], "")
	x, err := s.server.opts.Auth.Start(mechanism, s.channel())
	if err != nil {
		return answer{}, err
	}
	err = x.Converse(ctx, initial, func(challenge string) (string, error) {
		if err := s.out.WriteString("+ " + challenge + "\r\n"); err != nil {
			return "", err
		}
		return s.readLine()
	})
	if err != nil {
		return answer{}, s.refused(mechanism, x.Name, err)
	}
	return s.admitted(ctx, mechanism, x)
}

// refused is the end of a login that failed. What never came to be an attempt is not told to the metrics.
func (s *session) refused(mechanism, name string, err error) error {
	if sasl.IsGuess(err) {
		s.delay = s.server.opts.Limits.LoginDelay << s.failedLogins
		s.failedLogins++
		s.log.Info("authentication failed", "login", name, "remote", s.link.Remote(), "mechanism", mechanism, "err", err)
	}
	var line reply
	if observe := s.server.opts.Observe.Authenticated; observe != nil && sasl.IsAttempt(err) && s.gone == nil && !errors.As(err, &line) {
		observe(mechanism, err)
	}
	return err
}

// admitted is the end of one that did not.
func (s *session) admitted(ctx context.Context, mechanism string, x *sasl.Exchange) (answer, error) {
	if err := s.logIn(ctx, x.Account); err != nil {
		return answer{}, err
	}
	if err := x.Confirm(ctx); err != nil {
		s.logOut(ctx)
		return answer{}, s.refused(mechanism, x.Name, err)
	}
	if observe := s.server.opts.Observe.Authenticated; observe != nil {
		observe(mechanism, nil)
	}
	s.log = s.log.With("login", s.who.Login.String())
	s.log.Info("logged in", "remote", s.link.Remote(), "mechanism", mechanism)
	return say(ok(s.drop.summary()))
}
