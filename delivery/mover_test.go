package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"posthouse/directory"
	"posthouse/mail"
	"posthouse/mail/mailtest"
	"posthouse/spool"
)

func TestEverywhereAtOnce(t *testing.T) {
	inHouse(t, Options{}, func(h *house) {
		h.send(nil, "bob@south.test", "carol@north.test", "dave@south.test")
		synctest.Wait()
		if got := h.network["192.0.2.1:25"].messages; len(got) != 1 || got[0] != text {
			t.Errorf("%q", got)
		}
		if got := h.inbox("carol@north.test"); len(got) != 1 || got[0] != "Return-Path: <alice@north.test>\r\nDelivered-To: carol@north.test\r\n"+text {
			t.Errorf("%q", got)
		}
		if left := h.queue(); len(left) > 0 {
			t.Errorf("%+v", left)
		}
	})
}

// TestBounce: a refusal comes back to the sender with the remote's words, and the rest is delivered.
func TestBounce(t *testing.T) {
	inHouse(t, Options{Postmaster: mailtest.Address("postmaster@north.test")}, func(h *house) {
		south := h.network["192.0.2.1:25"]
		south.reply = func(command string) string {
			if strings.Contains(command, "nobody") {
				return "550 5.1.1 nobody of that name"
			}
			return ""
		}
		id := h.send(nil, "nobody@south.test", "bob@south.test", "nobody@north.test", "bob@null.test")
		synctest.Wait()
		if south.count() != 1 {
			t.Errorf("%d messages", south.count())
		}
		var all strings.Builder
		for _, m := range h.inbox("alice@north.test") {
			h.has(m, "Return-Path: <>\r\n", "Auto-Submitted: auto-replied\r\n", "Action: failed\r\n", "References: <1@north.test>\r\n", "The body.\r\n",
				"postmaster@north.test")
			all.WriteString(m)
		}
		h.has(all.String(), "Final-Recipient: rfc822; nobody@south.test\r\nAction: failed\r\nStatus: 5.1.1\r\nRemote-Mta: dns; mail.south.test\r\n"+
			"Diagnostic-Code: smtp; 550 5.1.1 nobody of that name\r\n",
			"Final-Recipient: rfc822; nobody@north.test\r\nAction: failed\r\nStatus: 5.1.1\r\n",
			"Final-Recipient: rfc822; bob@null.test\r\nAction: failed\r\nStatus: 5.1.10\r\n")
		if strings.Contains(all.String(), "Final-Recipient: rfc822; bob@south.test") {
			t.Error("who was delivered to is in a bounce")
		}
		left := h.queue()
		if len(left) != 1 || left[0].ID != id || len(left[0].Recipients) != 4 {
			t.Fatalf("%+v", left)
		}
		for n, want := range []spool.State{spool.Dead, spool.Done, spool.Dead, spool.Dead} {
			if got := left[0].Recipients[n].State; got != want {
				t.Errorf("recipient %d is %v, not %v", n, got, want)
			}
		}
	})
}

// TestNoBounceOfABounce: what the null sender sent, or a stranger that was not believed, and who asked not to be told, is parked without a word.
func TestNoBounceOfABounce(t *testing.T) {
	for name, change := range map[string]func(*mail.Envelope){
		"null sender": func(e *mail.Envelope) { e.From = mail.Address{} },
		"quarantine":  func(e *mail.Envelope) { e.Quarantined = true },
		"NEVER":       func(e *mail.Envelope) { e.To[0].Notify = mail.NotifyNever },
		"delay only":  func(e *mail.Envelope) { e.To[0].Notify = mail.NotifyDelay },
	} {
		t.Run(name, func(t *testing.T) {
			inHouse(t, Options{}, func(h *house) {
				h.send(change, "bob@null.test")
				synctest.Wait()
				left := h.queue()
				if len(left) != 1 || left[0].Recipients[0].State != spool.Dead {
					t.Errorf("%+v", left)
				}
				if got := h.inbox("alice@north.test"); len(got) > 0 {
					t.Errorf("%q", got)
				}
			})
		})
	}
}

