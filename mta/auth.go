package mta

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"strings"

	"posthouse/directory"
	"posthouse/directory/sasl"
	"posthouse/mail/smtp"
)

var noAccount directory.Account

// authentication is AUTH: RFC 4954. Which mechanisms there are, and how they go, is package sasl's. Nothing passes without TLS, unless
// the server is told otherwise.
func authentication() extension {
	return extension{
		name:    "AUTH",
		rfc:     "RFC 4954",
		bit:     smtp.Auth,
		offered: (*session).authOffered,
		params:  func(s *session) string { return strings.Join(s.server.opts.Auth.Offered(s.channel()), " ") },
		verbs:   []verb{{"AUTH", "RFC 4954 §4", needsHello, runAuth}},
		refusal: func(s *session) smtp.Reply {
			if s.server.traits.submission {
				return replyEncrypt
			}
			return replyNotOffered
		},
	}
}

func (s *session) authOffered() bool {
	return s.server.traits.submission && (s.tls.on() || s.server.opts.AllowPlaintextAuth)
}

// channel is the session's connection, as mechanisms see it.
func (s *session) channel() sasl.Channel {
	ch := sasl.Channel{Plaintext: s.server.opts.AllowPlaintextAuth, Scope: directory.ScopeSMTP, Client: s.remote.Addr()}
	if conn, ok := s.conn.(*tls.Conn); ok {
		state := conn.ConnectionState()
		ch.TLS = &state
	}
	return ch
}

// isAuth tells the one command whose line may be longer than the others'.
func isAuth(line []byte) bool {
	return len(line) > 5 && bytes.EqualFold(line[:5], []byte("AUTH "))
}

// runAuth is AUTH: mechanism, and perhaps the initial response, "=" if that is empty (RFC 4954 §4).
func runAuth(ctx context.Context, s *session, args []byte) answer {
	switch {
	case s.account.ID != "" || s.tx != nil || !s.hello.extended:
		return say(replyAuthNotNow)
	case len(args) == 0:
		return say(replyTo(smtp.ErrSyntax))
	}
	name, initial, hasInitial := strings.Cut(string(args), " ")
	run, err := s.server.opts.Auth.Start(strings.ToUpper(name), s.channel())
	if err != nil {
		return say(replyToAuth(err))
	}
	x := exchange{run}
	if !hasInitial {
		return x.next(ctx, s, nil)
	}
	response, err := decodeResponse(strings.TrimLeft(initial, " "))
	if err != nil {
		return say(replyNotBase64)
	}
	return x.next(ctx, s, response)
}

func decodeResponse(s string) ([]byte, error) {
	if s == "=" {
		return []byte{}, nil
	}
	return base64.StdEncoding.DecodeString(s)
}

// exchange is one run of a mechanism, in the frame of RFC 4954.
type exchange struct{ *sasl.Exchange }

// next hands a response to the mechanism; nil: there was none yet.
func (x exchange) next(ctx context.Context, s *session, response []byte) answer {
	challenge, done, err := x.Next(ctx, response)
	switch {
	case err != nil:
		return say(x.failed(s, err))
	case done:
		s.becomesUser(x.Account, x.Mechanism)
		if err := x.Confirm(ctx); err != nil {
			s.becomesUser(noAccount, "")
			return say(x.failed(s, err))
		}
		s.server.metrics.authenticated.add(Attempt{x.Mechanism, sasl.Outcome(nil)})
		s.log.Info("authenticated", "login", s.account.Login, "mechanism", x.Mechanism)
		return say(replyAuthOK)
	}
	return answer{reply: smtp.Reply{Code: 334, Text: base64.StdEncoding.EncodeToString(challenge)}, then: x.read}
}

// failed counts a failure, and is its reply.
func (x exchange) failed(s *session, err error) smtp.Reply {
	r := replyToAuth(err)
	s.log.Info("authentication failed", "login", x.Name, "mechanism", x.Mechanism, "err", err)
	s.server.metrics.authenticated.add(Attempt{x.Mechanism, sasl.Outcome(err)})
	if r.Permanent() || errors.Is(err, sasl.ErrThrottled) {
		s.authFailures++
	}
	return r
}

// read waits for the client's response: RFC 4954 §4.
func (x exchange) read(ctx context.Context, s *session) (answer, error) {
	line, err := s.response()
	switch {
	case errors.Is(err, errLineLong):
		return say(replyAuthLong), nil
	case err != nil:
		if r := replyTo(err); r.Code == 500 {
			return say(r), nil
		}
		return answer{}, err
	case string(line) == "*":
		return say(replyCancelled), nil
	}
	response, err := base64.StdEncoding.DecodeString(string(line))
	if err != nil {
		return say(replyNotBase64), nil
	}
	return x.next(ctx, s, response), nil
}
