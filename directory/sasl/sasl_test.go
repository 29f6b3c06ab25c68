package sasl

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"posthouse/directory"
	"posthouse/directory/oidc"
	"posthouse/directory/oidc/oidctest"
	"posthouse/internal/testkit"
	"posthouse/mail/mailtest"
)

func TestPlainAndLogin(t *testing.T) {
	a := New(Options{Directory: open(t)})
	for name, c := range map[string]struct {
		mechanism string
		responses string // divided by spaces; "-" is none
		want      error
	}{
		"plain":                   {"PLAIN", "\x00bob@south.test\x00posthouse", nil},
		"plain, asked":            {"PLAIN", "- \x00bob@south.test\x00posthouse", nil},
		"plain as oneself":        {"PLAIN", "BOB@south.test\x00bob@south.test\x00posthouse", nil},
		"plain, UTF-8":            {"PLAIN", "\x00ж@south.test\x00posthouse", nil},
		"plain as another":        {"PLAIN", "ж@south.test\x00bob@south.test\x00posthouse", ErrAuthorization},
		"plain as another, wrong": {"PLAIN", "ж@south.test\x00bob@south.test\x00wrong", directory.ErrCredentials},
		"plain, wrong":            {"PLAIN", "\x00bob@south.test\x00wrong", directory.ErrCredentials},
		"plain, unknown":          {"PLAIN", "\x00nobody@south.test\x00posthouse", directory.ErrCredentials},
		"plain, disabled":         {"PLAIN", "\x00gone@south.test\x00posthouse", directory.ErrDisabled},
		"plain, two fields":       {"PLAIN", "bob@south.test\x00posthouse", ErrResponse},
		"plain, four fields":      {"PLAIN", "\x00bob@south.test\x00posthouse\x00", ErrResponse},
		"plain, no name":          {"PLAIN", "\x00\x00posthouse", ErrResponse},
		"login":                   {"LOGIN", "- bob@south.test posthouse", nil},
		"login, name at once":     {"LOGIN", "bob@south.test posthouse", nil},
		"login, wrong":            {"LOGIN", "- bob@south.test wrong", directory.ErrCredentials},
		"unknown":                 {"CRAM-MD5", "-", ErrMechanism},
		"lower case":              {"plain", "-", ErrMechanism},
		"not enabled":             {"SCRAM-SHA-1", "-", ErrMechanism},
		"nothing to bind":         {"SCRAM-SHA-256-PLUS", "-", ErrMechanism},
		"no certificate":          {"EXTERNAL", "-", ErrMechanism},
		"no issuer":               {"XOAUTH2", "-", ErrMechanism},
	} {
		var responses [][]byte
		for f := range strings.SplitSeq(c.responses, " ") {
			if f == "-" {
				responses = append(responses, nil)
			} else {
				responses = append(responses, []byte(f))
			}
		}
		who, _, err := run(a, secure(home), c.mechanism, responses...)
		wants(t, name, err, c.want)
		if (err == nil) != (who.ID != "") {
			t.Errorf("%s: %+v", name, who)
		}
		open := secure(home)
		open.Plaintext = false
		if _, _, err := run(a, open, c.mechanism, responses...); c.want != ErrMechanism || name == "not enabled" {
			wants(t, name+" without TLS", err, ErrUnprotected)
		}
	}
	if _, err := a.Password(ctx, secure(home), "bob@south.test", "posthouse"); err != nil {
		t.Error(err)
	}
	_, err := a.Password(ctx, Channel{Client: home}, "bob@south.test", "posthouse")
	wants(t, "a password without TLS", err, ErrUnprotected)
}

