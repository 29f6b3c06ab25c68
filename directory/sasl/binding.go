package sasl

import (
	"crypto"
	_ "crypto/sha512" // the hash of some certificates' signatures
	"crypto/x509"
)

// bindings are the channel bindings there are, and the octets of each: what both ends of a connection know of it, and nobody in between.
var bindings = [...]struct {
	name   string
	octets func(*Authenticator, *Channel) []byte // nil: it cannot be had
}{
	{"tls-exporter", exporter},
	{"tls-server-end-point", endPoint},
}

// plusOffered: where the connection has something to bind to.
func plusOffered(a *Authenticator, ch *Channel) bool {
	for _, b := range bindings {
		if b.octets(a, ch) != nil {
			return true
		}
	}
	return false
}

func (a *Authenticator) binding(ch *Channel, name string) ([]byte, bool) {
	for _, b := range bindings {
		if b.name == name {
			octets := b.octets(a, ch)
			return octets, octets != nil
		}
	}
	return nil, false
}

// exporter is tls-exporter: RFC 9266 §2. Under TLS 1.2 it can be had only with the extended master secret (§4.2), without which crypto/tls
// exports nothing.
func exporter(_ *Authenticator, ch *Channel) []byte {
	if ch.TLS == nil {
		return nil
	}
	octets, err := ch.TLS.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
	if err != nil {
		return nil
	}
	return octets
}

// endPoint is tls-server-end-point: RFC 5929 §4.1, a hash of the certificate that the server showed.
func endPoint(a *Authenticator, ch *Channel) []byte {
	if ch.TLS == nil || a.opts.Certificate == nil {
		return nil
	}
	c := a.opts.Certificate(ch.TLS.ServerName)
	if c == nil {
		return nil
	}
	h := endPointHash(c.SignatureAlgorithm)
	if h == 0 {
		return nil
	}
	f := h.New()
	f.Write(c.Raw)
	return f.Sum(nil)
}

// endPointHash is that of the certificate's signature, and SHA-256 for those too weak; a signature without one has no such binding.
func endPointHash(s x509.SignatureAlgorithm) crypto.Hash {
	switch s {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.SHA256WithRSA, x509.ECDSAWithSHA256, x509.SHA256WithRSAPSS:
		return crypto.SHA256
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		return crypto.SHA384
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		return crypto.SHA512
	}
	return 0
}
