// Package oidc verifies access tokens that the issuer of an organisation's sign-in signed: JWT by OpenID Connect.
//
// It must not know accounts, protocols or who asks: it says for whom a token was issued. What it needs of the issuer, where its keys
// are and what they are, is fetched when a token comes and kept; keys live for an hour, so that one the issuer took back is not taken
// for longer.
//
// The flow: Issuer.Verify → verifier (discovery, once) → go-oidc, whose key set fetches through a carrier that bounds every answer and
// asks no URL more than once in a while.
package oidc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"posthouse/directory"
)

// How long what was fetched of an issuer is believed.
const (
	keysLifetime  = time.Hour
	issuerRefresh = 24 * time.Hour
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
	opts Options
	http *http.Client

	mu         sync.Mutex
	verifier   *oidc.IDTokenVerifier // nil: not discovered yet
	keysURL    string
	keysUntil  time.Time
	knownUntil time.Time // the end of keysURL
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
	return &Issuer{opts: o, http: &http.Client{
		Transport: newCarrier(o.Client, o.Now), Timeout: fetchTime,
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
	var fetching error
	ctx = context.WithValue(oidc.ClientContext(ctx, i.http), fetchingKey{}, &fetching)
	v, err := i.current(ctx)
	if err != nil {
		return "", errors.Join(directory.ErrUnavailable, err)
	}
	t, err := v.Verify(ctx, token)
	switch {
	case fetching != nil:
		return "", errors.Join(directory.ErrUnavailable, fetching)
	case err != nil:
		return "", errors.Join(directory.ErrCredentials, err)
	}
	claims := map[string]any{}
	if err := t.Claims(&claims); err != nil {
		return "", errors.Join(directory.ErrCredentials, err)
	}
	name, ok := claims[i.opts.Claim].(string)
	if verified, told := claims["email_verified"].(bool); !ok || i.opts.Claim == "email" && told && !verified {
		return "", fmt.Errorf("%w: the token has no %s that the issuer has verified", directory.ErrCredentials, i.opts.Claim)
	}
	return name, nil
}

// current is the verifier, with keys that are not too old.
func (i *Issuer) current(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.opts.Now()
	if now.After(i.knownUntil) {
		if err := i.discover(ctx); err != nil && i.keysURL == "" {
			return nil, err
		}
		i.knownUntil, i.keysUntil = now.Add(issuerRefresh), time.Time{}
	}
	if now.After(i.keysUntil) {
		keys := keySet{oidc.NewRemoteKeySet(oidc.ClientContext(context.Background(), i.http), i.keysURL)}
		i.verifier = oidc.NewVerifier(i.opts.Issuer, keys, &oidc.Config{
			ClientID: i.opts.Audience, SupportedSigningAlgs: algorithms(), Now: i.opts.Now,
		})
		i.keysUntil = now.Add(keysLifetime)
	}
	return i.verifier, nil
}

// discover asks the issuer where its keys are. Who comes meanwhile waits for the answer too, at most fetchTime.
func (i *Issuer) discover(ctx context.Context) error {
	p, err := oidc.NewProvider(ctx, i.opts.Issuer)
	if err != nil {
		return err
	}
	var document struct {
		Keys string `json:"jwks_uri"`
	}
	if err := p.Claims(&document); err != nil {
		return err
	}
	if document.Keys == "" {
		return fmt.Errorf("oidc: %s names no keys", i.Discovery())
	}
	i.keysURL = document.Keys
	return nil
}

// fetchingKey is where a context carries what went wrong with fetching keys: the library tells it as text only.
type fetchingKey struct{}

// keySet notes why there are no keys, apart from a signature that is wrong.
type keySet struct{ oidc.KeySet }

// VerifySignature is oidc.KeySet.
func (k keySet) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := k.KeySet.VerifySignature(ctx, jwt)
	if note, ok := ctx.Value(fetchingKey{}).(*error); ok && (errors.Is(err, errFetch) || ctx.Err() != nil) {
		*note = err
	}
	return payload, err
}
