// Package oidc verifies access tokens that the issuer of an organisation's sign-in signed: JWT by OpenID Connect.
//
// It must not know accounts, protocols or who asks: it says for whom a token was issued. What it needs of the issuer, where its keys
// are and what they are, is fetched when a token comes and kept; keys live for an hour, so that one the issuer took back is not taken
// for longer.
//
// The flow: Issuer.Verify → go-oidc's verifier (issuer, audience, time, algorithm) → keySet.VerifySignature → Issuer.named → fetch, through
// a carrier that bounds every answer. A fetch is shared by all who wait for it, no lock is held meanwhile, and the next has to wait.
package oidc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/sync/singleflight"

	"posthouse/directory"
)

// maxToken is the longest token that is looked at: it may come from anybody.
const maxToken = 8 << 10

// Options say whose tokens are taken.
type Options struct {
	Issuer   string // its URL, as the claim "iss" has it
	Audience string // what the claim "aud" has to name: ourselves (RFC 8725 §3.9)
	Claim    string // which claim is the login name; empty: email
	// Client makes requests. nil: http.DefaultTransport does.
	Client http.RoundTripper
	Now    func() time.Time // nil: time.Now
}

// Issuer verifies the tokens of one issuer. All methods may be called from many goroutines.
type Issuer struct {
	opts   Options
	http   *http.Client
	keys   atomic.Pointer[keys] // nil: none were fetched yet
	flight singleflight.Group   // fetches them
	asked  time.Time            // the last time; only flight touches it
}

// New makes an Issuer. It asks nothing yet: an issuer that is down keeps no mail server from starting.
func New(o Options) *Issuer {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Claim = cmp.Or(o.Claim, "email")
	if o.Client == nil {
		o.Client = http.DefaultTransport
	}
	scheme, _, _ := strings.Cut(o.Issuer, ":")
	return &Issuer{opts: o, http: &http.Client{
		Transport: carrier{o.Client, strings.ToLower(scheme)}, Timeout: fetchTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Discovery is where the issuer says how tokens are got.
func (i *Issuer) Discovery() string {
	return strings.TrimSuffix(i.opts.Issuer, "/") + "/.well-known/openid-configuration"
}

// algorithms are those a token may be signed with; never one that needs no key, or ours: RFC 8725 §3.1.
func algorithms() []string {
	return []string{
		oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA,
	}
}

// Verify is the login name that a token was issued for: directory.ErrCredentials for a token that is not good, directory.ErrUnavailable
// if the issuer cannot be asked. Signature, algorithm, issuer, audience and time are checked: RFC 8725 §3.
func (i *Issuer) Verify(ctx context.Context, token string) (string, error) {
	if len(token) > maxToken {
		return "", fmt.Errorf("%w: a token of %d octets", directory.ErrCredentials, len(token))
	}
	keys := &keySet{issuer: i}
	v := oidc.NewVerifier(i.opts.Issuer, keys, &oidc.Config{
		ClientID: i.opts.Audience, SupportedSigningAlgs: algorithms(), Now: i.opts.Now,
	})
	t, err := v.Verify(ctx, token)
	switch {
	case keys.err != nil:
		return "", errors.Join(directory.ErrUnavailable, keys.err)
	case err != nil:
		return "", errors.Join(directory.ErrCredentials, err)
	}
	claims := map[string]any{}
	if err := t.Claims(&claims); err != nil {
		return "", errors.Join(directory.ErrCredentials, err)
	}
	name, ok := claims[i.opts.Claim].(string)
	if verified, told := claims["email_verified"]; !ok || i.opts.Claim == "email" && told && verified != true && verified != "true" { // some say it as text
		return "", fmt.Errorf("%w: the token has no %s that the issuer has verified", directory.ErrCredentials, i.opts.Claim)
	}
	return name, nil
}
