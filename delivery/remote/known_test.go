package remote

import (
	"strconv"
	"testing"
	"time"

	"posthouse/delivery/hop"
	"posthouse/mail/smtp"
)

// TestLacks: what a host does not offer is known for a while, unless another host of the hop does; a route may say it for ever.
func TestLacks(t *testing.T) {
	inWorld(t, southZone, func(w *world) {
		lacks := func(want bool) {
			t.Helper()
			if got := w.client.Lacks(south, smtp.SMTPUTF8); got != want {
				t.Errorf("lacks it: %v", got)
			}
		}
		lacks(false)
		w.host("192.0.2.1:25", hello+oneMessage)
		w.want(w.deliver(south, nil, "bob@south.test"), "delivered 250 2.0.0 taken")
		lacks(true)
		time.Sleep(knownTime)
		lacks(false)
		w.host("192.0.2.1:25", hello+oneMessage)
		w.want(w.deliver(south, nil, "bob@south.test"), "delivered 250 2.0.0 taken")
		lacks(true)
		w.client.known.learn(south, smtp.SMTPUTF8)
		lacks(false)
	})
}

// TestWithout: what a route says a host is without is not used, whatever the host says.
func TestWithout(t *testing.T) {
	without := south
	without.Without = smtp.Chunking | smtp.SMTPUTF8
	inWorld(t, southZone, func(w *world) {
		w.host("192.0.2.1:25", offering("CHUNKING\nSMTPUTF8", ""))
		w.want(w.deliver(without, nil, "bob@south.test"), "delivered 250 2.0.0 taken")
		if !w.client.Lacks(without, smtp.SMTPUTF8) || w.client.Lacks(without, smtp.Pipelining) {
			t.Error("the route is not believed")
		}
	})
}

// TestKnownIsBounded: whoever makes us ask many hosts makes us forget, and nothing else.
func TestKnownIsBounded(t *testing.T) {
	var k known
	for i := range 2*maxKnown + 1 {
		k.learn(hop.Hop{Host: strconv.Itoa(i)}, 0)
	}
	if len(k.hops) > maxKnown {
		t.Errorf("%d hops", len(k.hops))
	}
	if !k.lacks(hop.Hop{Host: strconv.Itoa(2 * maxKnown)}, smtp.Size) {
		t.Error("the last one is forgotten")
	}
}
