package delivery

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthouse/mail"
	"posthouse/spool"
)

// TestHeldMessage: RFC 4865. Nothing is tried before the release, and the schedule begins with it.
func TestHeldMessage(t *testing.T) {
	inHouse(t, Options{Retry: []time.Duration{time.Hour}, GiveUpAfter: 2 * time.Hour}, func(h *house) {
		south := h.network["192.0.2.1:25"]
		south.down.Store(true)
		h.send(func(e *mail.Envelope) { e.NotBefore = time.Now().Add(24 * time.Hour) }, "bob@south.test")
		time.Sleep(24*time.Hour + 30*time.Minute)
		if left := h.queue(); len(left) != 1 || left[0].Recipients[0].State != spool.Ready || left[0].Recipients[0].Attempts != 1 {
			t.Errorf("%+v", left)
		}
		south.down.Store(false)
		time.Sleep(time.Hour)
		if south.count() != 1 {
			t.Errorf("%d messages", south.count())
		}
	})
}

// TestReturnedInTime: RFC 2852 §4.1.3. What cannot be delivered by then is returned then, and not tried again.
func TestReturnedInTime(t *testing.T) {
	inHouse(t, Options{Retry: []time.Duration{10 * time.Minute}}, func(h *house) {
		south := h.network["192.0.2.1:25"]
		south.offers = []string{"DELIVERBY"}
		south.reply = func(command string) string {
			if strings.HasPrefix(command, "MAIL") {
				return "450 4.3.0 not now"
			}
			return ""
		}
		h.send(func(e *mail.Envelope) { e.By = &mail.DeliverBy{Time: time.Now().Add(15 * time.Minute)} }, "bob@south.test")
		time.Sleep(14 * time.Minute)
		if got := h.inbox("alice@north.test"); len(got) > 0 || len(south.when) != 2 {
			t.Errorf("%d attempts, %q", len(south.when), got)
		}
		time.Sleep(time.Hour)
		if len(south.when) != 2 {
			t.Errorf("%d attempts", len(south.when))
		}
		got := h.inbox("alice@north.test")
		if len(got) != 1 {
			t.Fatalf("%d notices", len(got))
		}
		h.has(got[0], "Action: failed\r\n", "Status: 5.4.7\r\n")
	})
}

// TestToldInTime: RFC 2852 §4.1.3. Mode N: the sender hears of the delay when it asked to, and the message is tried on.
func TestToldInTime(t *testing.T) {
	inHouse(t, Options{Retry: []time.Duration{2 * time.Hour}, WarnAfter: 5 * time.Minute}, func(h *house) {
		south := h.network["192.0.2.1:25"]
		south.down.Store(true)
		h.send(func(e *mail.Envelope) { e.By = &mail.DeliverBy{Time: time.Now().Add(15 * time.Minute), Notify: true} }, "bob@south.test")
		time.Sleep(16 * time.Minute)
		got := h.inbox("alice@north.test")
		if len(got) != 1 {
			t.Fatalf("%d notices", len(got))
		}
		h.has(got[0], "Action: delayed\r\nStatus: 4.4.7\r\n")
		south.down.Store(false)
		time.Sleep(3 * time.Hour)
		got = h.inbox("alice@north.test")
		if south.count() != 1 || len(got) != 2 {
			t.Fatalf("%d messages, %d notices", south.count(), len(got))
		}
		h.has(got[1], "Action: relayed\r\n") // §4.1.4.2: the host knows nothing of DELIVERBY
	})
}

// TestTrace: RFC 2852 §4.1.4. By-trace tells of every relaying, and nothing does with NOTIFY=NEVER.
func TestTrace(t *testing.T) {
	for name, c := range map[string]struct {
		notify mail.Notify
		want   int
	}{"default": {0, 1}, "failure": {mail.NotifyFailure, 1}, "never": {mail.NotifyNever, 0}} {
		t.Run(name, func(t *testing.T) {
			inHouse(t, Options{}, func(h *house) {
				h.network["192.0.2.1:25"].offers = []string{"DELIVERBY"}
				h.send(func(e *mail.Envelope) {
					e.By, e.To[0].Notify = &mail.DeliverBy{Time: time.Now().Add(time.Hour), Trace: true}, c.notify
				}, "bob@south.test")
				synctest.Wait()
				if got := h.inbox("alice@north.test"); len(got) != c.want || c.want > 0 && !strings.Contains(got[0], "Action: relayed\r\n") {
					t.Errorf("%q", got)
				}
			})
		})
	}
}

// TestExpanded: RFC 3461 §5.2.7.3. The sender who wants to hear of success hears that the address stands for several, once, and those
// say nothing of success any more.
func TestExpanded(t *testing.T) {
	inHouse(t, Options{}, func(h *house) {
		h.alias("all@north.test", "carol@north.test", "bob@south.test")
		h.send(func(e *mail.Envelope) { e.To[0].Notify = mail.NotifySuccess }, "all@north.test")
		synctest.Wait()
		got := h.inbox("alice@north.test")
		if len(got) != 1 {
			t.Fatalf("%d notices", len(got))
		}
		h.has(got[0], "Final-Recipient: rfc822; all@north.test\r\nAction: expanded\r\nStatus: 2.1.5\r\n")
		if len(h.inbox("carol@north.test")) != 1 || h.network["192.0.2.1:25"].count() != 1 {
			t.Error("it did not go on")
		}
	})
}

// damaged is a spool whose messages cannot be read to their end.
type damaged struct{ spool.Spool }

func (s damaged) Open(ctx context.Context, id mail.ID) (mail.Content, error) {
	c, err := s.Spool.Open(ctx, id)
	return torn{c}, err
}

// torn is a content of which the disk lost what follows its header.
type torn struct{ mail.Content }

func (c torn) ReadAt(p []byte, off int64) (int, error) {
	const good = 46 // octets
	if off+int64(len(p)) > good {
		return 0, errors.New("input/output error")
	}
	return c.Content.ReadAt(p, off)
}

// TestUnreadableMessage: a message that cannot be read to its end is put off for the targets of an alias and returned without its content
// to its sender; settling it ends all the same, and is not tried for ever.
func TestUnreadableMessage(t *testing.T) {
	inHouse(t, Options{Retry: []time.Duration{time.Hour}}, func(h *house) {
		h.stop()
		h.check(<-h.ended)
		var err error
		h.mover, err = New(h.mover.opts)
		h.check(err)
		h.alias("all@north.test", "carol@north.test", "bob@south.test")
		whole := h.spool
		h.spool = damaged{whole}
		h.run()
		h.send(nil, "all@north.test", "bob@null.test")
		time.Sleep(10 * time.Minute)
		left := h.queue()
		if len(left) == 0 || len(left[0].Recipients) != 2 {
			t.Fatalf("%+v", left)
		}
		if r := left[0].Recipients[0]; r.State != spool.Ready || r.Attempts != 1 {
			t.Errorf("the alias: %+v", r)
		}
		if r := left[0].Recipients[1]; r.State != spool.Dead {
			t.Errorf("who takes no mail: %+v", r)
		}
		h.spool = whole
	})
}
