package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// ACMEOptions say whom to ask for certificates: RFC 8555.
type ACMEOptions struct {
	Dir       string   // where account, certificates and keys are kept
	Hosts     []string // names of the certificate
	Directory string   // URL of the authority's directory; empty: Let's Encrypt
	Email     string   // whom the authority writes to; may be empty
	RootFile  string   // PEM file of the authority's own root, for a private one; empty: the system's roots
	HTTPPort  int      // where HTTP-01 challenges are answered; 0: 80. Another port needs somebody who forwards port 80 to it
	Log       *slog.Logger
}

// ACME gets a certificate by HTTP-01 challenges (RFC 8555 §8.3) and renews it until ctx ends. There is no TLS-ALPN-01: few mail servers
// listen on port 443, and an attempt there that fails costs the whole order. Until the first one is there, and whenever
// the authority cannot be reached for too long, a self-signed one serves: opportunistic SMTP does not ask for more.
func ACME(ctx context.Context, o ACMEOptions) (*Keeper, error) {
	k, err := SelfSigned(filepath.Join(o.Dir, "self-signed"), o.Hosts)
	if err != nil {
		return nil, err
	}
	issuer, err := o.issuer()
	if err != nil {
		return nil, err
	}
	var config *certmagic.Config
	cache := certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return config, nil }, Logger: issuer.Logger,
	})
	config = certmagic.New(cache, certmagic.Config{Storage: &certmagic.FileStorage{Path: filepath.Join(o.Dir, "acme")}, Logger: issuer.Logger})
	config.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(config, issuer)}
	if err := config.ManageAsync(ctx, o.Hosts); err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	context.AfterFunc(ctx, cache.Stop)
	k.challenge = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return config.GetCertificateWithContext(ctx, hello)
	}
	k.hosts = o.Hosts
	return k, nil
}

func (o ACMEOptions) issuer() (certmagic.ACMEIssuer, error) {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	i := certmagic.ACMEIssuer{CA: o.Directory, Email: o.Email, Agreed: true, DisableTLSALPNChallenge: true, AltHTTPPort: o.HTTPPort, Logger: zap.New(slogCore{log})}
	if i.CA == "" {
		i.CA = certmagic.LetsEncryptProductionCA
	}
	if o.RootFile == "" {
		return i, nil
	}
	pem, err := os.ReadFile(o.RootFile)
	if err != nil {
		return i, fmt.Errorf("certs: %w", err)
	}
	i.TrustedRoots = x509.NewCertPool()
	if !i.TrustedRoots.AppendCertsFromPEM(pem) {
		return i, errors.New("certs: " + o.RootFile + " holds no certificate")
	}
	return i, nil
}

// slogCore writes what the ACME library logs to our log.
type slogCore struct{ log *slog.Logger }

// Enabled is zapcore.Core; zap's levels are slog's divided by four.
func (c slogCore) Enabled(l zapcore.Level) bool {
	return c.log.Enabled(context.Background(), slog.Level(l)*4)
}

// With is zapcore.Core.
func (c slogCore) With(fields []zapcore.Field) zapcore.Core {
	return slogCore{c.log.With(attributes(fields)...)}
}

// Check is zapcore.Core.
func (c slogCore) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

// Write is zapcore.Core.
func (c slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	c.log.Log(context.Background(), slog.Level(e.Level)*4, e.Message, attributes(fields)...)
	return nil
}

// Sync is zapcore.Core.
func (c slogCore) Sync() error { return nil }

func attributes(fields []zapcore.Field) (all []any) {
	values := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(values)
	}
	for name, value := range values.Fields {
		all = append(all, slog.Any(name, value))
	}
	return all
}
