package remote

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"posthouse/delivery/hop"
	"posthouse/mail"
	"posthouse/mail/mailtest"
)

// FuzzHost: whatever a host says, in whatever order, each recipient has a result, and soon: no panic, no waiting for ever.
func FuzzHost(f *testing.F) {
	const ok = "220 hi\r\n250-hi\r\n250 PIPELINING\r\n250 ok\r\n250 ok\r\n"
	for _, said := range []string{
		"", "220 hi\r\n", ok + "550 no\r\n354 go\r\n250 taken\r\n", ok + "250 ok\r\n354 go\r\n250 taken\r\n", ok + "452 many\r\n354 go\r\n250 ok\r\n",
		"220 hi\r\n250-SIZE x\r\n250 STARTTLS\r\n220 go\r\n\x16\x03\x01", "421 busy\r\n", "220-a\r\n220 b\r\n502 x\r\n250 HELO\r\n503 x\r\n221 x\r\n", "\xff\x00\r\n",
		"220 hi\r\n250-hi\r\n250-LIMITS MAILMAX=1 RCPTMAX=1 RCPTDOMAINMAX=1\r\n250-CHUNKING\r\n250 DELIVERBY 9\r\n250 ok\r\n250 ok\r\n250 taken\r\n",
		"220 hi\r\n250-hi\r\n250-LIMITS MAILMAX=99999999999 X=\r\n250-BINARYMIME\r\n250-CHUNKING\r\n250 SMTPUTF8\r\n250 ok\r\n250 ok\r\n250 taken\r\n",
	} {
		f.Add(said, false)
		f.Add(said, true)
	}
	f.Fuzz(func(t *testing.T, said string, lmtp bool) {
		synctest.Test(t, func(t *testing.T) {
			c := New(Options{Hostname: "mail.north.test", Dial: func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				go io.Copy(io.Discard, theirs)
				go func() {
					io.Copy(theirs, strings.NewReader(said))
					theirs.Close()
				}()
				return ours, nil
			}})
			h := hop.Hop{Kind: hop.SMTP, Host: "192.0.2.1", Port: 25}
			if lmtp {
				h.Kind = hop.LMTP
			}
			task := hop.Task{Envelope: &mail.Envelope{From: mailtest.Address("alice@north.test"), Body: mail.BodyBinaryMIME, UTF8: true}, Content: content{strings.NewReader("A: b\r\n\r\nbody")},
				Recipients: []mail.Recipient{{Address: mailtest.Address("a@south.test")}, {Address: mailtest.Address("\u0436@north.test")}}}
			for i, r := range c.Deliver(t.Context(), h, task) {
				if r.Status == hop.Untried || r.Reply.Code == 0 || hop.StatusOf(r.Reply) == hop.Delivered != (r.Status == hop.Delivered) {
					t.Errorf("recipient %d: %+v", i, r)
				}
				if r.Status == hop.Delivered && !strings.Contains(said, "354") && !strings.Contains(strings.ToUpper(said), "CHUNKING") {
					t.Errorf("recipient %d was delivered to a host that never asked for the message", i)
				}
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	})
}