// TestSchedule: attempts come as configured, the last delay repeats, the sender is warned once, and told when we give up.
func TestSchedule(t *testing.T) {
	o := Options{Retry: []time.Duration{5 * time.Minute, time.Hour, 2 * time.Hour}, GiveUpAfter: 8 * time.Hour, WarnAfter: 4 * time.Hour}
	inHouse(t, o, func(h *house) {
		south := h.network["192.0.2.1:25"]
		south.reply = func(command string) string {
			if strings.HasPrefix(command, "RCPT") {
				return "450 4.2.0 greylisted for ever"
			}
			return ""
		}
		start := time.Now()
		h.send(nil, "bob@south.test")
		time.Sleep(6 * time.Hour)
		warnings := h.inbox("alice@north.test")
		if len(warnings) != 1 {
			t.Fatalf("%d warnings", len(warnings))
		}
		h.has(warnings[0], "Action: delayed\r\n", "Status: 4.2.0\r\n", "450 4.2.0 greylisted for ever",
			"Will-Retry-Until: "+start.Add(8*time.Hour).UTC().Format("Mon, 2 Jan 2006 15:04:05 -0700"))
		time.Sleep(10 * time.Hour)
		var at []time.Duration
		for _, w := range south.when {
			at = append(at, w.Sub(start).Round(time.Minute))
		}
		want := []time.Duration{0, 5 * time.Minute, 65 * time.Minute, 185 * time.Minute, 305 * time.Minute, 425 * time.Minute, 480 * time.Minute}
		if !slices.Equal(at, want) {
			t.Errorf("attempts after %v, want %v", at, want)
		}
		all := h.inbox("alice@north.test")
		if len(all) != 2 {
			t.Fatalf("%d notices", len(all))
		}
		h.has(all[1], "Action: failed\r\n", "Status: 4.4.7\r\n", "450 4.2.0 greylisted for ever")
	})
}

// TestBackFromTheDead: an operator's replay begins the schedule anew.
func TestBackFromTheDead(t *testing.T) {
	inHouse(t, Options{GiveUpAfter: time.Hour}, func(h *house) {
		south := h.network["192.0.2.1:25"]
		south.down.Store(true)
		id := h.send(nil, "bob@south.test")
		time.Sleep(2 * time.Hour)
		if left := h.queue(); len(left) != 1 || left[0].Recipients[0].State != spool.Dead {
			t.Fatalf("%+v", left)
		}
		n, err := h.spool.Change(h.Context(), spool.Filter{ID: id, States: []spool.State{spool.Dead}}, spool.RetryNow)
		if err != nil || n != 1 {
			t.Fatal(n, err)
		}
		time.Sleep(time.Minute)
		if left := h.queue(); left[0].Recipients[0].State != spool.Ready {
			t.Errorf("%+v", left[0].Recipients[0])
		}
		south.down.Store(false)
		time.Sleep(time.Hour)
		if south.count() != 1 || len(h.queue()) > 0 {
			t.Errorf("%d delivered, %+v", south.count(), h.queue())
		}
	})
}

// TestSuccessNotices: RFC 3461 §5.2. A host that sends notices itself is asked to; of one that does not we say that much.
func TestSuccessNotices(t *testing.T) {
	wish := func(e *mail.Envelope) { e.To[0].Notify = mail.NotifySuccess }
	for name, c := range map[string]struct {
		to     string
		offers []string
		want   string // action; empty: we say nothing
	}{
		"local":       {"carol@north.test", nil, "delivered"},
		"without DSN": {"bob@south.test", nil, "relayed"},
		"with DSN":    {"bob@south.test", []string{"DSN"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inHouse(t, Options{}, func(h *house) {
				h.network["192.0.2.1:25"].offers = c.offers
				h.send(wish, c.to)
				synctest.Wait()
				got := h.inbox("alice@north.test")
				if c.want == "" {
					if len(got) > 0 {
						t.Errorf("%q", got)
					}
					return
				}
				if len(got) != 1 {
					t.Fatalf("%d notices", len(got))
				}
				h.has(got[0], "Action: "+c.want+"\r\n")
			})
		})
	}
}

