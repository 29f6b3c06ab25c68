package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

const (
	// keysLifetime is how long keys are believed without asking again.
	keysLifetime = time.Hour
	// fetchEvery is how often an issuer is asked at most, whatever tokens come: who makes up keys gains nothing.
	fetchEvery = 30 * time.Second
	// fetchTime bounds asking once.
	fetchTime = 10 * time.Second
)

// maxKeys is how many keys of an issuer are kept: two are usual, while one replaces the other.
const maxKeys = 100

// keys are an issuer's, as they were fetched.
type keys struct {
	list []jose.JSONWebKey
	at   time.Time
}

// named are the keys with an ID; without one, all: RFC 7517 §4.5 has it be no duty.
func (k *keys) named(id string) (found []jose.JSONWebKey) {
	for _, key := range k.list {
		if id == "" || key.KeyID == id {
			found = append(found, key)
		}
	}
	return found
}

// atHand are the keys with an ID that were fetched not long ago.
func (i *Issuer) atHand(id string) []jose.JSONWebKey {
	k := i.keys.Load()
	if k == nil || i.opts.Now().Sub(k.at) >= keysLifetime {
		return nil
	}
	return k.named(id)
}

// named are the issuer's keys with an ID. They are fetched if it is new, or those at hand are old: an issuer may change them any time.
func (i *Issuer) named(id string) ([]jose.JSONWebKey, error) {
	if found := i.atHand(id); len(found) > 0 {
		return found, nil
	}
	_, err, _ := i.flight.Do("", func() (any, error) {
		now := i.opts.Now()
		if len(i.atHand(id)) > 0 { // somebody else's flight has just ended
			return nil, nil
		}
		if now.Sub(i.asked) < fetchEvery {
			return nil, fmt.Errorf("%w: it was, less than %s ago", errFetch, fetchEvery)
		}
		i.asked = now
		k, err := i.fetch()
		if err == nil {
			i.keys.Store(k)
		}
		return nil, err
	})
	if found := i.atHand(id); len(found) > 0 {
		return found, nil
	}
	return nil, err
}

// fetch asks the issuer where its keys are, and for them. Whoever began it may leave, and others wait: it ends by itself.
func (i *Issuer) fetch() (*keys, error) {
	ctx, cancel := context.WithTimeout(oidc.ClientContext(context.Background(), i.http), fetchTime)
	defer cancel()
	p, err := oidc.NewProvider(ctx, i.opts.Issuer)
	if err != nil {
		return nil, err
	}
	var where struct {
		Keys string `json:"jwks_uri"`
	}
	if err := p.Claims(&where); err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, where.Keys, nil)
	if err != nil {
		return nil, err
	}
	resp, err := i.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&set); err != nil {
		return nil, fmt.Errorf("%s: %w", where.Keys, err)
	}
	return &keys{parse(set.Keys), i.opts.Now()}, nil
}

// parse passes over keys of kinds that nobody here knows, as RFC 7517 §5 asks, and those that are not for signatures (§4.2).
func parse(set []json.RawMessage) (list []jose.JSONWebKey) {
	for _, text := range set[:min(len(set), maxKeys)] {
		var key jose.JSONWebKey
		if json.Unmarshal(text, &key) == nil && key.Use != "enc" && key.IsPublic() {
			list = append(list, key)
		}
	}
	return list
}

// keySet verifies one token. It keeps why there are no keys, apart from a signature that is wrong: the library tells both as text.
type keySet struct {
	issuer *Issuer
	err    error
}

var errSignature = errors.New("oidc: none of the issuer's keys has made the signature")

// VerifySignature is oidc.KeySet.
func (k *keySet) VerifySignature(_ context.Context, token string) ([]byte, error) {
	var allowed []jose.SignatureAlgorithm
	for _, a := range algorithms() {
		allowed = append(allowed, jose.SignatureAlgorithm(a))
	}
	signed, err := jose.ParseSignedCompact(token, allowed)
	if err != nil || len(signed.Signatures) != 1 {
		return nil, errors.Join(errSignature, err)
	}
	found, err := k.issuer.named(signed.Signatures[0].Header.KeyID)
	if err != nil {
		k.err = err
		return nil, err
	}
	for _, key := range found {
		if payload, err := signed.Verify(key); err == nil {
			return payload, nil
		}
	}
	return nil, errSignature
}
