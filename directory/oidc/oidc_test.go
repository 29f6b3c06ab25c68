package oidc_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"posthouse/directory"
	"posthouse/directory/oidc"
	"posthouse/directory/oidc/oidctest"
)

var ctx = context.Background()

func TestVerify(t *testing.T) {
	now := time.Now()
	issuer := oidctest.New(t)
	i := oidc.New(oidc.Options{Issuer: issuer.URL, Audience: "mail", Client: issuer.Transport(), Now: func() time.Time { return now }})
	good := func(change func(oidctest.Claims)) oidctest.Claims {
		c := oidctest.Claims{"iss": issuer.URL, "aud": "mail", "exp": now.Add(time.Hour).Unix(), "email": "alice@house.test"}
		change(c)
		return c
	}
	same := func(oidctest.Claims) {}
	whole := issuer.Sign(t, good(same))
	for name, c := range map[string]struct {
		token string
		want  error
	}{
		"good":             {whole, nil},
		"list of audience": {issuer.Sign(t, good(func(c oidctest.Claims) { c["aud"] = []string{"x", "mail"} })), nil},
		"verified":         {issuer.Sign(t, good(func(c oidctest.Claims) { c["email_verified"] = true })), nil},
		"verified text":    {issuer.Sign(t, good(func(c oidctest.Claims) { c["email_verified"] = "true" })), nil},
		"no verified text": {issuer.Sign(t, good(func(c oidctest.Claims) { c["email_verified"] = "false" })), directory.ErrCredentials},
		"verified null":    {issuer.Sign(t, good(func(c oidctest.Claims) { c["email_verified"] = nil })), directory.ErrCredentials},
		"not verified":     {issuer.Sign(t, good(func(c oidctest.Claims) { c["email_verified"] = false })), directory.ErrCredentials},
		"other audience":   {issuer.Sign(t, good(func(c oidctest.Claims) { c["aud"] = "shop" })), directory.ErrCredentials},
		"other issuer":     {issuer.Sign(t, good(func(c oidctest.Claims) { c["iss"] = "https://other.test" })), directory.ErrCredentials},
		"over":             {issuer.Sign(t, good(func(c oidctest.Claims) { c["exp"] = now.Add(-time.Minute).Unix() })), directory.ErrCredentials},
		"endless":          {issuer.Sign(t, good(func(c oidctest.Claims) { delete(c, "exp") })), directory.ErrCredentials},
		"not yet":          {issuer.Sign(t, good(func(c oidctest.Claims) { c["nbf"] = now.Add(time.Hour).Unix() })), directory.ErrCredentials},
		"nobody":           {issuer.Sign(t, good(func(c oidctest.Claims) { delete(c, "email") })), directory.ErrCredentials},
		"no signature":     {oidctest.Unsigned(t, good(same)), directory.ErrCredentials},
		"signed with what": {oidctest.SignedWithPublicKey(t, issuer, good(same)), directory.ErrCredentials},
		"no token":         {"token", directory.ErrCredentials},
		"long":             {strings.Repeat("x", 9<<10), directory.ErrCredentials},
	} {
		got, err := i.Verify(ctx, c.token)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) || err == nil && got != "alice@house.test" {
			t.Errorf("%s: %q, %v; want %v", name, got, err, c.want)
		}
	}
	// A signature that is another token's.
	changed := issuer.Sign(t, good(func(c oidctest.Claims) { c["email"] = "root@house.test" }))
	changed = changed[:strings.LastIndex(changed, ".")] + whole[strings.LastIndex(whole, "."):]
	before := issuer.Requests()
	if _, err := i.Verify(ctx, changed); !errors.Is(err, directory.ErrCredentials) || issuer.Requests() != before {
		t.Errorf("%v, after %d requests", err, issuer.Requests()-before)
	}
}

// Keys that change are fetched anew, but not for every token that names one nobody has.
func TestKeysChange(t *testing.T) {
	now := time.Now()
	issuer := oidctest.New(t)
	i := oidc.New(oidc.Options{Issuer: issuer.URL, Audience: "mail", Client: issuer.Transport(), Now: func() time.Time { return now }})
	claims := oidctest.Claims{"iss": issuer.URL, "aud": "mail", "exp": now.Add(100 * time.Hour).Unix(), "email": "alice@house.test"}
	verify := func(token string, want error) {
		t.Helper()
		if _, err := i.Verify(ctx, token); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	old := issuer.Sign(t, claims)
	verify(old, nil)
	issuer.NewKey(t)
	changed := issuer.Sign(t, claims)
	verify(changed, directory.ErrUnavailable) // asked a moment ago
	now = now.Add(time.Minute)
	verify(changed, nil)
	before := issuer.Requests()
	for range 50 {
		verify(oidctest.New(t).Sign(t, claims), directory.ErrUnavailable)
	}
	if n := issuer.Requests() - before; n > 1 {
		t.Errorf("%d requests for keys that nobody has", n)
	}
	now = now.Add(2 * time.Hour)
	verify(old, directory.ErrCredentials) // its key was taken back
}

// Who comes while the keys are fetched waits for them, and nobody is sent away.
func TestManyAtOnce(t *testing.T) {
	issuer := oidctest.New(t)
	i := oidc.New(oidc.Options{Issuer: issuer.URL, Audience: "mail", Client: issuer.Transport()})
	token := issuer.Sign(t, oidctest.Claims{"iss": issuer.URL, "aud": "mail", "exp": time.Now().Add(time.Hour).Unix(), "email": "alice@house.test"})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := i.Verify(ctx, token); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := issuer.Requests(); n != 2 {
		t.Errorf("%d requests", n)
	}
}

func TestIssuerIsDown(t *testing.T) {
	now := time.Now()
	issuer, plain := oidctest.New(t), oidctest.NewPlain(t)
	i := oidc.New(oidc.Options{Issuer: issuer.URL, Audience: "mail", Client: issuer.Transport(), Now: func() time.Time { return now }})
	claims := oidctest.Claims{"iss": issuer.URL, "aud": "mail", "exp": now.Add(100 * time.Hour).Unix(), "email": "alice@house.test"}
	token := issuer.Sign(t, claims)
	for _, answer := range []http.HandlerFunc{
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) },
		func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte(`{"a":"` + strings.Repeat("x", 2<<20) + `"}`))
		},
		func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		func(w http.ResponseWriter, _ *http.Request) { // who is in between may say what the keys are
			w.Write([]byte(`{"issuer":"` + issuer.URL + `","jwks_uri":"` + plain.URL + `/keys"}`))
		},
	} {
		issuer.Answer(answer)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := i.Verify(ctx, token); !errors.Is(err, directory.ErrUnavailable) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		now = now.Add(time.Minute)
	}
	if n := plain.Requests(); n != 0 {
		t.Errorf("keys were asked for without TLS, %d times", n)
	}
	issuer.Answer(nil)
	if _, err := i.Verify(ctx, token); err != nil {
		t.Errorf("after it came back: %v", err)
	}
}
