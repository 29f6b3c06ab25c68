package sasl

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"posthouse/directory"
)

// tokens verifies bearer tokens.
type tokens interface {
	// Verify is the login name that a token was issued for: ErrCredentials if the token is worth nothing, ErrUnavailable if that cannot be
	// told now.
	Verify(ctx context.Context, token string) (string, error)
	// Discovery is where a client learns how to get a token.
	Discovery() string
}

func tokensOffered(a *Authenticator, _ *Channel) bool { return a.opts.Tokens != nil }

// oauthBearer is OAUTHBEARER: RFC 7628 §3.1. Host and port, which a client may name, are not compared: the audience of the token says
// more.
func oauthBearer(x *Exchange) step {
	return orAsk(func(ctx context.Context, response []byte) ([]byte, step, error) {
		header, pairs, ok := strings.Cut(string(response), "\x01")
		flag, as, ok2 := strings.Cut(header, ",")
		as, ok3 := strings.CutSuffix(as, ",")
		if as != "" {
			ok = ok && cutAttribute(&as, "a=") && decodeName(&as)
		}
		token, ok4 := bearer(pairs)
		if !(ok && ok2 && ok3 && ok4) || flag != "n" && flag != "y" {
			return nil, nil, ErrResponse
		}
		return x.token(ctx, token, as)
	})
}

// xoauth2 is XOAUTH2, which came before: "user=" name, "auth=Bearer " token.
func xoauth2(x *Exchange) step {
	return orAsk(func(ctx context.Context, response []byte) ([]byte, step, error) {
		user, pairs, ok := strings.Cut(string(response), "\x01")
		token, ok2 := bearer(pairs)
		if !ok || !ok2 || !cutAttribute(&user, "user=") {
			return nil, nil, ErrResponse
		}
		return x.token(ctx, token, user)
	})
}

// bearer finds the token among the key-value pairs, each ended by an octet 1, and one more at the end: RFC 7628 §3.1.
func bearer(pairs string) (token string, ok bool) {
	if pairs, ok = strings.CutSuffix(pairs, "\x01\x01"); !ok {
		return "", false
	}
	for pair := range strings.SplitSeq(pairs, "\x01") {
		value, found := strings.CutPrefix(pair, "auth=")
		scheme, rest, _ := strings.Cut(value, " ")
		if found && strings.EqualFold(scheme, "Bearer") { // RFC 6750 §2.1; the names of HTTP's schemes have no case
			token = strings.TrimSpace(rest)
		}
	}
	return token, token != ""
}

// token lets in whom a token was issued for. Failures are not counted: nobody can guess at a signature, and tokens that are over come from
// honest programs all the time.
func (x *Exchange) token(ctx context.Context, token, as string) ([]byte, step, error) {
	x.Name = as
	name, err := x.auth.opts.Tokens.Verify(ctx, token)
	if err == nil {
		x.Name = name
		err = x.admitNamed(ctx, name, as)
	}
	if errors.Is(err, directory.ErrCredentials) {
		return x.explain(err)
	}
	return nil, nil, err
}

// explain tells the client what is wrong with its token, before the exchange fails with its next response, whatever that is: RFC 7628
// §3.2.2, §3.2.3. XOAUTH2 has the words of HTTP.
func (x *Exchange) explain(err error) ([]byte, step, error) {
	words := map[string]string{"status": "invalid_token", "openid-configuration": x.auth.opts.Tokens.Discovery()}
	if x.Mechanism == "XOAUTH2" {
		words = map[string]string{"status": "401", "schemes": "bearer"}
	}
	text, failed := json.Marshal(words)
	if failed != nil {
		return nil, nil, failed
	}
	return text, func(context.Context, []byte) ([]byte, step, error) { return nil, nil, err }, nil
}
