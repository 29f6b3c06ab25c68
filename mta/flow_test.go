package mta

import (
	"crypto/ed25519"
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"

	"posthouse/crypto/dkim"
	"posthouse/internal/dns"
	"posthouse/spool"
)

// signer is south.test's, and the zone that publishes its key and policies.
func signer(t testing.TB) (*dkim.Signer, *dns.Zone) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := dkim.NewSigner([]dkim.Key{{Domain: "south.test", Selector: "one", Private: private}})
	if err != nil {
		t.Fatal(err)
	}
	z, err := dns.ParseZone(`
south.test. TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.south.test. TXT "v=DMARC1; p=reject"
one._domainkey.south.test. TXT "v=DKIM1; k=ed25519; p=` + base64.StdEncoding.EncodeToString(public) + `"
`)
	if err != nil {
		t.Fatal(err)
	}
	return s, z
}

func only(t testing.TB, sp spool.Spool) spool.Entry {
	var found []spool.Entry
	for e, err := range sp.List(t.Context(), spool.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, e)
	}
	if len(found) != 1 {
		t.Fatalf("%d messages are queued", len(found))
	}
	return found[0]
}

// What a user submits leaves signed, with what was added to it; the house it comes to finds that it is the author's. The client sends
// from an address that the author's SPF does not name, so that all depends on the signature.
func TestSignedThereAndVerifiedHere(t *testing.T) {
	sign, zone := signer(t)
	out := testOptions(t)
	out.Kind, out.AllowPlaintextAuth = Submission, true
	out.Signer = func(domain string) *dkim.Signer {
		if domain == "south.test" {
			return sign
		}
		return nil
	}
	_, addr := start(t, out, plain)
	c := dial(t, addr)
	c.expect("220 ")
	c.ask("EHLO laptop", "250 ")
	c.ask("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00bob@south.test\x00posthouse")), "235 ")
	c.ask("MAIL FROM:<bob@south.test>", "250 ")
	c.ask("RCPT TO:<bob@south.test>", "250 ")
	c.ask("DATA", "354 ")
	body := strings.Repeat("Dear Bob, \r\n..\r\n", 1000)
	c.ask("From: bob@south.test\r\nBcc: x@north.test\r\nSubject: s\r\n\r\n"+body+".", "250 2.0.0 ")
	sent := only(t, out.Spool)
	message := content(t, out.Spool, sent.ID)
	if got := sent.Verdicts; len(got) != 2 || got[0].Stage != "originator" || got[0].Result != "pass" || got[1].Stage != "sign" || got[1].Result != "signed" {
		t.Errorf("verdicts %v", got)
	}
	if strings.Contains(message, "Bcc") || strings.Count(message, "DKIM-Signature:") != 1 || strings.Count(message, "\r\nDate:") != 1 {
		t.Errorf("sent %.1000s", message)
	}

	for name, change := range map[string]func(string) string{
		"as it was":  func(s string) string { return s },
		"changed":    func(s string) string { return strings.Replace(s, "Subject: s", "Subject: t", 1) },
		"other body": func(s string) string { return s + "PS\r\n" },
	} {
		in := testOptions(t)
		in.Resolver = zone
		_, addr = start(t, in, plain)
		c := dial(t, addr)
		c.begin()
		c.ask("DATA", "354 ")
		c.say(strings.ReplaceAll(change(message), "\r\n.", "\r\n..") + ".")
		if name != "as it was" {
			c.expect("550 5.7.1 ")
			continue
		}
		c.expect("250 2.0.0 ")
		e := only(t, in.Spool)
		got := content(t, in.Spool, e.ID)
		if !strings.Contains(got, "dkim=pass") || !strings.Contains(got, "dmarc=pass header.from=south.test") || !strings.HasSuffix(got, message) {
			t.Errorf("%.1000s", got)
		}
		if len(e.Verdicts) != 3 || e.Verdicts[1].Result != "pass" || e.Verdicts[2].Result != "pass" {
			t.Errorf("verdicts %v", e.Verdicts)
		}
	}
}

// What a network that we relay for sends is signed like our users' mail, and is neither judged nor made whole.
func TestRelayIsSigned(t *testing.T) {
	sign, zone := signer(t)
	o := testOptions(t)
	o.Resolver = zone
	o.RelayFrom = append(o.RelayFrom, netip.MustParsePrefix("127.0.0.0/8"))
	o.Signer = func(string) *dkim.Signer { return sign }
	_, addr := start(t, o, plain)
	c := dial(t, addr)
	c.begin()
	c.ask("RCPT TO:<carol@north.test>", "250 ")
	c.ask("DATA", "354 ")
	c.ask("From: bob@south.test\r\nBcc: kept@north.test\r\n\r\nx\r\n.", "250 2.0.0 ")
	got := content(t, o.Spool, only(t, o.Spool).ID)
	if !strings.Contains(got, "DKIM-Signature:") || !strings.Contains(got, "Bcc: kept") || strings.Contains(got, "\r\nDate:") {
		t.Errorf("%s", got)
	}
}
