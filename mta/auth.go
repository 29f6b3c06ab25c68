package mta

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/emersion/go-sasl"

	"posthouse/directory"
	"posthouse/mail/smtp"
)

var noAccount directory.Account

// login checks a name and a password, and an identity to act as, which may only be the name (RFC 4616 §2).
type login func(identity, name, password string) error

// mechanisms are the SASL mechanisms, in the order of the EHLO answer.
var mechanisms = [...]struct {
	name, rfc string
	begin     func(login) sasl.Server
}{
	{"PLAIN", "RFC 4616", func(l login) sasl.Server { return sasl.NewPlainServer(sasl.PlainAuthenticator(l)) }},
	{"LOGIN", "draft-murchison-sasl-login", func(l login) sasl.Server { return &loginServer{login: l} }},
}

// authentication is AUTH: RFC 4954. Passwords pass only through TLS, unless the server is told otherwise.
func authentication() extension {
	names := make([]string, len(mechanisms))
	for i, m := range mechanisms {
		names[i] = m.name
	}
	line := strings.Join(names, " ")
	return extension{
		name:    "AUTH",
		rfc:     "RFC 4954",
		bit:     smtp.Auth,
		offered: (*session).authOffered,
		params:  func(*session) string { return line },
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
	for _, m := range mechanisms {
		if !strings.EqualFold(name, m.name) {
			continue
		}
		x := exchange{mechanism: m.name}
		x.server = m.begin(func(identity, name, password string) error { return x.login(ctx, s, identity, name, password) })
		if !hasInitial {
			return x.next(s, nil)
		}
		response, err := decodeResponse(strings.TrimLeft(initial, " "))
		if err != nil {
			return say(replyNotBase64)
		}
		return x.next(s, response)
	}
	return say(replyMechanism)
}

func decodeResponse(s string) ([]byte, error) {
	if s == "=" {
		return []byte{}, nil
	}
	return base64.StdEncoding.DecodeString(s)
}

// exchange is one run of a mechanism.
type exchange struct {
	mechanism string
	server    sasl.Server
	account   directory.Account
	err       error // of the directory: the mechanism may hide it
}

func (x *exchange) login(ctx context.Context, s *session, identity, name, password string) error {
	if identity != "" && !strings.EqualFold(identity, name) {
		x.err = directory.ErrCredentials
		return x.err
	}
	x.account, x.err = s.server.opts.Directory.Authenticate(ctx, directory.Login{Name: name, Password: password, Scope: directory.ScopeSMTP})
	if x.err != nil {
		s.log.Info("authentication failed", "login", name, "mechanism", x.mechanism, "err", x.err)
	}
	return x.err
}

// next hands a response to the mechanism; nil: there was none yet.
func (x *exchange) next(s *session, response []byte) answer {
	challenge, done, err := x.server.Next(response)
	switch {
	case err != nil:
		if x.err != nil {
			err = x.err
		}
		r := replyToAuth(err)
		if r.Permanent() {
			s.authFailures++
		}
		s.server.metrics.authenticated.add(outcomes[r.Code])
		return say(r)
	case done:
		s.account = x.account
		s.server.metrics.authenticated.add("ok")
		s.log.Info("authenticated", "login", s.account.Login, "mechanism", x.mechanism)
		return say(replyAuthOK)
	}
	return answer{reply: smtp.Reply{Code: 334, Text: base64.StdEncoding.EncodeToString(challenge)}, then: x.read}
}

// outcomes name the replies to AUTH in the metrics.
var outcomes = map[int]string{535: "wrong", 525: "disabled", 454: "unavailable", 501: "malformed"}

// read waits for the client's response: RFC 4954 §4.
func (x *exchange) read(_ context.Context, s *session) (answer, error) {
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
	return x.next(s, response), nil
}

// loginServer is LOGIN: the name and the password, each asked for. Old clients know nothing else.
type loginServer struct {
	login login
	asked int
	name  string
}

var errLogin = errors.New("mta: a response after the last")

// Next is sasl.Server.
func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if response == nil { // no initial response
		l.asked = 1
		return []byte("Username:"), false, nil
	}
	switch {
	case l.name == "" && l.asked <= 1:
		l.asked, l.name = 2, string(response)
		return []byte("Password:"), false, nil
	case l.asked == 2:
		l.asked = 3
		return nil, true, l.login("", l.name, string(response))
	}
	return nil, false, errLogin
}
