package mta

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"posthouse/mta/stage"
)

// script is a connection whose peer has said all it will say; it comes in pieces of a few octets each.
type script struct {
	in    []byte
	piece int
	out   bytes.Buffer
}

func (c *script) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.in[:min(c.piece, len(c.in))])
	c.in = c.in[n:]
	return n, nil
}

func (c *script) Write(p []byte) (int, error) { return c.out.Write(p) }
func (c *script) Close() error                { return nil }
func (c *script) LocalAddr() net.Addr         { return nil }
func (c *script) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:1000"))
}
func (c *script) SetDeadline(time.Time) error      { return nil }
func (c *script) SetReadDeadline(time.Time) error  { return nil }
func (c *script) SetWriteDeadline(time.Time) error { return nil }

// panics fails the test when a session's panic is logged.
type panics struct{ t testing.TB }

func (panics) Enabled(context.Context, slog.Level) bool { return true }
func (p panics) WithAttrs([]slog.Attr) slog.Handler     { return p }
func (p panics) WithGroup(string) slog.Handler          { return p }
func (p panics) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError {
		r.Attrs(func(a slog.Attr) bool { p.t.Errorf("%s: %s", r.Message, a); return true })
	}
	return nil
}

// states are what is said before the octets of the fuzzer: each puts the session in another state.
var states = []string{
	"",
	"EHLO c\r\n",
	"EHLO c\r\nMAIL FROM:<a@b>\r\n",
	"EHLO c\r\nMAIL FROM:<a@b> SMTPUTF8\r\nRCPT TO:<bob@south.test>\r\nRCPT TO:<all@south.test>\r\n",
	"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<bob@south.test>\r\nDATA\r\n",
	"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<bob@south.test>\r\nBDAT 6\r\nA: b\r\n",
	"EHLO c\r\nAUTH PLAIN\r\n",
	"EHLO c\r\nAUTH LOGIN\r\n",
	"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<nobody@south.test>\r\nBDAT 100 LAST\r\n",
}

// fuzzed is one server of each kind for all runs of a fuzzer.
var fuzzed sync.Map // Kind → *Server

func fuzzServer(t testing.TB, kind Kind) *Server {
	if s, ok := fuzzed.Load(kind); ok {
		return s.(*Server) //nolint:forcetypeassert // nothing else is in it
	}
	o := testOptions(t)
	o.Kind, o.TLS, o.AllowPlaintextAuth, o.DSN = kind, nil, true, true
	o.XClientFrom, o.Queues = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, []string{"south.test"}
	o.QueuesFor = o.XClientFrom
	o.Limits = Limits{MessageSize: 1000, HeaderSize: 200, Recipients: 3, Errors: 1000, Junk: 1000, AuthFailures: 1000}
	o.Admission.Strangers = []string{"helo", "recipient", "loop", "header"}
	o.Admission.Recipient = 1_000_000
	o.Admission.Header = stage.Sanity{From: stage.Refuse, EightBit: stage.Defer, Other: stage.Tag}
	s, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	fuzzed.Store(kind, s)
	return s
}

// FuzzSession: whatever octets come in whatever state, a session never panics, and answers each command with exactly one reply, in
// order; what is message data is never a command, and nothing that a client says becomes a reply.
func FuzzSession(f *testing.F) {
	for _, s := range []string{
		"NOOP\r\nQUIT\r\n", "a\r\n.\r\nMAIL FROM:<>\r\n", "a\n.\nRCPT TO:<x@y>\r\n.\r\nNOOP\r\n", "BDAT 3 LAST\r\nabcNOOP\r\n",
		"BDAT 5\r\nab", "AUTH PLAIN =\r\n*\r\n", "\x00\r\n\r\n", "RSET\r\nRSET\nRSET\r\r\n", "*\r\nNOOP\r\n", "BDAT\r\nNOOP\r\n",
		"MAIL FROM:<a\"b@c> ENVID=+0D\r\n", "RCPT TO:<postmaster>\r\nDATA\r\n", strings.Repeat("x", 3000) + "\r\nNOOP\r\n",
		strings.Repeat("x", 3000) + "\r\n.\r\nNOOP\r\n", "EHLO d\r\nHELO e\r\nVRFY x\r\nLHLO f\r\n", "POST / HTTP/1.1\r\n",
		"ETRN south.test\r\nETRN @south.test\r\nETRN #x\r\nHELP etrn\r\n", "EXPN all@south.test\r\n",
		"XCLIENT ADDR=192.0.2.7 PORT=9 HELO=x LOGIN=bob@south.test\r\nNOOP\r\n", "XCLIENT ADDR=[UNAVAILABLE]\r\nEHLO x\r\nMAIL FROM:<a@b>\r\n",
		"XFORWARD NAME=a+0Db ADDR=IPV6:::1\r\nXFORWARD SOURCE=LOCAL\r\nMAIL FROM:<> BY=60;R MT-PRIORITY=3\r\nXFORWARD NAME=x\r\n",
	} {
		for state := range states {
			f.Add(state, int(MX), 7, []byte(s))
			f.Add(state, int(LMTP), 4096, []byte(s))
			f.Add(state, int(Submission), 1, []byte(s))
		}
	}
	kinds := []Kind{MX, Submission, LMTP}
	servers := map[Kind]*Server{}
	for _, k := range kinds {
		servers[k] = fuzzServer(f, k)
	}
	f.Fuzz(func(t *testing.T, state, kind, piece int, octets []byte) {
		k := kinds[uint(kind)%uint(len(kinds))]
		before := states[uint(state)%uint(len(states))]
		if k == LMTP {
			before = strings.Replace(before, "EHLO", "LHLO", 1)
		}
		in := append([]byte(before), octets...)
		conn := &script{in: bytes.Clone(in), piece: 1 + int(uint(piece)%9000)}
		s := servers[k]
		sess := s.newSession(conn)
		sess.log = slog.New(panics{t})
		sess.in.init(&s.buffers, sess.read)
		sess.serve(t.Context())
		o := oracle{t: t, in: in, replies: splitReplies(t, conn.out.String()), lmtp: k == LMTP}
		o.check()
	})
}

