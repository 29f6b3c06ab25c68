package dkim

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"posthouse/internal/dns"
)

// key is a public key record: RFC 6376 §3.6.1.
type key struct {
	public   crypto.PublicKey
	kind     string // rsa, ed25519
	strict   bool   // t=s: i= must be d= itself
	hashes   []string
	services []string
}

// lookupKey finds the key of a signature. The result is Pass if there is one.
func lookupKey(ctx context.Context, txt TXT, s *signature) (key, Result, error) {
	records, err := txt(ctx, s.Selector+"._domainkey."+s.Domain)
	switch {
	case errors.Is(err, dns.ErrNoName) || errors.Is(err, dns.ErrNoData):
		return key{}, PermError, errors.New("no key for the signature")
	case err != nil:
		return key{}, TempError, errors.New("the key could not be looked up")
	}
	reason := errors.New("no key for the signature")
	for _, record := range records { // RFC 6376 §3.6.2.2: several are undefined; the first that is one counts
		k, err := parseKey(record)
		if err == nil {
			return k, Pass, nil
		}
		reason = err
	}
	return key{}, PermError, reason
}

func parseKey(record string) (k key, err error) {
	t, err := parseTags(record)
	if err != nil {
		return key{}, fmt.Errorf("the key record: %w", err)
	}
	if v, ok := t["v"]; ok && v != "DKIM1" {
		return key{}, errors.New("the key record has an unknown version")
	}
	k.strict = slices.Contains(list(t["t"]), "s") // t=y changes nothing: a failure refuses nothing by itself (RFC 6376 §3.6.1)
	if h, ok := t["h"]; ok {
		k.hashes = list(h)
	}
	if s, ok := t["s"]; ok {
		k.services = list(s)
	}
	p, ok := t["p"]
	if !ok {
		return key{}, errors.New("the key record has no key")
	}
	if p = squeeze(p); p == "" {
		return key{}, errors.New("the key was revoked")
	}
	der, err := base64.StdEncoding.DecodeString(p)
	if err != nil {
		return key{}, errors.New("the key is not base64")
	}
	k.kind = strings.ToLower(t["k"])
	switch k.kind {
	case "", "rsa":
		k.kind = "rsa"
		k.public, err = parseRSA(der)
	case "ed25519": // RFC 8463 §4: the bare key
		if len(der) != ed25519.PublicKeySize {
			err = errors.New("the key has the wrong size")
		}
		k.public = ed25519.PublicKey(der)
	default:
		err = errors.New("the key is of an unknown type")
	}
	return k, err
}

// parseRSA takes SubjectPublicKeyInfo as everybody publishes it, and RSAPublicKey as RFC 6376 said before its erratum 3017.
func parseRSA(der []byte) (*rsa.PublicKey, error) {
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		if public, err = x509.ParsePKCS1PublicKey(der); err != nil {
			return nil, errors.New("the key cannot be read")
		}
	}
	k, ok := public.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("the key is not an RSA key")
	}
	return k, nil
}

// algorithms are those of RFC 8301 §3.1 and RFC 8463: the key type of each, all with SHA-256.
func algorithmKind(a string) (kind string, ok bool) {
	kind, ok = map[string]string{"rsa-sha256": "rsa", "ed25519-sha256": "ed25519"}[a]
	return kind, ok
}

// fits tells whether the key may have made the signature.
func (k key) fits(s *signature) (Result, error) {
	kind, _ := algorithmKind(s.Algorithm)
	if kind != k.kind {
		return PermError, errors.New("the key is for another algorithm")
	}
	if k.hashes != nil && !slices.Contains(k.hashes, "sha256") {
		return PermError, errors.New("the key is not for this hash")
	}
	if k.services != nil && !slices.Contains(k.services, "*") && !slices.Contains(k.services, "email") {
		return PermError, errors.New("the key is not for mail")
	}
	if k.strict && s.identity != s.Domain {
		return PermError, errors.New("the key does not allow i= below its domain")
	}
	if p, ok := k.public.(*rsa.PublicKey); ok {
		if bits := p.N.BitLen(); bits < MinRSABits || bits > MaxRSABits {
			return Policy, fmt.Errorf("an RSA key of %d bits is not taken", bits)
		}
	}
	return Pass, nil
}

// check verifies the signature over the hashed header.
func (k key) check(sum [sha256.Size]byte, sig []byte) bool {
	switch p := k.public.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(p, crypto.SHA256, sum[:], sig) == nil
	case ed25519.PublicKey:
		return ed25519.Verify(p, sum[:], sig) // RFC 8463 §3: PureEdDSA over the hash
	}
	return false
}

func marshalRSA(p *rsa.PublicKey) ([]byte, error) { return x509.MarshalPKIXPublicKey(p) }
