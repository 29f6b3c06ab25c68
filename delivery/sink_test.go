package delivery

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"posthouse/mail/smtp"
)

// sink is a host that takes mail, or does with it what a test says.
type sink struct {
	// reply answers a command, or the end of a message as "."; "" for the answer of a host that takes all.
	reply func(command string) string
	// offers are EHLO lines beside PIPELINING.
	offers []string
	down   atomic.Bool // it refuses connections

	mu          sync.Mutex // guards what follows
	messages    []string
	when        []time.Time // of each MAIL
	connections int
	open, most  int // connections now, and at most
	serving     sync.WaitGroup
}

// network is where sinks are: addresses and what listens there. Everything else refuses.
type network map[string]*sink

func (n network) dial(_ context.Context, network, address string) (net.Conn, error) {
	s := n[address]
	if s == nil || s.down.Load() {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	ours, theirs := net.Pipe()
	s.serving.Go(func() { s.serve(theirs) })
	return ours, nil
}

func (s *sink) serve(nc net.Conn) {
	defer nc.Close()
	s.mu.Lock()
	s.connections++
	s.open++
	s.most = max(s.most, s.open)
	s.mu.Unlock()
	over := sync.OnceFunc(func() {
		s.mu.Lock()
		s.open--
		s.mu.Unlock()
	})
	defer over()
	r, w := bufio.NewReaderSize(nc, 64<<10), bufio.NewWriter(nc)
	say := func(line string) {
		if line == "" {
			w.Flush()
			return
		}
		w.WriteString(line + "\r\n")
	}
	for say("220 sink"); ; {
		if r.Buffered() == 0 && w.Flush() != nil {
			return
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if !s.answer(strings.TrimRight(line, "\r\n"), r, say) {
			over() // who hears goodbye may connect again at once
			w.Flush()
			return
		}
	}
}

// answer answers one command, with a message after DATA.
func (s *sink) answer(command string, r *bufio.Reader, say func(string)) (more bool) {
	verb, _, _ := strings.Cut(strings.ToUpper(command), " ")
	said := ""
	if s.reply != nil {
		say("") // it may take its time
		said = s.reply(command)
	}
	switch {
	case verb == "MAIL":
		s.mu.Lock()
		s.when = append(s.when, time.Now())
		s.mu.Unlock()
	case verb == "EHLO":
		say("250-sink")
		for _, line := range s.offers {
			say("250-" + line)
		}
		said = "250 PIPELINING"
	case verb == "DATA" && said == "":
		say("354 go ahead")
		say("") // is not said, but flushes
		var b strings.Builder
		if refusal, err := smtp.ReadData(r, &b, 100<<20); errors.Join(refusal, err) != nil {
			return false
		}
		if s.reply != nil {
			said = s.reply(".")
		}
		if said == "" {
			s.mu.Lock()
			s.messages = append(s.messages, b.String())
			s.mu.Unlock()
		}
	}
	if said == "hang up" {
		return false
	}
	if said == "" {
		said = "250 2.0.0 ok"
	}
	say(said)
	return verb != "QUIT"
}

// count is how many messages it took.
func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.messages)
}

// listen puts a sink on a real port.
func listen(s *sink) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.serving.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			s.serving.Go(func() { s.serve(nc) })
		}
	})
	return l, nil
}

// discard is a message's text that is as long as needed.
func discard(n int) io.Reader {
	return io.LimitReader(strings.NewReader(strings.Repeat(fmt.Sprintf("%062d\r\n", 0), n/64+1)), int64(n)/64*64)
}
