package stage

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-msgauth/authres"

	"posthouse/crypto/dkim"
	"posthouse/directory"
	"posthouse/internal/dns"
	"posthouse/mail"
	"posthouse/mail/mailtest"
	"posthouse/mail/mime"
)

// message is one as a session hands it over.
func message(t testing.TB, from, content string) *Message {
	content = strings.ReplaceAll(content, "\n", "\r\n")
	m := &Message{
		Envelope: &mail.Envelope{
			From:   mailtest.Address(from),
			Origin: mail.Origin{Account: "bob"},
		},
		Client:  &Client{Remote: netip.MustParseAddrPort("192.0.2.1:1000"), HELO: "client.test"},
		Header:  &Header{},
		Content: strings.NewReader(content),
		Size:    int64(len(content)),
	}
	for f := range mime.Fields([]byte(content)) {
		m.Header.Note(f)
	}
	t.Cleanup(m.Close)
	return m
}

func zone(t testing.TB, text string) *dns.Zone {
	z, err := dns.ParseZone(text)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestHeader(t *testing.T) {
	m := message(t, "", "Received: a\nFrom: a@b.test\nRECEIVED : b\nmessage-id: <x@y>\nMessage-ID: <second@y>\nX-Date: no\nDate: now\nFrom: c@d.test\n\nFrom: body\n")
	h := m.Header
	if h.Received != 2 || h.FromFields != 2 || h.MessageID != "x@y" || !h.HasDate || len(h.Authors()) != 2 {
		t.Errorf("%+v", h)
	}
	var many Header
	for range 100_000 {
		many.Note(mime.Field{Name: []byte("From"), Value: []byte("a@b.test, c@d.test")})
	}
	if many.FromFields != 100_000 || len(many.Authors()) > 2*maxFromFields {
		t.Errorf("%d authors are kept", len(many.Authors()))
	}
	if h := message(t, "", "Message-ID: <"+strings.Repeat("x", 1000)+">\n\n").Header; len(h.MessageID) > maxMessageID {
		t.Errorf("%d octets of a Message-ID", len(h.MessageID))
	}
}

func TestAuthorDomain(t *testing.T) {
	for header, want := range map[string]string{
		"From: a@North.test\n":                              "north.test",
		"From: \"x@south.test\" <a@north.test>\n":           "north.test",
		"From: a@north.test, b@NORTH.test\n":                "north.test",
		"From: team: a@north.test, b@north.test;\n":         "north.test",
		"From: a@пример.test\n":                             "xn--e1afmkfd.test",
		"From: a@north.test, b@south.test\n":                "",
		"From: a@north.test\nFrom: a@north.test\n":          "",
		"From: nobody:;\n":                                  "",
		"From: mallory\n":                                   "",
		"From: a@north.test, mallory\n":                     "",
		"Subject: x\n":                                      "",
		"From:\n":                                           "",
		"From: a@north..test\n":                             "",
		"From: <@south.test:a@north.test>\n":                "north.test",
		"From: a@north.test (b@south.test)\n":               "north.test",
		"From: =?utf-8?q?b=40south.test?= <a@north.test>\n": "north.test",
	} {
		if got := message(t, "", header+"\n").Header.authorDomain(); got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
}

func TestSPF(t *testing.T) {
	z := zone(t, `
pass.test. TXT "v=spf1 ip4:192.0.2.0/24 -all"
fail.test. TXT "v=spf1 -all"
client.test. TXT "v=spf1 a ~all"
`)
	z.Fail("slow.test")
	for from, want := range map[string]string{
		"a@pass.test": "spf=pass smtp.mailfrom=a@pass.test",
		"a@fail.test": "spf=fail smtp.mailfrom=a@fail.test",
		"a@none.test": "spf=none smtp.mailfrom=a@none.test",
		"a@slow.test": "spf=temperror smtp.mailfrom=a@slow.test",
		"":            "spf=softfail smtp.helo=client.test",
	} {
		for _, early := range []bool{true, false} {
			m := message(t, from, "\n")
			s := SPF{Resolver: z, Hostname: "mail.south.test"}
			if early {
				s.Start(t.Context(), m)
			}
			v := s.Judge(t.Context(), m)
			if got := authres.Format("", v.Results); !v.Accepts() || !strings.Contains(got, want) {
				t.Errorf("%s: %q, %v", from, got, v.Reply)
			}
		}
	}
}

// silent is a resolver that answers when its question is withdrawn.
type silent struct{ dns.Resolver }

func (silent) TXT(ctx context.Context, _ string) (dns.Answer[string], error) {
	<-ctx.Done()
	return dns.Answer[string]{}, dns.ErrTemporary
}

// A DNS that does not answer holds a message up for as long as its stages may take together, and no longer.
func TestSilentDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		content := "DKIM-Signature: v=1; a=rsa-sha256; d=a.test; s=s; h=From; bh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=; b=AAAA\nFrom: a@a.test\n\n"
		m := message(t, "a@a.test", content)
		all, cancelAll := context.WithCancel(t.Context())
		spf := SPF{Resolver: silent{}, Hostname: "mail.south.test"}
		spf.Start(all, m)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for _, s := range []DataStage{spf, DKIM{Resolver: silent{}}, DMARC{Resolver: silent{}}} {
			if v := s.Judge(ctx, m); v.Result != "temperror" || !v.Accepts() {
				t.Errorf("%s: %+v", s.Name(), v)
			}
		}
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("it took %v", took)
		}
		cancelAll()
		m.Close()
	})
}

