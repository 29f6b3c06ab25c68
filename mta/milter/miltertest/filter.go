// Package miltertest is a filter for tests: it speaks the milter protocol from the filter's side, with code of its own, and answers what
// the test tells it to.
package miltertest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Script is how a filter behaves. The zero value speaks version 6, wants to hear everything and lets everything pass.
type Script struct {
	Version           uint32            // 0: 6
	Actions, Protocol uint32            // what it asks for in the negotiation
	Answers           map[byte][][]byte // to a command, packets as Packet makes them; nil: continue
	Silent            string            // commands that it does not answer
	HangsUpAfter      byte              // the command after whose answers it closes the connection
}

// Filter is a running one.
type Filter struct {
	Address string
	script  Script

	mu      sync.Mutex
	heard   []string
	conns   map[net.Conn]bool
	dialled int
}

// Packet is one packet of an answer.
func Packet(kind byte, data string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(data)+1))
	return append(append(b, kind), data...)
}

// Start runs a filter until the test ends.
func Start(t testing.TB, s Script) *Filter {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &Filter{Address: l.Addr().String(), script: s, conns: map[net.Conn]bool{}}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns[c] = true
			f.dialled++
			f.mu.Unlock()
			done.Go(func() { f.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		f.HangUp()
		done.Wait()
	})
	return f
}

// HangUp closes all connections.
func (f *Filter) HangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		c.Close()
	}
}

// Heard are the commands so far, each with its data: macros sorted, NULs as "|".
func (f *Filter) Heard() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.heard)
}

// Dialled is how many connections there were.
func (f *Filter) Dialled() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dialled
}

func (f *Filter) serve(c net.Conn) {
	defer func() {
		c.Close()
		f.mu.Lock()
		delete(f.conns, c)
		f.mu.Unlock()
	}()
	for {
		var head [5]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return
		}
		data := make([]byte, binary.BigEndian.Uint32(head[:4])-1)
		if _, err := io.ReadFull(c, data); err != nil {
			return
		}
		if f.answer(c, head[4], data) != nil {
			return
		}
	}
}

var errBye = errors.New("the connection ends")

// unanswered are the commands that no filter answers.
const unanswered = "DAKQ"

func (f *Filter) answer(c net.Conn, command byte, data []byte) error {
	f.note(command, data)
	var out [][]byte
	switch {
	case command == 'O':
		version := f.script.Version
		if version == 0 {
			version = 6
		}
		var b []byte
		for _, n := range []uint32{version, f.script.Actions, f.script.Protocol} {
			b = binary.BigEndian.AppendUint32(b, n)
		}
		out = [][]byte{Packet('O', string(b))}
	case command == 'Q':
		return errBye
	case strings.IndexByte(unanswered+f.script.Silent, command) >= 0:
	case f.script.Answers[command] != nil:
		out = f.script.Answers[command]
	default:
		out = [][]byte{Packet('c', "")}
	}
	if _, err := c.Write(bytes.Join(out, nil)); err != nil {
		return err
	}
	if command == f.script.HangsUpAfter {
		return errBye
	}
	return nil
}

func (f *Filter) note(command byte, data []byte) {
	text := string(data)
	if command == 'D' && len(data) > 0 {
		words := strings.Split(strings.TrimSuffix(text[1:], "\x00"), "\x00")
		var pairs []string
		for pair := range slices.Chunk(words, 2) {
			pairs = append(pairs, strings.Join(pair, "="))
		}
		slices.Sort(pairs)
		text = text[:1] + " " + strings.Join(pairs, " ")
	}
	if command == 'O' {
		text = fmt.Sprintf("%x", data)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard = append(f.heard, fmt.Sprintf("%c %s", command, strings.ReplaceAll(text, "\x00", "|")))
}
