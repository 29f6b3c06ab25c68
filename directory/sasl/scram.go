package sasl

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"

	"posthouse/crypto/password"
	"posthouse/directory"
)

// The exchange is ours, on the keys that stay in the directory: a kept library (github.com/xdg-go/scram) knows one password for a name,
// and an account here has many. That library's client is the second opinion in the tests.

func sha1Offered(a *Authenticator, _ *Channel) bool { return a.opts.SHA1 }

func sha1PlusOffered(a *Authenticator, ch *Channel) bool {
	return sha1Offered(a, ch) && plusOffered(a, ch)
}

// variant is whether a mechanism's name ends in -PLUS.
type variant uint8

const (
	unbound variant = iota
	bound
)

// scramExchange is what a run of SCRAM has to remember: RFC 5802 §3.
type scramExchange struct {
	*Exchange
	hash    password.Hash
	variant variant

	identities
	header  string // gs2-header, as it came
	binding []byte // what c= has after the header
	first   string // client-first-message-bare
	answer  string // server-first-message
	nonce   string
}

func scram(h password.Hash, v variant) func(*Exchange) step {
	return func(x *Exchange) step {
		s := &scramExchange{Exchange: x, hash: h, variant: v}
		return orAsk(s.clientFirst)
	}
}

// clientFirst takes the client's first message: "n,,n=user,r=nonce".
func (s *scramExchange) clientFirst(ctx context.Context, message []byte) ([]byte, step, error) {
	nonce, err := s.parseFirst(string(message))
	if err != nil {
		return nil, nil, err
	}
	c, err := s.auth.opts.Directory.Challenge(ctx, s.name)
	if err != nil {
		return nil, nil, err
	}
	s.nonce = nonce + rand.Text()
	s.answer = fmt.Sprintf("r=%s,s=%s,i=%d", s.nonce, base64.StdEncoding.EncodeToString(c.Salt), c.Iterations)
	return []byte(s.answer), s.clientFinal, nil
}

// parseFirst reads it by RFC 5802 §7. Extensions that follow the nonce may be ignored; one that may not begins with "m=".
func (s *scramExchange) parseFirst(message string) (nonce string, err error) {
	flag, rest, ok1 := strings.Cut(message, ",")
	as, bare, ok2 := strings.Cut(rest, ",")
	s.header, s.first = message[:len(message)-len(bare)], bare
	name, rest, ok3 := strings.Cut(bare, ",")
	nonce, _, _ = strings.Cut(rest, ",")
	ok := ok1 && ok2 && ok3 && cutAttribute(&name, "n=") && cutAttribute(&nonce, "r=") && isNonce(nonce)
	if as != "" {
		ok = ok && cutAttribute(&as, "a=")
	}
	if !ok || !decodeName(&name) || !decodeName(&as) || name == "" {
		return "", ErrResponse
	}
	s.identities = identities{name: name, as: as}
	s.Name = name
	return nonce, s.bind(flag)
}

// bind judges the client's word on channel binding: RFC 5802 §6. A client that says it could bind, but saw no offer to, where there was
// one, has somebody in between who took the offer away.
func (s *scramExchange) bind(flag string) error {
	switch {
	case flag == "n" && s.variant == unbound:
		return nil
	case flag == "y" && s.variant == unbound:
		if plusOffered(s.auth, &s.channel) {
			return ErrBinding
		}
		return nil
	case strings.HasPrefix(flag, "p=") && s.variant == bound:
		var ok bool
		if s.binding, ok = s.auth.binding(&s.channel, flag[2:]); ok {
			return nil
		}
	}
	return ErrResponse
}

// clientFinal takes the proof: "c=biws,r=nonce,p=proof".
func (s *scramExchange) clientFinal(ctx context.Context, message []byte) ([]byte, step, error) {
	i := strings.LastIndex(string(message), ",p=")
	if i < 0 {
		return nil, nil, ErrResponse
	}
	without, proof := string(message[:i]), string(message[i:])
	binding, rest, _ := strings.Cut(without, ",")
	nonce, _, _ := strings.Cut(rest, ",")
	if !cutAttribute(&binding, "c=") || !cutAttribute(&nonce, "r=") || !cutAttribute(&proof, ",p=") || nonce != s.nonce {
		return nil, nil, ErrResponse
	}
	channel, err1 := base64.StdEncoding.Strict().DecodeString(binding)
	p, err2 := base64.StdEncoding.Strict().DecodeString(proof)
	if err1 != nil || err2 != nil {
		return nil, nil, ErrResponse
	}
	if !bytes.Equal(channel, append([]byte(s.header), s.binding...)) {
		return nil, nil, ErrBinding
	}
	return s.prove(ctx, directory.Proof{
		Name: s.name, Scope: s.channel.Scope, Hash: s.hash, Proof: p, Message: []byte(s.first + "," + s.answer + "," + without),
	})
}

// prove has the directory check the proof. Our signature is the last challenge: the client answers it with nothing.
func (s *scramExchange) prove(ctx context.Context, p directory.Proof) ([]byte, step, error) {
	s.proof = func(ctx context.Context) (directory.Account, error) {
		who, _, err := s.auth.opts.Directory.Prove(ctx, p)
		return who, err
	}
	var signature []byte
	who, err := s.auth.guard.attempt(subject{name: s.name, client: s.channel.Client}, func() (who directory.Account, err error) {
		who, signature, err = s.auth.opts.Directory.Prove(ctx, p)
		return who, err
	})
	if err != nil {
		return nil, nil, err
	}
	return []byte("v=" + base64.StdEncoding.EncodeToString(signature)), func(_ context.Context, response []byte) ([]byte, step, error) {
		if len(response) > 0 {
			return nil, nil, ErrResponse
		}
		return nil, nil, s.admit(who, s.as)
	}, nil
}

// cutAttribute takes the name of an attribute off its value.
func cutAttribute(value *string, name string) (ok bool) {
	*value, ok = strings.CutPrefix(*value, name)
	return ok
}

// decodeName undoes "=2C" for a comma and "=3D" for an equals sign: RFC 5802 §5.1. Any other use of "=" is an error.
func decodeName(s *string) bool {
	out := strings.NewReplacer("=2C", ",", "=3D", "=").Replace(*s)
	ok := strings.Count(*s, "=") == strings.Count(*s, "=2C")+strings.Count(*s, "=3D") && !strings.Contains(*s, "\x00")
	*s = out
	return ok
}

// isNonce: printable ASCII without a comma (RFC 5802 §7).
func isNonce(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r < 0x21 || r > 0x7e || r == ',' }) < 0
}
