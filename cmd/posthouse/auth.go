package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"

	"posthouse/crypto/password"
	"posthouse/directory"
	"posthouse/directory/oidc"
	"posthouse/directory/sasl"
	"posthouse/internal/config"
)

// openAuthority makes what lets users in, one for all doors, so that guesses at one count at all.
func (h *house) openAuthority() error {
	o := sasl.Options{Directory: h.directory, Certificate: h.certs.Shown, SHA1: h.auth.SCRAMSHA1, Trusted: h.admission.clients.Never}
	if issuer := h.auth.OAuth; issuer.Issuer != "" {
		o.Tokens = oidc.New(oidc.Options{Issuer: issuer.Issuer, Audience: issuer.Audience, Claim: issuer.Claim})
	}
	h.authority = sasl.New(o)
	return nil
}

// scram are the hash functions for which keys are kept of passwords: those that are offered.
func (h *house) scram() []password.Hash {
	if h.auth.SCRAMSHA1 {
		return []password.Hash{password.SHA256, password.SHA1}
	}
	return []password.Hash{password.SHA256}
}

func (h *house) allowance() directory.Allowance {
	return directory.Allowance{
		Messages: h.limits.MessagesPerDay, Recipients: h.limits.RecipientsPerDay, NewRecipients: h.limits.NewRecipientsPerDay,
	}
}

// doorTLS is the TLS of a door. Where users come in, they may show a certificate that tells who they are; other servers, which have
// certificates too, are not asked for them.
func (h *house) doorTLS(protocol string) *tls.Config {
	c := h.certs.Config()
	switch protocol {
	case "submission", "submissions", "imap", "imaps", "pop3", "pop3s":
		if h.users != nil {
			c.ClientCAs, c.ClientAuth = h.users, tls.VerifyClientCertIfGiven
		}
	}
	return c
}

// openUsers reads the authorities that vouch for the certificates of users.
func openUsers(c *config.Config) (*x509.CertPool, error) {
	file := c.TLS.ClientCAFile
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New(file + " holds no certificate in PEM")
	}
	return pool, nil
}
