package spf

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"posthouse/internal/dns"
	"posthouse/mail"
	"posthouse/mail/mailtest"
)

func TestCheck(t *testing.T) {
	zone, err := dns.ParseZone(`
north.test.      TXT "v=spf1 ip4:192.0.2.1 exp=why.north.test -all"
why.north.test.  TXT "%{i} may not send for %{s}, says %{r}"
mail.north.test. TXT "v=spf1 a -all"
mail.north.test. A   192.0.2.1
`)
	if err != nil {
		t.Fatal(err)
	}
	alice := mailtest.Address("alice@North.test")
	for _, c := range []struct {
		ip   string
		from mail.Address
		helo string
		want Answer
	}{
		{"192.0.2.1", alice, "x", Answer{Pass, "north.test", "ip4:192.0.2.1", ""}},
		{"::ffff:192.0.2.1", alice, "x", Answer{Pass, "north.test", "ip4:192.0.2.1", ""}},
		{"192.0.2.2", alice, "x", Answer{Fail, "north.test", "-all", "192.0.2.2 may not send for alice@north.test, says mx.test"}},
		{"192.0.2.1", mail.Address{}, "Mail.north.test", Answer{Pass, "mail.north.test", "a", ""}},
		{"192.0.2.1", mail.Address{}, "[192.0.2.1]", Answer{None, "[192.0.2.1]", "not a domain name", ""}},
		{"192.0.2.1", mail.Address{}, "unknown.test", Answer{None, "unknown.test", "no policy", ""}},
	} {
		got := Check(context.Background(), zone, Query{IP: netip.MustParseAddr(c.ip), HELO: c.helo, From: c.from, Receiver: "mx.test"})
		if got != c.want {
			t.Errorf("%s %s: %+v, want %+v", c.ip, c.from, got, c.want)
		}
	}
}

// A policy that includes itself ends at the limit of lookups.
func TestRecursionEnds(t *testing.T) {
	for _, policy := range []string{"include:loop.test -all", "redirect=loop.test", strings.Repeat("a:%{l1r-}.loop.test ", 12)} {
		zone, err := dns.ParseZone(`loop.test. TXT "v=spf1 ` + policy + `"`)
		if err != nil {
			t.Fatal(err)
		}
		got := Check(context.Background(), zone, Query{IP: netip.MustParseAddr("192.0.2.1"), HELO: "loop.test"})
		if got.Result != PermError {
			t.Errorf("%s: %+v", policy, got)
		}
	}
}

func TestNoDNSIsTemporary(t *testing.T) {
	zone, err := dns.ParseZone("")
	if err != nil {
		t.Fatal(err)
	}
	zone.Fail("north.test")
	if got := Check(context.Background(), zone, Query{IP: netip.MustParseAddr("192.0.2.1"), HELO: "north.test"}); got.Result != TempError {
		t.Errorf("%+v", got)
	}
}

func FuzzPolicy(f *testing.F) {
	for _, s := range []string{
		"a:%{d2r}/24//64 mx ptr -all", "include:%{i}._spf.%{d} redirect=x.test exp=y.test", "ip6:::1/128 exists:%{p}.%{v}.test ?all", "a:foo:bar/baz.test",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, policy string) {
		zone, err := dns.ParseZone("a.test. A 192.0.2.1\n1.2.0.192.in-addr.arpa. PTR a.test.\n")
		if err != nil {
			t.Fatal(err)
		}
		r, err := parseRecord("v=spf1 " + policy)
		if err != nil {
			return
		}
		e := newEvaluation(zone, Query{IP: netip.MustParseAddr("192.0.2.1"), HELO: "a.test"}, "x", "a.test")
		for _, m := range r.mechanisms {
			if _, err := e.match(context.Background(), m, "a.test"); err != nil {
				return
			}
		}
		e.explain(context.Background(), r.exp, "a.test")
	})
}
