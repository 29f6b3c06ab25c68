package transcript

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"
)

const (
	maxSkipped = 100_000 // lines that one S... may pass over
	maxLine    = 16 << 20
	kept       = 20 // lines of dialogue shown with a failure
)

// player is one run of a script.
type player struct {
	Options
	script *Script
	vars   map[string]string
	peers  map[string]*peer
	log    []string // the last lines of the dialogue
}

func (p *player) playAll(steps []step) error {
	for _, st := range steps {
		if st.play == nil { // S... before something that is no line of the same peer
			return p.fail(st, fmt.Errorf("%w: an expected line must follow", errScript))
		}
		if err := st.play(p, st); err != nil {
			return p.fail(st, err)
		}
	}
	return nil
}

// failure is an error that names its line already.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

func (p *player) fail(st step, err error) error {
	if errors.As(err, new(failure)) {
		return err
	}
	return failure{fmt.Errorf("%s:%d: %s\n\t%w\n    the dialogue before:\n%s", p.script.Name, st.line, st.text, err, strings.Join(p.log, "\n"))}
}

func (p *player) note(side, peer, text string) {
	const shown = 300
	if len(text) > shown {
		text = text[:shown] + "…"
	}
	p.log = append(p.log, "    "+side+peer+" "+strings.Trim(strconv.QuoteToGraphic(text), `"`))
	if len(p.log) > kept {
		p.log = p.log[1:]
	}
}

// at is the peer of a step, connected at its first use.
func (p *player) at(st step) (*peer, error) {
	if c := p.peers[st.peer]; c != nil {
		return c, nil
	}
	conn, err := p.Dial(st.peer)
	if err != nil {
		return nil, err
	}
	c := newPeer(conn, p.Timeout)
	p.peers[st.peer] = c
	return c, nil
}

func (p *player) repeat(st step) error {
	for i := range st.times {
		p.vars["i"] = strconv.Itoa(i)
		if err := p.playAll(st.body); err != nil {
			return err
		}
	}
	delete(p.vars, "i")
	return nil
}

// What the client does.

func (p *player) send(st step, data []byte) error {
	c, err := p.at(st)
	if err != nil {
		return err
	}
	p.note("C", st.peer, string(data))
	return c.send(data)
}

func (p *player) sendLine(st step) error {
	text, err := p.expand(st.arg)
	if err != nil {
		return err
	}
	return p.send(st, []byte(text+"\r\n"))
}

func (p *player) sendQuoted(st step) error {
	text, err := p.quoted(st)
	if err != nil {
		return err
	}
	return p.send(st, []byte(text))
}

func (p *player) quoted(st step) (string, error) {
	text, err := strconv.Unquote(st.arg)
	if err != nil {
		return "", fmt.Errorf("%w: %s is not a quoted string of Go", errScript, st.arg)
	}
	return p.expand(text)
}

func (p *player) sendFile(st step) error { return p.send(st, p.script.files[st.arg]) }

func (p *player) sendFileLines(st step) error { return p.send(st, crlf(p.script.files[st.arg])) }

func (p *player) act(st step) error {
	if st.arg == "dial" {
		if old := p.peers[st.peer]; old != nil {
			delete(p.peers, st.peer)
			old.close()
		}
		_, err := p.at(st)
		return err
	}
	c, err := p.at(st)
	if err != nil {
		return err
	}
	p.note("C", st.peer, "! "+st.arg)
	switch st.arg {
	case "starttls":
		return c.startTLS(p.TLS)
	case "deflate":
		return c.deflate()
	case "shutdown":
		return c.shutdown()
	case "close":
		delete(p.peers, st.peer)
		c.close()
		return nil
	}
	return fmt.Errorf("%w: C! knows dial, starttls, deflate, shutdown and close", errScript)
}

// What the server must answer.

func (p *player) readLine(st step) (string, error) {
	c, err := p.at(st)
	if err != nil {
		return "", err
	}
	line, err := c.readLine()
	if line != "" {
		p.note("S", st.peer, line)
	}
	if err != nil {
		return "", err
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok {
		return "", fmt.Errorf("got a line that does not end in CRLF: %q", line)
	}
	return text, nil
}

func (p *player) expectLine(st step) error {
	re, err := st.match(p, st.arg)
	if err != nil {
		return err
	}
	line, err := p.readLine(st)
	if err != nil {
		return err
	}
	if m := re.FindStringSubmatch(line); m != nil {
		p.bind(re, m)
		return nil
	}
	return fmt.Errorf("got %q", line)
}

// expectGroup reads as many lines as the group has; each must match one of those not matched before.
func (p *player) expectGroup(st step) error {
	open := append([]step(nil), st.group...)
	for len(open) > 0 {
		line, err := p.readLine(st)
		if err != nil {
			return p.fail(open[0], err)
		}
		i, err := p.findMatch(open, line)
		if err != nil {
			return err
		}
		if i < 0 {
			return p.fail(open[0], fmt.Errorf("got %q, which matches no line of the group", line))
		}
		open = append(open[:i], open[i+1:]...)
	}
	return nil
}

func (p *player) findMatch(steps []step, line string) (int, error) {
	for i, st := range steps {
		re, err := st.match(p, st.arg)
		if err != nil {
			return 0, p.fail(st, err)
		}
		if m := re.FindStringSubmatch(line); m != nil {
			p.bind(re, m)
			return i, nil
		}
	}
	return -1, nil
}

// skipTo reads on until the line that its only member expects.
func (p *player) skipTo(st step) error {
	next := *st.next
	for range maxSkipped {
		line, err := p.readLine(next)
		if err != nil {
			return err
		}
		i, err := p.findMatch([]step{next}, line)
		if err != nil || i == 0 {
			return err
		}
	}
	return fmt.Errorf("not among the next %d lines", maxSkipped)
}

func (p *player) expectQuoted(st step) error {
	want, err := p.quoted(st)
	if err != nil {
		return err
	}
	return p.expectOctets(st, []byte(want))
}

func (p *player) expectFileLines(st step) error {
	return p.expectOctets(st, crlf(p.script.files[st.arg]))
}

func (p *player) expectOctets(st step, want []byte) error {
	c, err := p.at(st)
	if err != nil {
		return err
	}
	got := make([]byte, len(want))
	n, err := c.readFull(got)
	p.note("S", st.peer, string(got[:n]))
	if !bytes.Equal(got[:n], want[:n]) || err == nil && n < len(want) {
		return fmt.Errorf("got %q", got[:n])
	}
	return err
}

func (p *player) expectEnd(st step) error {
	if st.arg != "eof" {
		return fmt.Errorf("%w: S! knows eof", errScript)
	}
	line, err := p.readLine(st)
	switch {
	case err == nil:
		return fmt.Errorf("got %q", line)
	// A server that closes while our octets are still under way answers them with a reset.
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.ErrClosedPipe):
		return nil
	}
	return err
}