// TestAlias: the message goes on to the targets; when it comes back, it is a loop.
func TestAlias(t *testing.T) {
	inHouse(t, Options{}, func(h *house) {
		for _, target := range []string{"carol@north.test", "bob@south.test"} {
			h.check(h.directory.AddAlias(h.Context(), directory.Alias{Address: mailtest.Address("team@north.test"), Target: mailtest.Address(target)}))
		}
		h.send(nil, "team@north.test")
		synctest.Wait()
		south := h.network["192.0.2.1:25"].messages
		if len(south) != 1 || south[0] != "Delivered-To: team@north.test\r\n"+text {
			t.Fatalf("%q", south)
		}
		if got := h.inbox("carol@north.test"); len(got) != 1 || !strings.HasSuffix(got[0], "Delivered-To: team@north.test\r\n"+text) {
			t.Errorf("%q", got)
		}
		d, err := h.spool.Create(h.Context(), mail.Envelope{From: mailtest.Address("alice@north.test"), To: []mail.Recipient{{Address: mailtest.Address("team@north.test")}}})
		h.check(err)
		_, err = io.WriteString(d, south[0])
		h.check(err)
		_, err = d.Commit(h.Context())
		h.check(err)
		synctest.Wait()
		if got := h.inbox("alice@north.test"); len(got) != 1 {
			t.Errorf("%d notices", len(got))
		} else {
			h.has(got[0], "Status: 5.4.6\r\n")
		}
	})
}

// TestSlowDestination: a host that says nothing keeps nobody else waiting, and never has more than its share of connections.
func TestSlowDestination(t *testing.T) {
	inHouse(t, Options{Workers: 20, PerDestination: 5}, func(h *house) {
		slow := &sink{reply: func(command string) string {
			if command != "DATA" && command != "QUIT" {
				time.Sleep(4 * time.Minute)
			}
			return ""
		}}
		h.network["192.0.2.2:25"] = slow
		for range 200 {
			h.send(nil, "bob@slow.test")
		}
		synctest.Wait()
		start := time.Now()
		for range 50 {
			h.send(nil, "bob@south.test")
		}
		synctest.Wait()
		if n := h.network["192.0.2.1:25"].count(); n != 50 || time.Since(start) > time.Minute {
			t.Errorf("%d delivered after %v", n, time.Since(start))
		}
		time.Sleep(time.Hour)
		slow.mu.Lock()
		defer slow.mu.Unlock()
		if slow.most != 5 {
			t.Errorf("%d connections at once", slow.most)
		}
	})
}

// TestManyDestinations: the workers are bounded, and everything arrives.
func TestManyDestinations(t *testing.T) {
	var now, most atomic.Int64
	inHouse(t, Options{Workers: 4, PerDestination: 2, Routes: []Route{{Match: "*.many.test", Via: "smtp://192.0.2.1:25"}, {Match: "other.test", Via: "smtp://192.0.2.1:26"}}},
		func(h *house) {
			count := func(command string) string {
				if strings.HasPrefix(command, "MAIL") {
					most.Store(max(most.Load(), now.Add(1)))
					time.Sleep(time.Second)
				} else if command == "." {
					now.Add(-1)
				}
				return ""
			}
			h.network["192.0.2.1:25"].reply = count
			h.network["192.0.2.1:26"] = &sink{reply: count}
			for i := range 40 {
				h.send(nil, fmt.Sprintf("bob@d%d.many.test", i), "bob@other.test")
			}
			time.Sleep(time.Minute)
			if n := h.network["192.0.2.1:25"].count() + h.network["192.0.2.1:26"].count(); n != 80 {
				t.Errorf("%d delivered", n)
			}
			if most.Load() > 4 {
				t.Errorf("%d at once", most.Load())
			}
		})
}

