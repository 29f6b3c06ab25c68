package sasl

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	xdg "github.com/xdg-go/scram"

	"posthouse/directory"
	"posthouse/directory/oidc"
	"posthouse/mail/mailtest"
)

// talk has somebody else's client talk to us.
func talk(t testing.TB, a *Authenticator, ch Channel, mechanism string, c *xdg.ClientConversation) (directory.Account, error) {
	t.Helper()
	x, err := a.Start(mechanism, ch)
	if err != nil {
		return directory.Account{}, err
	}
	var challenge []byte
	for {
		response, err := c.Step(string(challenge))
		if err != nil {
			t.Fatalf("the client refuses %q: %v", challenge, err)
		}
		var done bool
		if challenge, done, err = x.Next(ctx, []byte(response)); err != nil || done {
			if done && !c.Valid() {
				t.Error("we are done, and the client does not trust us")
			}
			return x.Account, err
		}
	}
}

var hashes = map[string]xdg.HashGeneratorFcn{"SCRAM-SHA-256": xdg.SHA256, "SCRAM-SHA-1": xdg.SHA1}

func newClient(t testing.TB, mechanism, name, secret, as string) *xdg.Client {
	t.Helper()
	c, err := hashes[strings.TrimSuffix(mechanism, "-PLUS")].NewClient(name, secret, as)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSCRAM(t *testing.T) {
	d := open(t)
	a := New(Options{Directory: d, SHA1: true})
	app, err := d.AddAppPassword(ctx, mailtest.Address("bob@south.test"), directory.AppPassword{Scope: directory.ScopeIMAP})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		name, secret, as string
		want             error
	}{
		"bob":           {"bob@south.test", "posthouse", "", nil},
		"as himself":    {"Bob@south.test", "posthouse", "bob@south.test", nil},
		"UTF-8":         {"ж@south.test", "posthouse", "", nil},
		"escapes":       {`"a,b=c"@south.test`, "posthouse", "", nil},
		"as another":    {"bob@south.test", "posthouse", "ж@south.test", ErrAuthorization},
		"wrong":         {"bob@south.test", "wrong", "", directory.ErrCredentials},
		"unknown":       {"nobody@south.test", "posthouse", "", directory.ErrCredentials},
		"no address":    {"bob", "posthouse", "", directory.ErrCredentials},
		"disabled":      {"gone@south.test", "posthouse", "", directory.ErrDisabled},
		"app password":  {"bob@south.test", app.Password, "", nil},
		"not the scope": {"bob@south.test", app.Password, "", directory.ErrCredentials},
	} {
		for mechanism := range hashes {
			ch := secure(home)
			if name == "app password" {
				ch.Scope = directory.ScopeIMAP
			}
			who, err := talk(t, a, ch, mechanism, newClient(t, mechanism, c.name, c.secret, c.as).NewConversation())
			wants(t, mechanism+" "+name, err, c.want)
			if (err == nil) != (who.ID != "") {
				t.Errorf("%s: %+v", name, who)
			}
		}
	}
}

// Channel bindings: both kinds under both versions of TLS, and what an attacker in between would see.
func TestBinding(t *testing.T) {
	cert := serverCertificate()
	a := New(Options{Directory: open(t), SHA1: true, Certificate: func(name string) *x509.Certificate {
		if name != "mail.south.test" {
			return nil
		}
		return cert.Leaf
	}})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		conf := &tls.Config{InsecureSkipVerify: true, ServerName: "mail.south.test", MaxVersion: version}
		server := &tls.Config{Certificates: []tls.Certificate{cert}}
		state := connect(t, conf, server)
		other := connect(t, conf, &tls.Config{Certificates: []tls.Certificate{serverCertificate()}})
		ch := Channel{TLS: &state.server, Client: home}
		for kind, bind := range map[string]func(*tls.ConnectionState) (xdg.ChannelBinding, error){
			"exporter": xdg.NewTLSExporterBinding, "end point": xdg.NewTLSServerEndpointBinding,
		} {
			for mechanism := range hashes {
				for _, c := range []struct {
					state tls.ConnectionState
					want  error
				}{{state.client, nil}, {other.client, ErrBinding}} {
					binding, err := bind(&c.state)
					if err != nil {
						t.Fatal(err)
					}
					conversation := newClient(t, mechanism, "bob@south.test", "posthouse", "").NewConversationWithChannelBinding(binding)
					_, err = talk(t, a, ch, mechanism+"-PLUS", conversation)
					wants(t, tls.VersionName(version)+" "+mechanism+" "+kind, err, c.want)
				}
			}
		}
		// RFC 5802 §6: a client that could bind, and saw no offer to where there was one.
		_, err := talk(t, a, ch, "SCRAM-SHA-256", newClient(t, "SCRAM-SHA-256", "bob@south.test", "posthouse", "").NewConversationAdvertisingChannelBinding())
		wants(t, "a downgrade", err, ErrBinding)
		_, err = talk(t, a, secure(home), "SCRAM-SHA-256", newClient(t, "SCRAM-SHA-256", "bob@south.test", "posthouse", "").NewConversationAdvertisingChannelBinding())
		wants(t, "no offer, and none seen", err, nil)
	}
}