// slow is a resolver that knows nothing of some names until its question is withdrawn.
type slow struct {
	dns.Resolver
	name string
}

func (s slow) TXT(ctx context.Context, name string) (dns.Answer[string], error) {
	if strings.HasSuffix("\x00"+name, s.name) {
		return silent{}.TXT(ctx, name)
	}
	return s.Resolver.TXT(ctx, name)
}

// A stranger whose name servers are slow does not escape the policy of the author's domain; and a domain whose own do not answer now
// loses no mail by its policy (RFC 7489 §6.6.2).
func TestSlowDNS(t *testing.T) {
	z := zone(t, `_dmarc.reject.test. TXT "v=DMARC1; p=reject"`)
	for _, c := range []struct {
		from, signer, slow, result string
		code                       int
	}{
		{"a@evil.test", "evil.test", "evil.test", "fail", 550},
		{"a@evil.test", "reject.test", "s._domainkey.reject.test", "temperror", 451},
		{"a@reject.test", "evil.test", "reject.test", "temperror", 0}, // the policy too
		{"a@reject.test", "evil.test", "\x00reject.test", "temperror", 451},
	} {
		synctest.Test(t, func(t *testing.T) {
			content := "DKIM-Signature: v=1; a=rsa-sha256; d=" + c.signer + "; s=s; h=From; bh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=; b=AAAA\nFrom: a@reject.test\n\n"
			m := message(t, c.from, content)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			r := slow{z, c.slow}
			SPF{Resolver: r, Hostname: "mail.south.test"}.Judge(ctx, m)
			DKIM{Resolver: r}.Judge(ctx, m)
			if v := (DMARC{Resolver: r}).Judge(ctx, m); v.Result != c.result || v.Reply.Code != c.code {
				t.Errorf("%+v: %+v", c, v)
			}
		})
	}
}

func TestDKIM(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := dkim.NewSigner([]dkim.Key{{Domain: "north.test", Selector: "s", Private: private}})
	if err != nil {
		t.Fatal(err)
	}
	z := zone(t, `s._domainkey.north.test. TXT "v=DKIM1; k=ed25519; p=`+base64.StdEncoding.EncodeToString(public)+`"`)
	m := message(t, "", "From: a@north.test\n\ntext\n")
	signed := Sign{Signer: func(domain string) *dkim.Signer {
		if domain != "north.test" {
			return nil
		}
		return signer
	}}
	v := signed.Judge(t.Context(), m)
	if v.Result != "signed" || len(v.Fields) == 0 || !v.Accepts() {
		t.Fatalf("%+v", v)
	}
	if other := signed.Judge(t.Context(), message(t, "", "From: a@south.test\n\n")); other.Result != "none" || other.Fields != nil {
		t.Errorf("%+v", other)
	}
	if nobody := signed.Judge(t.Context(), message(t, "", "\n")); nobody.Result != "none" || nobody.Fields != nil {
		t.Errorf("%+v", nobody)
	}
	field := strings.ReplaceAll(string(v.Fields), "\r\n", "\n")
	broken := strings.Replace(field, "d=north.test", "d=other.test", 1)
	for content, want := range map[string]string{
		"From: a@north.test\n\ntext\n":                  "dkim=none",
		field + "From: a@north.test\n\ntext\n":          "dkim=pass header.a=ed25519-sha256 header.b=",
		field + "From: a@north.test\n\nother\n":         "dkim=fail",
		broken + field + "From: a@north.test\n\ntext\n": "dkim=pass",
	} {
		v := DKIM{Resolver: z}.Judge(t.Context(), message(t, "", content))
		if got := authres.Format("", v.Results); !strings.Contains(got, want) || !v.Accepts() || !strings.Contains(want, v.Result) {
			t.Errorf("%q: %s %q", content, v.Result, got)
		}
	}
}