// TestConnectionsAreUsedAgain: while there is mail for a destination, a connection is kept.
func TestConnectionsAreUsedAgain(t *testing.T) {
	inHouse(t, Options{PerDestination: 2}, func(h *house) {
		h.stop()
		h.check(<-h.ended)
		for range 60 {
			h.send(nil, "bob@south.test")
		}
		var err error
		h.mover, err = New(h.mover.opts)
		h.check(err)
		h.run()
		synctest.Wait()
		south := h.network["192.0.2.1:25"]
		if south.count() != 60 || south.connections > 2 {
			t.Errorf("%d messages over %d connections", south.count(), south.connections)
		}
	})
}

// TestDrain: what is under way is finished; what takes too long is cut off and left for the next run, with nobody told.
func TestDrain(t *testing.T) {
	for name, c := range map[string]struct {
		takes     time.Duration
		delivered int
	}{
		"in time":  {5 * time.Second, 1},
		"too long": {time.Minute, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inHouse(t, Options{}, func(h *house) {
				south := h.network["192.0.2.1:25"]
				south.reply = func(command string) string {
					if command == "." {
						time.Sleep(c.takes)
					}
					return ""
				}
				h.send(nil, "bob@south.test")
				synctest.Wait()
				start := time.Now()
				h.stop()
				err := <-h.ended
				h.ended <- err
				if took := time.Since(start); took > DrainTime+time.Second {
					t.Errorf("it took %v", took)
				}
				left := h.queue()
				if len(left) != 1-c.delivered {
					t.Fatalf("%+v", left)
				}
				for _, e := range left {
					if r := e.Recipients[0]; r.State != spool.Ready || r.Attempts != 0 {
						t.Errorf("%+v", r)
					}
				}
			})
		})
	}
}

// reluctant is a spool that has no space when something is to be settled, for a while.
type reluctant struct {
	spool.Spool
	refusals atomic.Int64
	err      error
}

func (s *reluctant) Settle(ctx context.Context, l spool.Lease, outcomes []spool.Outcome, drafts ...spool.Draft) error {
	if s.refusals.Add(-1) >= 0 {
		return s.err
	}
	return s.Spool.Settle(ctx, l, outcomes, drafts...)
}

// TestFullDisk: what is known is recorded when there is space again, once, and its notices with it.
func TestFullDisk(t *testing.T) {
	inHouse(t, Options{}, func(h *house) {
		h.stop()
		h.check(<-h.ended)
		var err error
		h.mover, err = New(h.mover.opts)
		h.check(err)
		full := &reluctant{Spool: h.spool, err: spool.ErrFull}
		full.refusals.Store(10)
		h.spool = full
		h.run()
		h.send(nil, "bob@south.test", "bob@null.test")
		time.Sleep(10 * time.Minute)
		if n := h.network["192.0.2.1:25"].count(); n != 1 {
			t.Errorf("%d delivered", n)
		}
		if got := h.inbox("alice@north.test"); len(got) != 1 {
			t.Errorf("%d notices", len(got))
		}
	})
}

// TestFailedSpool: a spool that lost something ends the run, and the run says so.
func TestFailedSpool(t *testing.T) {
	inHouse(t, Options{}, func(h *house) {
		h.stop()
		h.check(<-h.ended)
		var err error
		h.mover, err = New(h.mover.opts)
		h.check(err)
		failed := &reluctant{Spool: h.spool, err: spool.ErrFailed}
		failed.refusals.Store(1)
		h.spool = failed
		h.run()
		h.send(nil, "bob@south.test")
		if err := <-h.ended; !errors.Is(err, spool.ErrFailed) {
			t.Error(err)
		}
		h.ended <- nil
	})
}

// TestLeasesAreRenewed: a job that takes longer than a lease stays ours.
func TestLeasesAreRenewed(t *testing.T) {
	inHouse(t, Options{}, func(h *house) {
		h.network["192.0.2.1:25"].reply = func(command string) string {
			if command != "QUIT" && command != "DATA" { // whose deadline is shorter
				time.Sleep(4 * time.Minute)
			}
			return ""
		}
		var to []string
		for i := range 30 { // two hours and more
			to = append(to, fmt.Sprintf("r%d@south.test", i))
		}
		h.send(nil, to...)
		time.Sleep(4 * time.Hour)
		if south := h.network["192.0.2.1:25"]; south.count() != 1 || len(h.queue()) > 0 {
			t.Errorf("%d delivered, %d left", south.count(), len(h.queue()))
		}
	})
}

