package mta

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"posthouse/mail/smtp"
)

func TestClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewClients(ClientsOptions{
			Never:  []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")},
			Faults: 2, Unknown: 3, Connections: 60, Ban: time.Hour,
		})
		addr := netip.MustParseAddr
		for i := range 3 {
			if banned := c.count(misbehaving, addr("2001:db8::1")); banned != (i == 2) {
				t.Errorf("fault %d: %v", i, banned)
			}
			for _, never := range []string{"10.1.2.3", "::1"} {
				if c.count(misbehaving, addr(never)) || c.enter(addr(never), time.Now()).Code != 0 {
					t.Errorf("%s is banned", never)
				}
			}
		}
		for _, neighbour := range []string{"2001:db8::1", "2001:db8::ffff"} { // of the same /64
			if r := c.enter(addr(neighbour), time.Now()); r != replyBanned {
				t.Errorf("%s: %v", neighbour, r)
			}
		}
		if r := c.enter(addr("2001:db8:0:1::1"), time.Now()); r.Code != 0 {
			t.Errorf("another network: %v", r)
		}
		bans := slices.Collect(c.Bans())
		if len(bans) != 1 || bans[0].Network.String() != "2001:db8::/64" || bans[0].Why != "faulty sessions" || bans[0].Until.Sub(bans[0].Since) != time.Hour {
			t.Errorf("%+v", bans)
		}
		if !c.Lift(bans[0].Network) || c.enter(addr("2001:db8::1"), time.Now()).Code != 0 {
			t.Error("the ban is not lifted")
		}
		if c.Lift(bans[0].Network) {
			t.Error("lifted twice")
		}
		if c.count(misbehaving, addr("2001:db8::1")) {
			t.Error("what led to a ban that was lifted is not forgotten")
		}
		for range 4 {
			c.count(harvesting, addr("192.0.2.1"))
		}
		if r := c.enter(addr("192.0.2.1"), time.Now()); r != replyBanned {
			t.Errorf("%v", r)
		}
		time.Sleep(time.Hour) // the clock of the bubble
		if r := c.enter(addr("192.0.2.1"), time.Now()); r.Code != 0 {
			t.Errorf("a ban does not end: %v", r)
		}
		refused := 0
		for range 100 {
			if c.enter(addr("192.0.2.2"), time.Now()) == replyOften {
				refused++
			}
		}
		if refused != 40 {
			t.Errorf("%d of 100 connections at once were refused", refused)
		}
	})
}

func TestNobodyIsRemembered(t *testing.T) {
	var c *Clients
	if c.count(misbehaving, netip.MustParseAddr("192.0.2.1")) || c.enter(netip.MustParseAddr("192.0.2.1"), time.Now()) != (smtp.Reply{}) {
		t.Error("it bans")
	}
}

// Errors are answered late, but only in so many sessions at once; who makes none never waits.
func TestTarpit(t *testing.T) {
	o := testOptions(t) // outside, since the directory has goroutines of its own
	synctest.Test(t, func(t *testing.T) {
		o.Tarpit = Tarpit{After: 1, Delay: 5 * time.Second, Sessions: 1}
		s, err := NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		session := func() *client {
			ours, theirs := net.Pipe()
			s.accept(ours)
			return newClient(t, theirs)
		}
		took := func(c *client, line, want string) time.Duration {
			began := time.Now()
			c.ask(line, want)
			return time.Since(began)
		}
		a, b := session(), session()
		a.expect("220 ")
		b.expect("220 ")
		if d := took(a, "WHAT", "500 "); d != 0 {
			t.Errorf("the first error: %v", d)
		}
		if d := took(a, "WHAT", "500 "); d != 5*time.Second {
			t.Errorf("the second error: %v", d)
		}
		if d := took(a, "NOOP", "250 "); d != 0 {
			t.Errorf("no error: %v", d)
		}
		b.ask("WHAT", "500 ")
		a.say("WHAT")
		synctest.Wait() // a is in the tarpit, which is full now
		if d := took(b, "WHAT", "500 "); d != 0 {
			t.Errorf("beside the tarpit: %v", d)
		}
		a.expect("500 ")
		a.say("WHAT")
		synctest.Wait()
		began := time.Now()
		go s.Shutdown(t.Context())
		a.expect("500 ")
		a.expect("421 ")
		b.expect("421 ")
		if d := time.Since(began); d > 2*time.Second {
			t.Errorf("the end waits for the tarpit: %v", d)
		}
		a.conn.Close()
		b.conn.Close()
		synctest.Wait()
	})
}