func TestMalformedSCRAM(t *testing.T) {
	a := New(Options{Directory: open(t)})
	for _, message := range []string{
		"", "n", "n,", "n,,", "n,,n=bob@south.test", "n,,n=bob@south.test,", "n,,n=bob@south.test,r=", "n,,r=abc,n=bob@south.test", "n,,n=,r=abc",
		"n,,n=b=2c@south.test,r=abc", "n,,n=b=@south.test,r=abc", "x,,n=bob@south.test,r=abc", "p=tls-exporter,,n=bob@south.test,r=abc",
		"n,bob,n=bob@south.test,r=abc", "n,,m=x,n=bob@south.test,r=abc", "n,,n=bob@south.test,r=a\x7fc", "n,,n=b\x00@south.test,r=abc",
	} {
		_, _, err := run(a, secure(home), "SCRAM-SHA-256", []byte(message))
		wants(t, message, err, ErrResponse)
	}
	for final, want := range map[string]error{
		"": ErrResponse, "c=biws": ErrResponse, "c=biws,r=$": ErrResponse, "c=biws,r=$,p=": directory.ErrCredentials, "c=biws,r=$x,p=AAAA": ErrResponse,
		"c=biws,r=abc,p=AAAA": ErrResponse, "c=biws,r=$,p=!": ErrResponse, "c=!,r=$,p=AAAA": ErrResponse, "r=$,c=biws,p=AAAA": ErrResponse,
		"c=biws,r=$,p=AAAA": directory.ErrCredentials, "c=eSws,r=$,p=AAAA": ErrBinding, "c=biws,r=$,x=1,p=AAAA": directory.ErrCredentials,
	} {
		x, err := a.Start("SCRAM-SHA-256", secure(home))
		if err != nil {
			t.Fatal(err)
		}
		challenge, _, err := x.Next(ctx, []byte("n,,n=nobody@south.test,r=abc"))
		if err != nil {
			t.Fatal(err)
		}
		nonce, _, _ := strings.Cut(strings.TrimPrefix(string(challenge), "r="), ",")
		_, _, err = x.Next(ctx, []byte(strings.ReplaceAll(final, "$", nonce)))
		wants(t, final, err, want)
	}
}

// The signature is a challenge, and only nothing answers it (RFC 4954 §4, RFC 9051 §6.2.2).
func TestSignatureIsAnsweredByNothing(t *testing.T) {
	a := New(Options{Directory: open(t)})
	for response, want := range map[string]error{"": nil, "x": ErrResponse} {
		x, err := a.Start("SCRAM-SHA-256", secure(home))
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, "SCRAM-SHA-256", "bob@south.test", "posthouse", "").NewConversation()
		challenge, done := []byte(nil), false
		for range 2 {
			message, err := c.Step(string(challenge))
			if err != nil {
				t.Fatal(err)
			}
			if challenge, done, err = x.Next(ctx, []byte(message)); err != nil || done {
				t.Fatal(done, err)
			}
		}
		if x.Account.ID != "" {
			t.Error("it is somebody before the end")
		}
		_, _, err = x.Next(ctx, []byte(response))
		wants(t, response, err, want)
	}
}

// Whatever a client sends: no panic, and nobody is let in who has no password.
func FuzzExchange(f *testing.F) {
	a := New(Options{Directory: open(f), SHA1: true, Tokens: oidc.New(oidc.Options{Issuer: "https://127.0.0.1:1", Audience: "mail"})}) // which is not there
	for _, seed := range []string{"n,,n=bob@south.test,r=abc", "\x00bob@south.test\x00x", "y,a=x,n=bob,r=abc,x=y", "n,a=b,\x01auth=Bearer x\x01\x01"} {
		f.Add("SCRAM-SHA-256", []byte(seed), []byte("c=biws,r=abc,p="+base64.StdEncoding.EncodeToString([]byte(seed))))
		f.Add("PLAIN", []byte(seed), []byte{})
		f.Add("LOGIN", []byte(seed), []byte(seed))
		f.Add("OAUTHBEARER", []byte(seed), []byte(seed))
		f.Add("XOAUTH2", []byte("user=x\x01auth=Bearer x\x01\x01"), []byte(seed))
	}
	f.Fuzz(func(t *testing.T, mechanism string, first, second []byte) {
		x, err := a.Start(mechanism, Channel{Plaintext: true})
		if err != nil {
			return
		}
		for _, response := range [][]byte{first, second, second, {}} {
			_, done, err := x.Next(ctx, response)
			if done && !strings.Contains(string(first)+string(second), "posthouse") {
				t.Fatalf("%s let in %v", mechanism, x.Account)
			}
			if err != nil && !errors.Is(err, ErrResponse) && !errors.Is(err, directory.ErrCredentials) && !errors.Is(err, ErrThrottled) && !errors.Is(err, ErrBinding) &&
				!errors.Is(err, directory.ErrUnavailable) {
				t.Fatal(err)
			}
			if err != nil || done {
				return
			}
		}
	})
}
