package dmarc

import (
	"context"
	"testing"

	"posthouse/crypto/dkim"
	"posthouse/internal/dns"
	"posthouse/mta/spf"
)

func TestCheck(t *testing.T) {
	zone, err := dns.ParseZone(`
_dmarc.north.test.     TXT "v=DMARC1; p=reject; sp=quarantine; rua=mailto:x@north.test"
_dmarc.strict.test.    TXT "v=DMARC1;p=quarantine;adkim=s;aspf=s"
_dmarc.never.test.     TXT "v=DMARC1; p=reject; pct=0"
_dmarc.bad.test.       TXT "v=DMARC1; p=sometimes"
_dmarc.reports.test.   TXT "v=DMARC1; p=sometimes; rua=mailto:x@reports.test"
_dmarc.two.test.       TXT "v=DMARC1; p=reject"
_dmarc.two.test.       TXT "v=DMARC1; p=none"
_dmarc.other.test.     TXT "v=DMARC2; p=reject"
_dmarc.a.co.uk.        TXT "v=DMARC1; p=reject"
`)
	if err != nil {
		t.Fatal(err)
	}
	zone.Fail("_dmarc.broken.test")
	passes := func(domain string) []dkim.Signature {
		return []dkim.Signature{{Result: dkim.Fail, Domain: domain}, {Result: dkim.Pass, Domain: domain}}
	}
	mailfrom := func(r spf.Result, domain string) spf.Answer { return spf.Answer{Result: r, Domain: domain} }
	for _, c := range []struct {
		from   string
		spf    spf.Answer
		dkim   []dkim.Signature
		result Result
		policy Policy
	}{
		{"north.test", mailfrom(spf.Pass, "north.test"), nil, Pass, PolicyNone},
		{"north.test", mailfrom(spf.Fail, "north.test"), passes("north.test"), Pass, PolicyNone},
		{"north.test", mailfrom(spf.Fail, "north.test"), passes("lists.north.test"), Pass, PolicyNone}, // relaxed
		{"north.test", mailfrom(spf.Fail, "north.test"), passes("south.test"), Fail, PolicyReject},
		{"north.test", mailfrom(spf.SoftFail, "north.test"), nil, Fail, PolicyReject},
		{"north.test", mailfrom(spf.Pass, "evil.test"), nil, Fail, PolicyReject},
		{"north.test", mailfrom(spf.Pass, "notnorth.test"), nil, Fail, PolicyReject},
		{"sub.north.test", mailfrom(spf.None, ""), nil, Fail, PolicyQuarantine}, // sp=
		{"sub.north.test", mailfrom(spf.Pass, "north.test"), nil, Pass, PolicyNone},
		{"strict.test", mailfrom(spf.Pass, "sub.strict.test"), passes("sub.strict.test"), Fail, PolicyQuarantine},
		{"strict.test", mailfrom(spf.Pass, "strict.test"), nil, Pass, PolicyNone},
		{"never.test", mailfrom(spf.Fail, ""), nil, Fail, PolicyQuarantine}, // pct=0: the next milder
		{"bad.test", mailfrom(spf.Fail, ""), nil, PermError, PolicyNone},
		{"reports.test", mailfrom(spf.Fail, ""), nil, Fail, PolicyNone},
		{"two.test", mailfrom(spf.Fail, ""), nil, None, PolicyNone},
		{"other.test", mailfrom(spf.Fail, ""), nil, None, PolicyNone},
		{"unknown.test", mailfrom(spf.Fail, ""), nil, None, PolicyNone},
		{"broken.test", mailfrom(spf.Fail, ""), nil, TempError, PolicyNone},
		{"north.test", mailfrom(spf.TempError, "north.test"), nil, TempError, PolicyReject},
		{"north.test", mailfrom(spf.TempError, "evil.test"), nil, Fail, PolicyReject},
		{"north.test", mailfrom(spf.Fail, "north.test"), []dkim.Signature{{Result: dkim.TempError, Domain: "north.test"}}, TempError, PolicyReject},
		{"north.test", mailfrom(spf.TempError, "north.test"), passes("north.test"), Pass, PolicyNone},
		{"b.a.co.uk", mailfrom(spf.Pass, "b.co.uk"), nil, Fail, PolicyReject}, // co.uk is a public suffix
		{"", mailfrom(spf.Pass, ""), nil, PermError, PolicyNone},
	} {
		got := Check(context.Background(), zone, Query{From: c.from, SPF: c.spf, DKIM: c.dkim})
		if got.Result != c.result || got.Policy != c.policy {
			t.Errorf("%s %+v: %+v, want %s %s", c.from, c.spf, got, c.result, c.policy)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("v=DMARC1; p=reject; pct=50")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := parse(s)
		if err == nil && (!r.policy.known() || !r.subdomains.known() || r.percent < 0 || r.percent > 100) {
			t.Errorf("%q: %+v", s, r)
		}
	})
}
