package config

import (
	"net/netip"
	"net/url"
)

// maxPerDay bounds what an account may be allowed to send.
const maxPerDay = 100_000_000

// Auth says by what accounts may prove who they are, beside their passwords.
type Auth struct {
	SCRAMSHA1 bool // offers SCRAM-SHA-1, for old clients
	OAuth     OAuth
}

// OAuth is the issuer whose tokens are taken; an empty Issuer: none.
type OAuth struct {
	Issuer   string // a URL
	Audience string // whom tokens must be for
	Claim    string // which claim is the login name
}

type docAuth struct {
	SCRAMSHA1 bool     `toml:"scram_sha1"`
	OAuth     docOAuth `toml:"oauth"`
}

type docOAuth struct {
	Issuer   string `toml:"issuer"`
	Audience string `toml:"audience"`
	Claim    string `toml:"claim"`
}

func (p *parser) auth(d docAuth) Auth {
	switch o := d.OAuth; {
	case o.Issuer == "" && o.Audience != "":
		p.complain("auth.oauth.issuer", "an audience needs the issuer of its tokens; give its URL, like \"https://login.example.com\"")
	case o.Issuer != "" && o.Audience == "":
		p.complain("auth.oauth.audience", "without it tokens for any other service would be taken; give what the issuer calls this one")
	case o.Issuer != "" && !isIssuer(o.Issuer):
		p.complain("auth.oauth.issuer", "%q is not an https URL; give one like \"https://login.example.com\"", o.Issuer)
	}
	return Auth{SCRAMSHA1: d.SCRAMSHA1, OAuth: OAuth(d.OAuth)}
}

// isIssuer: what an issuer says is believed, so that nobody in between may say it. On loopback nobody is.
func isIssuer(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return false
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Scheme == "http" && err == nil && addr.IsLoopback()
}

// perDay checks a number of messages or recipients; 0 is any number.
func (p *parser) perDay(key string, n int) int {
	if n < 0 || n > maxPerDay {
		p.complain(key, "%d is not between 0, which is any number, and %d", n, maxPerDay)
	}
	return n
}