func TestRoutes(t *testing.T) {
	o := Options{Routes: []Route{
		{Match: "*.Partner.example", Via: "smtp://relay.example:2525"},
		{Sender: "*@news.north.test", Via: "smtps://bulk.example"},
		{Match: "parked.test", Via: "dead"},
		{Match: "imap.test", Via: "lmtp+unix:///run/lmtp"},
		{Match: "here.test", Via: "local"},
		{Match: "*.Пример.test", Via: "smtp://ru.example"},
		{Sender: "*@ПОЧТА.test", Via: "smtp://out.example"},
	}}
	inHouse(t, o, func(h *house) {
		for _, c := range []struct{ from, to, want string }{
			{"alice@north.test", "bob@mail.partner.example", "smtp://relay.example:2525"},
			{"alice@north.test", "bob@a.b.partner.example", "smtp://relay.example:2525"},
			{"alice@north.test", "bob@partner.example", "partner.example"},
			{"Daily@News.north.test", "bob@south.test", "smtps://bulk.example:465"},
			{"daily@news.north.test", "bob@x.partner.example", "smtp://relay.example:2525"},
			{"alice@north.test", "bob@a.пример.test", "smtp://ru.example:25"},
			{"alice@почта.test", "bob@south.test", "smtp://out.example:25"},
			{"alice@north.test", "bob@imap.test", "lmtp+unix:///run/lmtp"},
			{"alice@north.test", "bob@parked.test", "dead"},
			{"alice@north.test", "bob@here.test", "local"},
			{"alice@north.test", "carol@north.test", "local"},
			{"alice@north.test", "bob@[192.0.2.1]", "[192.0.2.1]"},
		} {
			if got := h.mover.Destination(mailtest.Address(c.from), mail.Recipient{Address: mailtest.Address(c.to)}); got != c.want {
				t.Errorf("from %s to %s: %s, want %s", c.from, c.to, got, c.want)
			}
		}
		own := mail.Recipient{Address: mailtest.Address("daily@news.north.test"), Own: true}
		if got := h.mover.Destination(own.Address, own); got != "local" {
			t.Errorf("the sender's own copy goes to %s", got)
		}
		h.send(nil, "bob@parked.test")
		synctest.Wait()
		if left := h.queue(); len(left) != 1 || left[0].Recipients[0].State != spool.Dead || len(h.inbox("alice@north.test")) > 0 {
			t.Errorf("parked: %+v", left)
		}
	})
	for _, r := range []Route{{}, {Match: "*", Sender: "*", Via: "local"}, {Match: "[", Via: "local"}, {Match: "*", Via: "gopher://x"}, {Match: "*ж.test", Via: "local"},
		{Match: "*", Via: "smtp://x", Without: []string{"NOTHING"}}} {
		if _, err := New(Options{Routes: []Route{r}}); err == nil {
			t.Errorf("%+v was taken", r)
		}
	}
}

func TestNoticesAreSigned(t *testing.T) {
	sign := func(domain string, content io.ReaderAt, size int64) ([]byte, error) {
		b := make([]byte, size)
		if _, err := content.ReadAt(b, 0); err != nil && err != io.EOF {
			return nil, err
		}
		return fmt.Appendf(nil, "X-Signed: by %s, %v\r\n", domain, strings.HasPrefix(string(b), "Date: ")), nil
	}
	inHouse(t, Options{Sign: sign}, func(h *house) {
		h.send(nil, "bob@null.test")
		synctest.Wait()
		if got := h.inbox("alice@north.test"); len(got) != 1 {
			t.Errorf("%q", got)
		} else {
			h.has(got[0], "\r\nX-Signed: by mail.north.test, true\r\nDate: ")
		}
	})
}
