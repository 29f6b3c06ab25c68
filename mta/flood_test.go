package mta

import (
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The flood that one honest session must get through, and how long its replies may take meanwhile. The machine is the flood's as well.
const (
	floodRate    = 10_000 // connects a second
	floodTime    = time.Second
	floodSources = 8
	honestReply  = 2 * time.Second
)

// junk connects from an address, says what is no SMTP, and is gone, as often as it is told to.
func junk(server string, from net.IP, ticks <-chan struct{}, done *atomic.Int64) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: 5 * time.Second}
	for range ticks {
		c, err := d.Dial("tcp", server)
		if err != nil {
			continue
		}
		c.(*net.TCPConn).SetLinger(0) // no port stays in TIME_WAIT
		io.WriteString(c, "\x16\x03\x01 junk GET / HTTP/1.0\r\n\r\n")
		c.Close()
		done.Add(1)
	}
}

// flood connects floodRate times a second, or as fast as the machine can, until it is stopped; then it tells how many there were.
func flood(server string, source func(i int) net.IP) (stop func() int64) {
	ticks, quit := make(chan struct{}, floodRate/100), make(chan struct{})
	var clients, pace sync.WaitGroup
	var done atomic.Int64
	for i := range floodSources * 4 {
		clients.Go(func() { junk(server, source(i), ticks, &done) })
	}
	pace.Go(func() {
		defer close(ticks)
		tick, began := time.NewTicker(5*time.Millisecond), time.Now()
		defer tick.Stop()
		for sent := 0; ; {
			for due := int(time.Since(began).Seconds() * floodRate); sent < due; sent++ {
				select {
				case ticks <- struct{}{}:
				case <-quit:
					return
				}
			}
			select {
			case <-tick.C:
			case <-quit:
				return
			}
		}
	})
	return func() int64 {
		close(quit)
		pace.Wait()
		clients.Wait()
		return done.Load()
	}
}

// Ten thousand connects a second of junk do not stop one honest session, nor a newcomer: from one network, where a ban ends it, from many
// networks, and with nothing that remembers them.
func TestFlood(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("elsewhere loopback has one address")
	}
	one := func(int) net.IP { return net.IPv4(127, 0, 0, 2) }
	many := func(i int) net.IP { return net.IPv4(127, 0, 1, byte(i+1)) }
	for name, c := range map[string]struct {
		clients *Clients
		source  func(int) net.IP
	}{
		"one network, banned":    {NewClients(ClientsOptions{Faults: 20, Connections: 300, Ban: time.Hour}), one},
		"many networks, limited": {NewClients(ClientsOptions{Connections: 300, Ban: time.Hour}), many},
		"many, no memory":        {nil, many},
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t)
			o.Spool = &discarding{}
			o.Clients = c.clients
			_, addr := start(t, o, plain)
			honest := dial(t, addr)
			honest.expect("220 ")
			honest.ask("EHLO client.test", "250 ")
			began := time.Now()
			stop := flood(addr, c.source)
			var took []time.Duration
			ask := func(line, want string) {
				t.Helper()
				asked := time.Now()
				honest.ask(line, want)
				took = append(took, time.Since(asked))
			}
			for time.Since(began) < floodTime {
				ask("MAIL FROM:<alice@north.test>", "250 ")
				ask("RCPT TO:<bob@south.test>", "250 ")
				ask("DATA", "354 ")
				ask("Subject: x\r\n\r\n.", "250 2.0.0 ")
			}
			asked := time.Now()
			newcomer := dial(t, addr)
			newcomer.expect("220 ")
			newcomer.conn.Close()
			welcome := time.Since(asked)
			lasted := time.Since(began)
			n := stop()
			slices.Sort(took)
			worst := took[len(took)-1]
			t.Logf("%.0f connects a second; %d replies, median %v, p99 %v, worst %v; a newcomer's greeting %v",
				float64(n)/lasted.Seconds(), len(took), took[len(took)/2], took[len(took)*99/100], worst, welcome)
			if worst > honestReply || welcome > honestReply {
				t.Errorf("an honest client waits %v, a newcomer %v", worst, welcome)
			}
			if n < 100 {
				t.Errorf("%d connects are no flood", n)
			}
		})
	}
}