var replyLine = regexp.MustCompile(`^[2-5][0-9][0-9][ -][^\r\n]*$`)

// splitReplies checks the form of every line (RFC 5321 §4.2) and gives the last line of each reply.
func splitReplies(t *testing.T, out string) []string {
	var replies []string
	if out != "" && !strings.HasSuffix(out, "\r\n") {
		t.Fatalf("half a reply: %q", out)
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(out, "\r\n"), "\r\n") {
		if !replyLine.MatchString(line) {
			t.Fatalf("no line of a reply: %q", line)
		}
		if line[3] == ' ' {
			replies = append(replies, line)
		}
	}
	return replies
}

// oracle reads the same octets as a client that knows what it sends: which of them are commands follows from the replies.
type oracle struct {
	t       *testing.T
	in      []byte
	replies []string
	lmtp    bool
	taken   int // recipients of the transaction
	// responds tells that the next line answers a challenge.
	responds bool
}

func (o *oracle) check() {
	o.reply("greeting") // of the connection
	for len(o.in) > 0 && len(o.replies) > 0 {
		line, ok := o.line()
		if !ok {
			break
		}
		verb, args := strings.TrimSuffix(line, "\r\n"), ""
		if i := strings.IndexAny(verb, " \t"); i >= 0 {
			verb, args = verb[:i], strings.Trim(verb[i:], " \t")
		}
		if o.responds { // the line is no command: RFC 4954 §4
			verb, o.responds = "", false
		}
		if strings.EqualFold(verb, "BDAT") && strings.HasSuffix(line, "\r\n") && len(line) <= 2048 && o.isChunk(args) {
			continue
		}
		r := o.reply(line)
		switch {
		case strings.HasPrefix(r, "421"), strings.HasPrefix(r, "221"), strings.HasPrefix(r, "554 5.5.0"):
			o.in = nil
		case strings.HasPrefix(r, "354"):
			o.data()
		case strings.HasPrefix(r, "334"):
			o.responds = true
		case strings.EqualFold(verb, "BDAT") && strings.HasPrefix(r, "501"): // nobody knows where the next command begins
			o.in = nil
		case strings.EqualFold(verb, "MAIL"), strings.EqualFold(verb, "RSET") && r[0] == '2', strings.EqualFold(verb, "EHLO") && r[0] == '2',
			strings.EqualFold(verb, "LHLO") && r[0] == '2':
			if r[0] == '2' {
				o.taken = 0
			}
		case strings.EqualFold(verb, "RCPT") && r[0] == '2':
			o.taken++
		}
	}
	// At the end of the octets the session ends without a word.
	if len(o.replies) > 0 {
		o.t.Errorf("replies that answer nothing: %q", o.replies)
	}
}

func (o *oracle) line() (string, bool) {
	i := bytes.IndexByte(o.in, '\n')
	if i < 0 {
		if len(o.in) > 12288 { // it hears that before its end
			o.reply("endless line")
		}
		return "", false
	}
	line := string(o.in[:i+1])
	o.in = o.in[i+1:]
	return line, true
}

func (o *oracle) reply(to string) string {
	if len(o.replies) == 0 {
		o.t.Fatalf("no reply to %q", to)
	}
	r := o.replies[0]
	o.replies = o.replies[1:]
	return r
}

// data takes the message off and its replies.
func (o *oracle) data() {
	end := bytes.Index(append([]byte("\r\n"), o.in...), []byte("\r\n.\r\n"))
	if end < 0 {
		o.in = nil
		return
	}
	o.in = o.in[end+3:]
	o.replyEach("end of data")
}

func (o *oracle) replyEach(to string) {
	n := 1
	if o.lmtp {
		n = max(1, o.taken)
	}
	for range n {
		o.reply(to)
	}
	o.taken = 0
}

// isChunk takes a chunk off, if that is what the argument says.
func (o *oracle) isChunk(args string) bool {
	size, last, more := strings.Cut(args, " ")
	n, err := strconv.ParseUint(size, 10, 63)
	if err != nil || size[0] == '+' || more && !strings.EqualFold(strings.TrimLeft(last, " "), "LAST") {
		return false
	}
	if uint64(len(o.in)) < n {
		o.in = nil
		return true
	}
	o.in = o.in[n:]
	if more && len(o.replies) > 0 && !isState(o.replies[0]) {
		o.replyEach("last chunk")
		return true
	}
	if r := o.reply("chunk"); r[0] != '2' {
		o.taken = 0
	}
	return true
}

// isState tells a reply that refuses a chunk before it looks at it: one, whatever the protocol.
func isState(r string) bool {
	return strings.HasPrefix(r, "503 ") || strings.HasPrefix(r, "530 ") || strings.HasPrefix(r, "554 5.5.1")
}