func TestOutcome(t *testing.T) {
	for err, want := range map[error]string{
		nil: "ok", directory.ErrCredentials: "wrong", fmt.Errorf("x: %w", ErrThrottled): "throttled", directory.ErrUnavailable: "unavailable",
		errors.New("unforeseen"): "unavailable", ErrBinding: "intercepted", directory.ErrDisabled: "disabled", ErrResponse: "malformed",
	} {
		if got := Outcome(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

// After the last word there is none.
func TestNothingAfterTheEnd(t *testing.T) {
	a := New(Options{Directory: open(t)})
	for _, secret := range []string{"posthouse", "wrong"} {
		x, err := a.Start("PLAIN", secure(home))
		if err != nil {
			t.Fatal(err)
		}
		x.Next(ctx, []byte("\x00bob@south.test\x00"+secret)) //nolint:errcheck // what comes afterwards is the matter
		_, _, err = x.Next(ctx, []byte("\x00bob@south.test\x00posthouse"))
		wants(t, secret, err, ErrResponse)
	}
}

func TestOffered(t *testing.T) {
	server, person := serverCertificate(), testkit.Certificate(x509.Certificate{EmailAddresses: []string{"bob@south.test"}})
	people := x509.NewCertPool()
	people.AddCert(person.Leaf)
	conf := &tls.Config{Certificates: []tls.Certificate{server}, ClientCAs: people, ClientAuth: tls.VerifyClientCertIfGiven}
	state := connect(t, &tls.Config{InsecureSkipVerify: true}, conf).server
	named := connect(t, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{person}}, conf).server
	all := Options{Directory: open(t), SHA1: true, Tokens: oidc.New(oidc.Options{})}
	for name, c := range map[string]struct {
		options Options
		channel Channel
		want    string
	}{
		"without TLS": {all, Channel{}, ""},
		"plaintext":   {Options{}, Channel{Plaintext: true}, "SCRAM-SHA-256 PLAIN LOGIN"},
		"TLS":         {Options{}, Channel{TLS: &state}, "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN"},
		"everything":  {all, Channel{TLS: &named}, "EXTERNAL SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1 OAUTHBEARER XOAUTH2 PLAIN LOGIN"},
	} {
		if got := strings.Join(New(c.options).Offered(c.channel), " "); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestExternal(t *testing.T) {
	server := serverCertificate()
	for name, c := range map[string]struct {
		addresses []string
		as        []byte
		want      error
	}{
		"bob":         {[]string{"bob@south.test"}, []byte{}, nil},
		"bob himself": {[]string{"bob@south.test"}, []byte("bob@south.test"), nil},
		"one of two":  {[]string{"bob@elsewhere.test", "BOB@south.test"}, []byte{}, nil},
		"another":     {[]string{"bob@south.test"}, []byte("ж@south.test"), ErrAuthorization},
		"unknown":     {[]string{"bob@elsewhere.test"}, []byte{}, directory.ErrCredentials},
		"disabled":    {[]string{"gone@south.test"}, []byte{}, directory.ErrDisabled},
		"shared":      {[]string{"team@south.test"}, []byte{}, directory.ErrCredentials},
	} {
		person := testkit.Certificate(x509.Certificate{EmailAddresses: c.addresses})
		people := x509.NewCertPool()
		people.AddCert(person.Leaf)
		a := New(Options{Directory: open(t)})
		state := connect(t, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{person}},
			&tls.Config{Certificates: []tls.Certificate{server}, ClientCAs: people, ClientAuth: tls.VerifyClientCertIfGiven}).server
		ch := Channel{TLS: &state, Client: home}
		_, _, err := run(a, ch, "EXTERNAL", nil, c.as)
		wants(t, name, err, c.want)
		state.VerifiedChains = nil // it was shown, and nobody vouches for it
		_, _, err = run(a, ch, "EXTERNAL", c.as)
		wants(t, name+", not verified", err, ErrMechanism)
	}
}

func TestTokens(t *testing.T) {
	now := time.Now()
	issuer := oidctest.New(t)
	o := Options{Directory: open(t), Tokens: oidc.New(oidc.Options{Issuer: issuer.URL, Audience: "mail", Client: issuer.Transport()})}
	a := New(o)
	token := func(email string) string {
		return issuer.Sign(t, oidctest.Claims{"iss": issuer.URL, "aud": "mail", "exp": now.Add(time.Hour).Unix(), "email": email})
	}
	bob := token("bob@south.test")
	_, _, err := run(a, secure(home), "XOAUTH2", []byte("user=\x01auth=Bearer "+bob+"\x01\x01"))
	wants(t, "no name", err, nil)
	for name, c := range map[string]struct {
		mechanism, response string
		want                error
	}{
		"bearer":                 {"OAUTHBEARER", "n,,\x01auth=Bearer " + bob + "\x01\x01", nil},
		"bearer, all said":       {"OAUTHBEARER", "n,a=bob@south.test,\x01host=mail.south.test\x01port=587\x01auth=bearer " + bob + "\x01\x01", nil},
		"bearer as another":      {"OAUTHBEARER", "n,a=ж@south.test,\x01auth=Bearer " + bob + "\x01\x01", ErrAuthorization},
		"bearer, nobody":         {"OAUTHBEARER", "n,,\x01auth=Bearer " + token("nobody@south.test") + "\x01\x01", directory.ErrCredentials},
		"bearer, disabled":       {"OAUTHBEARER", "n,,\x01auth=Bearer " + token("gone@south.test") + "\x01\x01", directory.ErrDisabled},
		"bearer, no token":       {"OAUTHBEARER", "n,,\x01auth=Bearer token\x01\x01", directory.ErrCredentials},
		"bearer, nothing":        {"OAUTHBEARER", "n,,\x01\x01", ErrResponse},
		"bearer, bound":          {"OAUTHBEARER", "p=tls-exporter,,\x01auth=Bearer " + bob + "\x01\x01", ErrResponse},
		"bearer, one end":        {"OAUTHBEARER", "n,,\x01auth=Bearer " + bob + "\x01", ErrResponse},
		"bearer, other scheme":   {"OAUTHBEARER", "n,,\x01auth=Basic " + bob + "\x01\x01", ErrResponse},
		"xoauth2":                {"XOAUTH2", "user=bob@south.test\x01auth=Bearer " + bob + "\x01\x01", nil},
		"xoauth2 as another":     {"XOAUTH2", "user=ж@south.test\x01auth=Bearer " + bob + "\x01\x01", ErrAuthorization},
		"xoauth2, no token":      {"XOAUTH2", "user=bob@south.test\x01auth=Bearer token\x01\x01", directory.ErrCredentials},
		"xoauth2, without user=": {"XOAUTH2", "bob@south.test\x01auth=Bearer " + bob + "\x01\x01", ErrResponse},
	} {
		who, challenges, err := run(a, secure(home), c.mechanism, []byte(c.response), []byte("\x01"))
		wants(t, name, err, c.want)
		if (err == nil) != (who.Login.String() == "bob@south.test") {
			t.Errorf("%s: %+v", name, who)
		}
		// RFC 7628 §3.2.2: the client is told why, and answers before it fails.
		if explained := len(challenges) == 1 && bytes.Contains(challenges[0], []byte(`"status"`)); explained != (c.want == directory.ErrCredentials) {
			t.Errorf("%s: challenges %q", name, challenges)
		}
	}
	// A signature that is another's.
	bad := token("ж@south.test")
	bad = bad[:strings.LastIndex(bad, ".")] + bob[strings.LastIndex(bob, "."):]
	_, _, err = run(a, secure(home), "OAUTHBEARER", []byte("n,,\x01auth=Bearer "+bad+"\x01\x01"), []byte("\x01"))
	wants(t, "a changed token", err, directory.ErrCredentials)
	issuer = oidctest.New(t)
	o.Tokens = oidc.New(oidc.Options{Issuer: issuer.URL, Audience: "mail"}) // whose certificate is not trusted
	_, _, err = run(New(o), secure(home), "XOAUTH2", []byte("user=bob@south.test\x01auth=Bearer "+bob+"\x01\x01"))
	wants(t, "an issuer that cannot be asked", err, directory.ErrUnavailable)
}

// logIn tries to be somebody.
func logIn(a *Authenticator, ch Channel, name, secret string) error {
	_, err := a.Password(ctx, ch, name, secret)
	return err
}

// guessAt tries to be somebody by a password that is wrong, and another each time.
func guessAt(a *Authenticator, ch Channel, name string) error { return logIn(a, ch, name, rand.Text()) }

// Whoever guesses waits, and as long for a name that does not exist; the right password does not help meanwhile.
func TestGuessesWait(t *testing.T) {
	for _, name := range []string{"bob@south.test", "nobody@south.test", "no address"} {
		now := time.Now()
		a := New(Options{Directory: open(t), Now: func() time.Time { return now }})
		var errs []error
		for i := range 30 { // each from a network of its own, so that only the name counts
			errs = append(errs, guessAt(a, secure(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})), name))
		}
		if first := slices.Index(errs, ErrThrottled); first != 11 {
			t.Errorf("%s: attempt %d waits first", name, first)
		}
		wants(t, name, logIn(a, secure(stranger), name, "posthouse"), ErrThrottled)
		now = now.Add(time.Second)
		if err := logIn(a, secure(stranger), name, "posthouse"); err == ErrThrottled {
			t.Errorf("%s waits longer than a second", name)
		}
	}
}

// A client that guesses at many names waits too; that one of them is right does not clear it.
func TestClientsThatGuessWait(t *testing.T) {
	a := New(Options{Directory: open(t)})
	throttled := 0
	for i := range 40 {
		if i == 15 {
			wants(t, "its own account", logIn(a, secure(stranger), "ж@south.test", "posthouse"), nil)
		}
		if err := guessAt(a, secure(stranger), strings.Repeat("x", i+1)+"@south.test"); err == ErrThrottled {
			throttled++
		}
	}
	if throttled != 19 {
		t.Errorf("%d of 40 guesses had to wait", throttled)
	}
	wants(t, "an account that was right there", logIn(a, secure(stranger), "ж@south.test", "posthouse"), nil)
	wants(t, "another from there", logIn(a, secure(stranger), "bob@south.test", "posthouse"), ErrThrottled)
	wants(t, "the same from elsewhere", logIn(a, secure(home), "bob@south.test", "posthouse"), nil)
}

// A host that everybody comes from is not counted; the names are.
func TestTrustedNetworks(t *testing.T) {
	local := netip.MustParseAddr("::1")
	a := New(Options{Directory: open(t), Trusted: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.PrefixFrom(local, 128)}})
	for _, client := range []netip.Addr{stranger, local} {
		for i := range 40 {
			name := strings.Repeat("x", i+1) + client.String()[:1] + "@south.test"
			wants(t, "a guess", guessAt(a, secure(client), strings.ReplaceAll(name, ":", "c")), directory.ErrCredentials)
		}
	}
	for range 11 {
		wants(t, "a guess at bob", guessAt(a, secure(stranger), "bob@south.test"), directory.ErrCredentials)
	}
	wants(t, "bob", logIn(a, secure(stranger), "bob@south.test", "posthouse"), ErrThrottled)
}

