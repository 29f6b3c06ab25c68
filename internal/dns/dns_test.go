package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const zoneText = `
north.test.         MX    10 mail.north.test.
north.test.         MX    5  a.north.test.
north.test.         MX    10 b.north.test.
north.test.         TXT   "v=spf1 " "ip4:192.0.2.1 -all"
north.test.         TXT   "quote \" and \\ and \195\164"
mail.north.test.    A     192.0.2.1
mail.north.test.    AAAA  2001:db8::1
a.north.test.       A     192.0.2.2
www.north.test.     CNAME mail.north.test.
loop1.north.test.   CNAME loop2.north.test.
loop2.north.test.   CNAME loop1.north.test.
dangling.north.test. CNAME nowhere.test.
null.test.          MX    0 .
deep.below.test.    A     192.0.2.9
1.2.0.192.in-addr.arpa. PTR mail.north.test.
`

func zone(t testing.TB, text string) *Zone {
	t.Helper()
	z, err := ParseZone(text)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// client asks the zone over the loopback network.
func client(t testing.TB, z *Zone, now func() time.Time) *Client {
	t.Helper()
	s, err := Serve(z, netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := NewClient(ClientOptions{Servers: []netip.AddrPort{s.Addr}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Every Resolver gives the same answers.
func TestResolvers(t *testing.T) {
	z := zone(t, zoneText)
	for i := range maxChain { // from c1 as many CNAMEs as are followed, from c0 one more
		if err := z.Add(fmt.Sprintf("c%d.north.test. CNAME c%d.north.test.", i, i+1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Add(fmt.Sprintf("c%d.north.test. CNAME a.north.test.", maxChain)); err != nil {
		t.Fatal(err)
	}
	z.Fail("broken.test")
	for name, r := range map[string]Resolver{"zone": z, "client": client(t, z, nil)} {
		t.Run(name, func(t *testing.T) { answers(t, r) })
	}
}

func answers(t *testing.T, r Resolver) {
	ctx := context.Background()
	show := func(v any, err error) string {
		for _, e := range []error{ErrNoName, ErrNoData, ErrTemporary} {
			if errors.Is(err, e) {
				return e.Error()
			}
		}
		return fmt.Sprint(v, err)
	}
	mx := func(name string) string { a, err := r.MX(ctx, name); return show(a.Records, err) }
	addrs := func(name string) string { a, err := r.Addrs(ctx, name); return show(a.Records, err) }
	txt := func(name string) string { a, err := r.TXT(ctx, name); return show(a.Records, err) }
	ptr := func(addr string) string { a, err := r.PTR(ctx, netip.MustParseAddr(addr)); return show(a.Records, err) }
	if got := mx("North.TEST"); !strings.HasPrefix(got, "[{5 a.north.test} {10 ") {
		t.Error(got)
	}
	for _, c := range []struct{ got, want string }{
		{mx("null.test."), "[{0 }] <nil>"},
		{mx("mail.north.test"), ErrNoData.Error()},
		{mx("nowhere.test"), ErrNoName.Error()},
		{mx("below.test"), ErrNoData.Error()},
		{mx("broken.test"), ErrTemporary.Error()},
		{addrs("mail.north.test"), "[2001:db8::1 192.0.2.1] <nil>"},
		{addrs("www.north.test"), "[2001:db8::1 192.0.2.1] <nil>"},
		{addrs("a.north.test"), "[192.0.2.2] <nil>"},
		{addrs("north.test"), ErrNoData.Error()},
		{addrs("dangling.north.test"), ErrNoName.Error()},
		{addrs("loop1.north.test"), ErrTemporary.Error()},
		{addrs("c1.north.test"), "[192.0.2.2] <nil>"},
		{addrs("c0.north.test"), ErrTemporary.Error()},
		{txt("north.test"), "[v=spf1 ip4:192.0.2.1 -all quote \" and \\ and ä] <nil>"},
		{ptr("192.0.2.1"), "[mail.north.test] <nil>"},
		{ptr("::ffff:192.0.2.1"), "[mail.north.test] <nil>"},
		{ptr("192.0.2.2"), ErrNoName.Error()},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}

func TestMXOfOnePreferenceIsShuffled(t *testing.T) {
	z, first := zone(t, zoneText), map[string]bool{}
	for range 200 {
		a, err := z.MX(context.Background(), "north.test")
		if err != nil {
			t.Fatal(err)
		}
		first[a.Records[1].Host] = true
	}
	if len(first) != 2 {
		t.Errorf("the second host was always one of %v", first)
	}
}

func TestLongAnswersComeOverTCPAndAreCut(t *testing.T) {
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, "many.test. MX %d host%d.a-rather-long-name-to-fill-the-datagram.test.\n", 1000-i, i)
	}
	a, err := client(t, zone(t, text.String()), nil).MX(context.Background(), "many.test")
	if err != nil || len(a.Records) != maxRecords {
		t.Fatalf("%d records, %v", len(a.Records), err)
	}
	if first, last := a.Records[0].Preference, a.Records[maxRecords-1].Preference; first != 1 || last != maxRecords {
		t.Errorf("from %d to %d are kept, not the preferred ones", first, last)
	}
}

func TestAnswersAreCachedForTheirTime(t *testing.T) {
	now, ctx := time.Unix(1_000_000, 0), context.Background()
	z := zone(t, "a.test. 60 A 192.0.2.1\n")
	c := client(t, z, func() time.Time { return now })
	check := func(want string) {
		t.Helper()
		a, err := c.A(ctx, "a.test")
		if err != nil || a.Records[0].String() != want {
			t.Errorf("%v, %v; want %s", a, err, want)
		}
	}
	check("192.0.2.1")
	z.Remove("a.test")
	if err := z.Add("a.test. 60 A 192.0.2.2\n"); err != nil {
		t.Fatal(err)
	}
	now = now.Add(59 * time.Second)
	check("192.0.2.1")
	now = now.Add(2 * time.Second)
	check("192.0.2.2")
}

// A stranger's zone must not fill our memory: what is large is asked again.
func TestLargeAnswersAreNotRemembered(t *testing.T) {
	z := zone(t, strings.Repeat("a.test. TXT \""+strings.Repeat("x", 200)+"\"\n", 30))
	c := client(t, z, nil)
	if a, err := c.TXT(context.Background(), "a.test"); err != nil || len(a.Records) != 30 {
		t.Fatal(a, err)
	}
	z.Remove("a.test")
	if _, err := c.TXT(context.Background(), "a.test"); !errors.Is(err, ErrNoName) {
		t.Error(err)
	}
}

// A server may answer another question, say nothing, or refuse: all of it is "not now", within bounded time.
func TestBadServersAreTemporary(t *testing.T) {
	for name, handler := range map[string]dns.HandlerFunc{
		"another question": func(w dns.ResponseWriter, q *dns.Msg) {
			r := new(dns.Msg).SetReply(q)
			r.Question[0].Name = "other.test."
			w.WriteMsg(r)
		},
		"our own question": func(w dns.ResponseWriter, q *dns.Msg) { w.WriteMsg(q) },
		"refused":          func(w dns.ResponseWriter, q *dns.Msg) { w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeRefused)) },
		"garbage":          func(w dns.ResponseWriter, q *dns.Msg) { w.Write([]byte("garbage")) },
	} {
		t.Run(name, func(t *testing.T) {
			u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			started := make(chan struct{})
			s := &dns.Server{PacketConn: u, Handler: handler, NotifyStartedFunc: func() { close(started) }}
			go s.ActivateAndServe()
			<-started
			defer s.Shutdown()
			c, err := NewClient(ClientOptions{Servers: []netip.AddrPort{u.LocalAddr().(*net.UDPAddr).AddrPort()}})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			defer cancel()
			if _, err := c.A(ctx, "a.test"); !errors.Is(err, ErrTemporary) {
				t.Error(err)
			}
		})
	}
}

func FuzzParseZone(f *testing.F) {
	f.Add(zoneText)
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "$") { // $INCLUDE reads files, $GENERATE makes many records: neither is for strangers' text
			return
		}
		if z, err := ParseZone(text); err == nil {
			z.Addrs(context.Background(), "a.test")
		}
	})
}
