package remote

import (
	"context"
	"strings"
	"testing"
	"time"

	"posthouse/delivery/hop"
	"posthouse/internal/dns"
	"posthouse/mail"
)

// validated is a resolver whose answers DNSSEC vouches for.
type validated struct{ dns.Resolver }

func (v validated) MX(ctx context.Context, domain string) (dns.Answer[dns.MX], error) {
	a, err := v.Resolver.MX(ctx, domain)
	a.Validated = true
	return a, err
}

// offering is a host that offers extensions, and takes the message after a MAIL with parameters.
func offering(extensions, parameters string) string {
	script := strings.Replace(hello, "S: 250-PIPELINING", "S: 250-"+strings.ReplaceAll(extensions, "\n", "\nS: 250-")+"\n\tS: 250-PIPELINING", 1)
	return script + strings.Replace(oneMessage, "C: MAIL FROM:<alice@north.test>", "C: MAIL FROM:<alice@north.test>"+parameters, 1)
}

// TestParametersAreMirrored: what the message was given is given on, to hosts that take it and to no other.
func TestParametersAreMirrored(t *testing.T) {
	change := func(task *hop.Task) {
		task.Envelope.By = &mail.DeliverBy{Time: time.Now().Add(90 * time.Second), Notify: true, Trace: true}
		task.Envelope.Priority = -4
	}
	for name, script := range map[string]string{
		"both":     offering("DELIVERBY\nMT-PRIORITY MIXER", " BY=90;NT MT-PRIORITY=-4"),
		"priority": offering("MT-PRIORITY", " MT-PRIORITY=-4"),
		"neither":  offering("SIZE", " SIZE=15"),
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, southZone, func(w *world) {
				w.host("192.0.2.1:25", script)
				w.want(w.deliver(south, change, "bob@south.test"), "delivered 250 2.0.0 taken")
			})
		})
	}
}

// TestDeliverBy: RFC 2852 §4.1.4.1. What is to be returned unless it comes in time goes to nobody who does not promise that.
func TestDeliverBy(t *testing.T) {
	const no = "permanent 550 5.4.7 the host does not promise to deliver in time" + refusedByAll
	for name, c := range map[string]struct {
		extensions string
		left       time.Duration
		want       string
	}{
		"promised":      {"DELIVERBY 30", time.Minute, "delivered 250 2.0.0 taken"},
		"no least time": {"DELIVERBY", time.Minute, "delivered 250 2.0.0 taken"},
		"not known":     {"SIZE", time.Minute, no},
		"least time":    {"DELIVERBY 61", time.Minute, no},
		"too late":      {"DELIVERBY", 0, no},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, southZone, func(w *world) {
				script := offering(c.extensions, " BY=60;R")
				if c.want == no {
					script, _, _ = strings.Cut(script, "C: MAIL")
				}
				w.host("192.0.2.1:25", script)
				w.want(w.deliver(south, func(task *hop.Task) { task.Envelope.By = &mail.DeliverBy{Time: time.Now().Add(c.left)} }, "bob@south.test"), c.want)
			})
		})
	}
}

// TestToldOfDelays: RFC 2852 §4.1.4.2. A host that does not know by when a message was to come is asked to tell of delays.
func TestToldOfDelays(t *testing.T) {
	for _, c := range []struct {
		extensions, by string
		notify         mail.Notify
		said           string
	}{
		{"DSN", "", 0, " NOTIFY=FAILURE,DELAY"},
		{"DSN", "", mail.NotifySuccess, " NOTIFY=SUCCESS,DELAY"},
		{"DSN", "", mail.NotifyNever, " NOTIFY=NEVER"},
		{"DSN\nDELIVERBY", " BY=60;N", 0, ""},
		{"DSN\nDELIVERBY", " BY=60;N", mail.NotifySuccess, " NOTIFY=SUCCESS"},
	} {
		inWorld(t, southZone, func(w *world) {
			w.host("192.0.2.1:25", strings.Replace(offering(c.extensions, c.by), "TO:<bob@south.test>", "TO:<bob@south.test>"+c.said, 1))
			w.want(w.deliver(south, func(task *hop.Task) {
				task.Envelope.By = &mail.DeliverBy{Time: time.Now().Add(time.Minute), Notify: true}
				task.Recipients[0].Notify = c.notify
			}, "bob@south.test"), "delivered 250 2.0.0 taken")
		})
	}
}

// TestUnvouchedExchangers: RFC 8689 §4.2.1. Without DNSSEC anybody may have said that this is the domain's exchanger.
func TestUnvouchedExchangers(t *testing.T) {
	inWorld(t, southZone, func(w *world) {
		w.want(w.deliver(south, func(t *hop.Task) { t.Envelope.TLS = mail.TLSRequired }, "bob@south.test"),
			"permanent 550 5.7.10 nobody vouches for the mail exchangers of the domain, and the message needs TLS")
	})
}

// TestNoticesGoWithoutTLS: RFC 8689 §5. A notice about a message that needs TLS says so where it can, and goes all the same.
func TestNoticesGoWithoutTLS(t *testing.T) {
	inWorld(t, southZone, func(w *world) {
		w.host("192.0.2.1:25", strings.Replace(hello+oneMessage, "<alice@north.test>", "<>", 1))
		w.want(w.deliver(south, func(t *hop.Task) { t.Envelope.TLS, t.Envelope.From = mail.TLSRequired, mail.Address{} }, "bob@south.test"),
			"delivered 250 2.0.0 taken")
	})
}

// TestLimits: RFC 9422. A host that says how much it takes is given no more: of recipients for a message, of messages and of domains
// over a connection.
func TestLimits(t *testing.T) {
	message := func(recipients ...string) string {
		var rcpts, oks string
		for _, r := range recipients {
			rcpts += "C: RCPT TO:<" + r + ">\n"
			oks += "S: 250 2.1.5 ok\n"
		}
		return strings.NewReplacer("C: RCPT TO:<bob@south.test>\n", rcpts, "S: 250 2.1.5 ok\n", oks).Replace(oneMessage)
	}
	greeting := func(limits string) string {
		return strings.Replace(hello, "S: 250-PIPELINING", "S: 250-LIMITS "+limits+"\n\tS: 250-PIPELINING", 1)
	}
	for name, scripts := range map[string][]string{
		"RCPTMAX=2":                         {message("a@x.test", "b@x.test") + message("c@y.test")},
		"mailmax=1":                         {message("a@x.test", "b@x.test", "c@y.test")},
		"RCPTDOMAINMAX=1":                   {message("a@x.test", "b@x.test"), message("c@y.test")},
		"MAILMAX=1 RCPTMAX=1 UNKNOWN BAD=x": {message("a@x.test"), message("b@x.test"), message("c@y.test")},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, southZone, func(w *world) {
				for _, s := range scripts {
					w.host("192.0.2.1:25", greeting(name)+s)
				}
				smarthost := hop.Hop{Kind: hop.SMTP, Host: "mail.south.test", Port: 25}
				taken := "delivered 250 2.0.0 taken"
				w.want(w.deliver(smarthost, nil, "a@x.test", "b@x.test", "c@y.test"), taken, taken, taken)
			})
		})
	}
}