// Strangers cannot lock an account out of where it was at home.
func TestStrangersLockNobodyOut(t *testing.T) {
	a := New(Options{Directory: open(t)})
	wants(t, "at home", logIn(a, secure(home), "bob@south.test", "posthouse"), nil)
	for range 50 {
		guessAt(a, secure(stranger), "bob@south.test") //nolint:errcheck // it is wrong
	}
	wants(t, "a stranger who is right", logIn(a, secure(stranger), "bob@south.test", "posthouse"), ErrThrottled)
	for range 50 {
		wants(t, "still at home", logIn(a, secure(home), "Bob@South.Test", "posthouse"), nil)
	}
	for range 11 {
		guessAt(a, secure(home), "bob@south.test") //nolint:errcheck // it is wrong
	}
	wants(t, "guesses from home", logIn(a, secure(home), "bob@south.test", "posthouse"), ErrThrottled)
}

// A thousand guesses at once are no more than as many one after another.
func TestGuessesAtOnce(t *testing.T) {
	a := New(Options{Directory: open(t)})
	var looked atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				if guessAt(a, secure(stranger), "bob@south.test") != ErrThrottled {
					looked.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if looked.Load() != 11 {
		t.Errorf("%d guesses were looked at", looked.Load())
	}
}

// A program that has an old password, and tries it all day, is one failure; nobody has to wait for it.
func TestTheSameWrongPassword(t *testing.T) {
	a := New(Options{Directory: open(t)})
	for range 50 {
		wants(t, "an old password", logIn(a, secure(home), "bob@south.test", "old"), directory.ErrCredentials)
	}
	wants(t, "somebody else there", logIn(a, secure(home), "ж@south.test", "posthouse"), nil)
	wants(t, "the right one", logIn(a, secure(home), "bob@south.test", "posthouse"), nil)
	for range 10 {
		wants(t, "a guess", guessAt(a, secure(home), "bob@south.test"), directory.ErrCredentials)
	}
	wants(t, "an old password, as the eleventh", logIn(a, secure(home), "bob@south.test", "old"), directory.ErrCredentials)
	wants(t, "the right one", logIn(a, secure(home), "bob@south.test", "posthouse"), nil)
}

// What is not the client's fault does not count.
func TestTroubleIsNoGuess(t *testing.T) {
	d := open(t)
	a := New(Options{Directory: d})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		wants(t, "closed", logIn(a, secure(home), "bob@south.test", "posthouse"), directory.ErrUnavailable)
	}
}

