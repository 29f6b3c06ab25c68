// Package oidctest is an OpenID Connect issuer for tests: its documents over TLS on loopback, and tokens that it signs.
package oidctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
)

// Claims are those of a token.
type Claims map[string]any

// Issuer is the issuer.
type Issuer struct {
	URL      string
	server   *httptest.Server
	requests atomic.Int64

	mu     sync.Mutex
	key    *ecdsa.PrivateKey
	id     string
	answer http.HandlerFunc
}

// New starts an issuer, which ends with the test.
func New(t testing.TB) *Issuer {
	t.Helper()
	return begin(t, httptest.NewTLSServer)
}

// NewPlain is New without TLS, for a process that cannot be told to trust the issuer's certificate.
func NewPlain(t testing.TB) *Issuer {
	t.Helper()
	return begin(t, httptest.NewServer)
}

func begin(t testing.TB, serve func(http.Handler) *httptest.Server) *Issuer {
	t.Helper()
	i := &Issuer{}
	i.NewKey(t)
	i.server = serve(http.HandlerFunc(i.serve))
	t.Cleanup(i.server.Close)
	i.URL = i.server.URL
	return i
}

// NewKey signs with a new key from now on; the old one is taken back.
func (i *Issuer) NewKey(t testing.TB) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key, i.id = key, rand.Text()
}

// Transport trusts the issuer's certificate.
func (i *Issuer) Transport() http.RoundTripper { return i.server.Client().Transport }

// Requests is how many there were.
func (i *Issuer) Requests() int64 { return i.requests.Load() }

// Answer has something else answer; nil: the issuer itself again.
func (i *Issuer) Answer(f http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = f
}

func (i *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	i.requests.Add(1)
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.answer != nil {
		i.answer(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	document := map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys"}
	if r.URL.Path == "/keys" {
		x, y := coordinates(i.key)
		document = map[string]any{"keys": []map[string]string{{"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": i.id, "x": x, "y": y}}}
	}
	json.NewEncoder(w).Encode(document)
}

// coordinates are those of the public key: RFC 7518 §6.2.1.
func coordinates(key *ecdsa.PrivateKey) (x, y string) {
	point, err := key.PublicKey.Bytes()
	if err != nil {
		panic(err) // a key of P-256 has a point
	}
	return b64(point[1:33]), b64(point[33:])
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func unsigned(t testing.TB, header map[string]string, c Claims) string {
	t.Helper()
	h, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return b64(h) + "." + b64(body)
}

// Sign makes a token.
func (i *Issuer) Sign(t testing.TB, c Claims) string {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	text := unsigned(t, map[string]string{"alg": "ES256", "kid": i.id, "typ": "at+jwt"}, c)
	digest := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + b64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

// Unsigned is a token of the algorithm "none".
func Unsigned(t testing.TB, c Claims) string {
	t.Helper()
	return unsigned(t, map[string]string{"alg": "none"}, c) + "."
}

// SignedWithPublicKey is a token whose signature is a MAC, keyed with what everybody knows: RFC 8725 §2.1.
func SignedWithPublicKey(t testing.TB, i *Issuer, c Claims) string {
	t.Helper()
	point, err := i.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	text := unsigned(t, map[string]string{"alg": "HS256", "kid": i.id}, c)
	m := hmac.New(crypto.SHA256.New, point)
	m.Write([]byte(text))
	return text + "." + b64(m.Sum(nil))
}