func TestDMARC(t *testing.T) {
	z := zone(t, `
reject.test. TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.reject.test. TXT "v=DMARC1; p=reject"
_dmarc.quarantine.test. TXT "v=DMARC1; p=quarantine"
_dmarc.none.test. TXT "v=DMARC1; p=none"
`)
	z.Fail("_dmarc.slow.test")
	for _, c := range []struct {
		from, header, result string
		code                 int
	}{
		{"a@reject.test", "From: a@reject.test\n", "pass", 0},
		{"a@other.test", "From: a@reject.test\n", "fail", 550},
		{"a@other.test", "From: a@quarantine.test\n", "fail", 0},
		{"a@other.test", "From: a@none.test\n", "fail", 0},
		{"a@other.test", "From: a@other.test\n", "none", 0},
		{"a@other.test", "From: a@slow.test\n", "temperror", 0},
		{"a@other.test", "Subject: x\n", "permerror", 0},
		{"a@other.test", "From: a@other.test, b@reject.test\n", "permerror", 550},
		{"a@other.test", "From: a@other.test\nFrom: a@other.test\n", "permerror", 550},
	} {
		for _, monitor := range []bool{false, true} {
			m := message(t, c.from, c.header+"\n")
			SPF{Resolver: z}.Judge(t.Context(), m)
			v := DMARC{Resolver: z, Monitor: monitor}.Judge(t.Context(), m)
			code := c.code
			if monitor {
				code = 0
			}
			if v.Result != c.result || v.Reply.Code != code {
				t.Errorf("%q, monitor %v: %+v", c.header, monitor, v)
			}
		}
	}
}

// ownership is the addresses of one account, or an error for all.
type ownership struct {
	addresses []string
	err       error
}

func (o ownership) MaySend(_ context.Context, id mail.AccountID, a mail.Address) error {
	if o.err != nil {
		return o.err
	}
	if id == "bob" && slices.Contains(o.addresses, a.String()) {
		return nil
	}
	return directory.ErrNotOwner
}

func TestOriginator(t *testing.T) {
	o := Originator{ownership{addresses: []string{"bob@south.test", `"bob smith"@south.test`}}}
	for header, want := range map[string]string{
		"From: bob@south.test\n":                           "",
		"From: Bob <\"bob\"@SOUTH.test>\n":                 "",
		"From: \"bob smith\"@south.test, bob@south.test\n": "",
		"From: dave@south.test\n":                          "550 5.7.1 <dave@south.test> is not",
		"From: bob@south.test, dave@south.test\n":          "550 5.7.1 <dave@south.test> is not",
		"From: bob@south.test <dave@south.test>\n":         "550 5.7.1 <dave@south.test> is not",
		"From: bob@south.test\nFrom: dave@south.test\n":    "550 5.6.0",
		"From: us:;\n":                        "550 5.6.0",
		"Subject: x\n":                        "550 5.6.0",
		"From: \"a\\\"b\r\n c\"@north.test\n": "550 5.7.1",
	} {
		v := o.Judge(t.Context(), message(t, "", header+"\n"))
		if got := v.Reply.String(); want == "" && !v.Accepts() || want != "" && !strings.HasPrefix(got, want) || strings.ContainsAny(got, "\r\n") {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
	v := Originator{ownership{err: directory.ErrUnavailable}}.Judge(t.Context(), message(t, "", "From: bob@south.test\n\n"))
	if !v.Reply.Temporary() {
		t.Errorf("%+v", v)
	}
}

// Nothing that a stranger chooses ends the field, or a result in it.
func TestResultsKeepTheirForm(t *testing.T) {
	for _, evil := range []string{
		"a\r\nSubject: x", `a" ; dmarc=pass "`, `a\" ; dmarc=pass`, "a; dmarc=pass", "a (b", "a\x00b", "a\xffb", "a\u2028b", strings.Repeat("x", 5000),
		"a dmarc=pass", "a\tb=c",
	} {
		b := string(AppendResults(nil, "mail.south.test", []authres.Result{
			&authres.GenericResult{Method: "dkim", Value: "fail", Params: map[string]string{"reason": clean(evil), "header.d": clean(evil)}},
		}))
		if strings.Count(b, "\r\n") != 2 || strings.Count(b, "\n") != 2 || len(b) > 1500 {
			t.Errorf("%q: %q", evil, b)
		}
		unquoted := quoted.ReplaceAllString(b, "")
		if strings.Count(unquoted, ";") != 1 || strings.Count(unquoted, "=") != 3 || strings.ContainsAny(unquoted, `"\(`) {
			t.Errorf("%q: %q", evil, b)
		}
	}
}

var quoted = regexp.MustCompile(`"[^"]*"`)