// What let somebody in is confirmed only as long as it does.
func TestConfirm(t *testing.T) {
	d := open(t)
	a := New(Options{Directory: d})
	bob := mailtest.Address("bob@south.test")
	app, err := d.AddAppPassword(ctx, bob, directory.AppPassword{Scope: directory.ScopeSMTP})
	if err != nil {
		t.Fatal(err)
	}
	own, err := a.Password(ctx, secure(home), "bob@south.test", "posthouse")
	wants(t, "the password", err, nil)
	program, err := a.Password(ctx, secure(home), "bob@south.test", app.Password)
	wants(t, "an app password", err, nil)
	wants(t, "the password again", own.Confirm(ctx), nil)
	if err := d.SetPassword(ctx, bob, "another"); err != nil {
		t.Fatal(err)
	}
	wants(t, "a password that was changed", own.Confirm(ctx), directory.ErrCredentials)
	wants(t, "an app password, which was not", program.Confirm(ctx), nil)
	if err := d.RevokeAppPassword(ctx, bob, app.ID); err != nil {
		t.Fatal(err)
	}
	wants(t, "an app password that was revoked", program.Confirm(ctx), directory.ErrCredentials)
	own, err = a.Password(ctx, secure(home), "bob@south.test", "another")
	wants(t, "the new password", err, nil)
	if _, err := d.RemoveAccount(ctx, bob); err != nil {
		t.Fatal(err)
	}
	if _, err := d.AddAccount(ctx, bob, "another"); err != nil {
		t.Fatal(err)
	}
	wants(t, "another account of that name", own.Confirm(ctx), directory.ErrCredentials)
}
