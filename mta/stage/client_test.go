package stage

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-msgauth/authres"

	"posthouse/internal/dns"
	"posthouse/mail/smtp"
)

func TestActions(t *testing.T) {
	r := smtp.Reply{Code: 554, Enhanced: smtp.Enhanced{5, 7, 1}, Text: "no"}
	for word, want := range map[string]string{"accept": "", "tag": "", "quarantine": "", "defer": "450 4.7.1 no", "refuse": "554 5.7.1 no"} {
		a, err := ParseAction(word)
		if err != nil || a.String() != word {
			t.Fatalf("%s: %v, %v", word, a, err)
		}
		v := Verdict{Result: "x"}.by(a, r)
		if v.Action != a || v.Accepts() != (want == "") || want != "" && v.Reply.String() != want {
			t.Errorf("%s: %+v", word, v)
		}
	}
	if _, err := ParseAction("hate"); err == nil {
		t.Error("hate is an action")
	}
}

func TestIsEightBit(t *testing.T) {
	for _, size := range []int{0, 1, 32<<10 - 1, 32 << 10, 32<<10 + 1, 100_000} {
		text := strings.Repeat("x", size)
		if isEightBit(message(t, "", text)) || !isEightBit(message(t, "", text+"\xff")) {
			t.Errorf("a message of %d octets", size)
		}
	}
}

func TestHELO(t *testing.T) {
	s := HELO{Hostname: "mail.south.test", Action: Refuse}
	c := Client{Remote: netip.MustParseAddrPort("[2001:db8::1]:1000"), Local: netip.MustParseAddrPort("[2001:db8::25]:25")}
	for name, want := range map[string]string{
		"client.test": "pass", "mail.south.test": "own-name", "MAIL.SOUTH.TEST.": "own-name", "south.test": "pass", "localhost": "not-qualified",
		"[IPv6:2001:db8::1]": "pass", "[ipv6:2001:db8::25]": "own-address", "[IPv6:2001:db8::2]": "other-address", "[192.0.2.1]": "other-address",
		"[": "other-address", "[]": "other-address", "2001:db8::1": "bare-address", "192.0.2.1": "bare-address", "192.0.2.1.": "bare-address",
	} {
		c.HELO = name
		v := s.Hello(t.Context(), &c)
		action := map[string]Action{"pass": Accept, "own-name": Refuse, "own-address": Refuse, "bare-address": Refuse}
		expected, ok := action[want]
		if !ok {
			expected = Tag
		}
		if v.Result != want || v.Action != expected {
			t.Errorf("%s: %+v, want %s", name, v, want)
		}
	}
}

// What comes from this host may be called what the host is called.
func TestOwnHELO(t *testing.T) {
	s := HELO{Hostname: "mail.south.test", Action: Refuse}
	for remote, want := range map[string]string{"127.0.0.1:1000": "pass", "192.0.2.25:1000": "pass", "192.0.2.1:1000": "own-name"} {
		c := Client{Remote: netip.MustParseAddrPort(remote), Local: netip.MustParseAddrPort("192.0.2.25:25"), HELO: "mail.south.test"}
		if v := s.Hello(t.Context(), &c); v.Result != want {
			t.Errorf("%s: %+v", remote, v)
		}
		c.HELO = "[IPv6:::ffff:" + c.Remote.Addr().String() + "]"
		if v := s.Hello(t.Context(), &c); v.Result != "pass" {
			t.Errorf("%s says %s: %+v", remote, c.HELO, v)
		}
	}
}

func TestIPRev(t *testing.T) {
	var names strings.Builder
	for i := range 20 { // the last of them has the address, and is not looked at
		fmt.Fprintf(&names, "4.2.0.192.in-addr.arpa. PTR n%d.test.\n", i)
	}
	z := zone(t, `
1.2.0.192.in-addr.arpa. PTR other.test.
1.2.0.192.in-addr.arpa. PTR one.test.
one.test. A 192.0.2.1
other.test. A 192.0.2.99
2.2.0.192.in-addr.arpa. PTR other.test.
3.2.0.192.in-addr.arpa. PTR slow.test.
5.2.0.192.in-addr.arpa. PTR nothing.test.
`+names.String()+"n19.test. A 192.0.2.4\n"+
		`1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR six.test.
six.test. AAAA 2001:db8::1
`)
	z.Fail("slow.test")
	for addr, want := range map[string]string{
		"192.0.2.1": "pass", "192.0.2.2": "fail", "192.0.2.3": "temperror", "192.0.2.4": "fail", "192.0.2.5": "fail", "192.0.2.6": "permerror", "2001:db8::1": "pass", "": "permerror",
	} {
		m := message(t, "", "\n")
		m.Client = &Client{}
		if addr != "" {
			m.Client.Remote = netip.AddrPortFrom(netip.MustParseAddr(addr), 1000)
		}
		v := IPRev{Resolver: z, Action: Refuse}.Judge(t.Context(), m)
		if v.Result != want || v.Accepts() != (want == "pass" || want == "temperror") {
			t.Errorf("%s: %+v, want %s", addr, v, want)
		}
		if got := authres.Format("", v.Results); addr != "" && !strings.Contains(got, "iprev="+want+" policy.iprev=") {
			t.Errorf("%s: %s", addr, got)
		}
	}
}

// silentPTR answers when its question is withdrawn.
type silentPTR struct{ dns.Resolver }

func (silentPTR) PTR(ctx context.Context, _ netip.Addr) (dns.Answer[string], error) {
	<-ctx.Done()
	return dns.Answer[string]{}, dns.ErrTemporary
}

// A client that breaks its transaction off does not keep its name from being looked up for the next.
func TestIPRevIsNotEscaped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &Client{Remote: netip.MustParseAddrPort("192.0.2.1:1000")}
		first := message(t, "", "\n")
		first.Client = client
		ctx, cancel := context.WithCancel(t.Context())
		IPRev{Resolver: silentPTR{}}.Start(ctx, first)
		cancel()
		first.Close()
		late := message(t, "", "\n")
		late.Client = client
		began := time.Now()
		if v := (IPRev{Resolver: silentPTR{}, Action: Refuse}).Judge(t.Context(), late); v.Result != "temperror" || !v.Accepts() || time.Since(began) != iprevTime {
			t.Errorf("%+v after %v", v, time.Since(began))
		}
		next := message(t, "", "\n")
		next.Client = client
		empty := zone(t, "x.test. A 192.0.2.9\n")
		if v := (IPRev{Resolver: empty, Action: Refuse}).Judge(t.Context(), next); v.Result != "permerror" || v.Accepts() {
			t.Errorf("%+v", v)
		}
	})
}
