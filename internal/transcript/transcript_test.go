package transcript

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"posthouse/internal/testkit"

	"golang.org/x/tools/txtar"
)

// The server of these tests knows: say TEXT, both TEXT (said to the other connections too), eat N (octets after the line), starttls,
// lf TEXT (a line without CR), quit.
type server struct {
	t      *testing.T
	config *tls.Config
}

func (s server) serve(conn net.Conn) {
	defer conn.Close()
	io.WriteString(conn, "hello\r\n")
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		verb, arg, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		switch verb {
		case "say":
			for l := range strings.SplitSeq(arg, "|") {
				io.WriteString(conn, l+"\r\n")
			}
		case "raw":
			io.WriteString(conn, strings.NewReplacer("\r\n", "<CRLF>", "\n", "<LF>").Replace(line)+"\r\n")
		case "lf":
			io.WriteString(conn, arg+"\n")
		case "starttls":
			io.WriteString(conn, "go\r\n")
			if arg == "late" {
				io.WriteString(conn, "injected\r\n")
			}
			conn = tls.Server(conn, s.config)
			r = bufio.NewReader(conn)
		case "quit":
			io.WriteString(conn, "bye\r\n")
			return
		}
	}
}

func listen(t *testing.T) Options {
	s := server{t, &tls.Config{Certificates: []tls.Certificate{testkit.Certificate(x509.Certificate{DNSNames: []string{"server.test"}})}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return Options{Dial: DialTCP(l.Addr().String()), Vars: map[string]string{"bound": "first"}, Timeout: 5 * time.Second}
}

func TestScripts(t *testing.T) {
	RunDir(t, "testdata", func(t *testing.T, s *Script) Options {
		o := listen(t)
		if s.Settings["network"] == "pipe" {
			o.Dial = func(string) (net.Conn, error) {
				client, srv := net.Pipe()
				go server{t, nil}.serve(srv)
				return client, nil
			}
		}
		o.Done = func(vars map[string]string) {
			if want := s.Settings["bound"]; want != "" && vars["x"] != want {
				t.Errorf("x is %q, want %q", vars["x"], want)
			}
		}
		return o
	})
}

// A script that the server does not follow fails, and says where.
func TestFailures(t *testing.T) {
	for name, c := range map[string]struct{ script, want string }{
		"another line":      {"S: hello\nC: say a\nS: b", `:3: S: b`},
		"shows the answer":  {"S: hello\nC: say a\nS: b", `got "a"`},
		"shows the past":    {"S: hello\nC: say a\nS: b", `C say a\r\n`},
		"longer line":       {"S: hell", `got "hello"`},
		"bound differs":     {"S: $x\nC: say hallo\nS: $x", `got "hallo"`},
		"unbound is sent":   {"S: hello\nC: say $y", `$y is not bound`},
		"regexp":            {"S~ h[aiu]llo", `got "hello"`},
		"regexp is broken":  {"S~ (", `bad script line`},
		"group":             {"S: hello\nC: say a|b|c\nS*: a\nS*: b\nS*: d", `got "c"`},
		"group twice":       {"S: hello\nC: say a|a\nS*: a\nS*: b", `got "a"`},
		"end of file":       {"S! eof", `got "hello"`},
		"missing line":      {"S: hello\nC: quit\nS: bye\nS: more", `EOF`},
		"line ends in LF":   {"S: hello\nC: lf a\nS: a", `does not end in CRLF`},
		"octets":            {"S= \"hallo\"", `got "hello"`},
		"injected plain":    {"S: hello\nC: starttls late\nS: go\nC! starttls", "handshake"},
		"skip to nothing":   {"S: hello\nC: say a\nC: quit\nS...\nS: z", `EOF`},
		"in repeat":         {"S: hello\nrepeat 2\nC: say $i\nS: 0\nend", `:4: S: 0`},
		"unknown operator":  {"S< file", `no file "file"`},
		"no such line":      {"X: what", `bad script line`},
		"repeat for ever":   {"repeat 2\nC: a", `repeat without end`},
		"nothing after ...": {"S: hello\nS...", `nothing follows`},
		"send after ...":    {"S...\nC: say a", `must follow`},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := parse("x.txtar", txtar.Parse([]byte(c.script)))
			if err == nil {
				o := listen(t)
				err = s.Play(o)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v; want %s", err, c.want)
			}
		})
	}
}

// A silent server fails the script in time.
func TestNeverHangs(t *testing.T) {
	s, err := parse("x.txtar", txtar.Parse([]byte("S: hello")))
	if err != nil {
		t.Fatal(err)
	}
	client, silent := net.Pipe()
	defer silent.Close()
	err = s.Play(Options{Timeout: time.Millisecond, Dial: func(string) (net.Conn, error) { return client, nil }})
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("got %v", err)
	}
}

func TestRunDirNeedsScripts(t *testing.T) {
	if _, err := Parse("testdata/none.txtar"); err == nil {
		t.Error("a missing file parses")
	}
}
