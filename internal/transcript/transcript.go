// Package transcript plays dialogues of line protocols, written as text, against a connection. A script is a txtar archive: its
// comment is the dialogue, its files are what is sent or expected in one piece. testdata/script/README.md describes the format.
//
// It knows no protocol and no server: a Dial function makes the connections, so that the same script runs in process, over TLS and
// against any server on the network.
//
// The flow: Parse → Script.Play → step.play for each step. Every step has a deadline: a script may fail, but it never hangs. Writing
// is done beside the dialogue, so that a script may send more than the other side takes before it answers.
package transcript

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
)

const defaultTimeout = 10 * time.Second

// Script is a parsed transcript.
type Script struct {
	Name     string            // of the file
	Settings map[string]string // "setting NAME VALUE" lines: their meaning is the caller's
	steps    []step
	files    map[string][]byte
}

// File is a file of the archive; empty if there is none.
func (s *Script) File(name string) []byte { return s.files[name] }

// Options say what a script is played against.
type Options struct {
	// Dial makes the connection of a peer: "" is that of C: and S:, "2" that of C2: and S2:.
	Dial func(peer string) (net.Conn, error)
	// TLS is for "C! starttls"; nil: any certificate is taken.
	TLS *tls.Config
	// Vars are bound at the start.
	Vars map[string]string
	// Timeout is each step's; 0: 10 s.
	Timeout time.Duration
	// Done is called after the last step, with what is bound then; may be nil.
	Done func(vars map[string]string)
}

// Parse reads the file of a script.
func Parse(file string) (*Script, error) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		return nil, err
	}
	return parse(file, archive)
}

func parse(name string, archive *txtar.Archive) (*Script, error) {
	s := &Script{Name: name, Settings: map[string]string{}, files: map[string][]byte{}}
	for _, f := range archive.Files {
		s.files[f.Name] = f.Data
	}
	var err error
	s.steps, err = s.parseSteps(strings.Split(string(archive.Comment), "\n"))
	return s, err
}

// Play runs the script; the error tells the line, what was expected and the dialogue before it.
func (s *Script) Play(o Options) error {
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	p := &player{Options: o, script: s, vars: maps.Clone(o.Vars), peers: map[string]*peer{}}
	if p.vars == nil {
		p.vars = map[string]string{}
	}
	err := p.playAll(s.steps)
	for _, peer := range p.peers {
		peer.close()
	}
	if err == nil && o.Done != nil {
		o.Done(p.vars)
	}
	return err
}

// Run plays a script as a test.
func Run(t testing.TB, file string, o Options) {
	t.Helper()
	s, err := Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Play(o); err != nil {
		t.Fatal(err)
	}
}

// RunDir plays every *.txtar below a folder as a subtest; setup makes what it is played against, or skips the test.
func RunDir(t *testing.T, dir string, setup func(t *testing.T, s *Script) Options) {
	t.Helper()
	found := 0
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".txtar") {
			return err
		}
		found++
		name, err := filepath.Rel(dir, strings.TrimSuffix(path, ".txtar"))
		if err != nil {
			return err
		}
		t.Run(filepath.ToSlash(name), func(t *testing.T) {
			s, err := Parse(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Play(setup(t, s)); err != nil {
				t.Fatal(err)
			}
		})
		return nil
	})
	if err == nil && found == 0 {
		err = fmt.Errorf("no *.txtar below %s", dir)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// DialTCP is an Options.Dial for one address.
func DialTCP(addr string) func(peer string) (net.Conn, error) {
	return func(string) (net.Conn, error) { return net.DialTimeout("tcp", addr, defaultTimeout) }
}

// DialTLS is an Options.Dial for one address that speaks TLS from the first octet.
func DialTLS(addr string, config *tls.Config) func(peer string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: defaultTimeout}
	return func(string) (net.Conn, error) { return tls.DialWithDialer(dialer, "tcp", addr, config) }
}

var errScript = errors.New("bad script line")
