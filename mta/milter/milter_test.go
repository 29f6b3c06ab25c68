package milter

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"posthouse/internal/testkit"
	"posthouse/mail/smtp"
	"posthouse/mta/milter/miltertest"
)

var client = netip.MustParseAddrPort("192.0.2.1:1025")

func begin(t testing.TB, f *miltertest.Filter) (*Filter, *Session) {
	t.Helper()
	filter := New(Options{Network: "tcp", Address: f.Address, Reuse: true})
	t.Cleanup(func() { filter.Close() })
	s, err := filter.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return filter, s
}

// message has the filter see a whole message; the error is the first there is.
func message(ctx context.Context, s *Session, body io.Writer) (Answer, *Changes, error) {
	for _, step := range []func() (Answer, error){
		func() (Answer, error) { return s.Connect(ctx, "[192.0.2.1]", client, Macros{"j": "mail.south.test"}) },
		func() (Answer, error) { return s.Hello(ctx, "client.test", nil) },
		func() (Answer, error) {
			return s.Mail(ctx, "a@north.test", []string{"BODY=8BITMIME"}, Macros{"i": "1", "{auth_authen}": ""})
		},
		func() (Answer, error) { return s.Rcpt(ctx, "bob@south.test", nil, nil) },
		func() (Answer, error) { return s.Data(ctx, nil) },
		func() (Answer, error) { return s.Header(ctx, "Subject", " one\r\n two") },
		func() (Answer, error) { return s.EndOfHeader(ctx) },
		func() (Answer, error) { return s.Body(ctx, []byte("text\r\n")) },
	} {
		if a, err := step(); err != nil || a.Kind.ends() {
			return a, nil, err
		}
	}
	return s.EndOfMessage(ctx, Macros{"i": "2"}, body)
}

// What the filter hears, in order, and what it asked not to hear or not to answer.
func TestCommands(t *testing.T) {
	all := []string{
		"O 00000006000000ff001ff7ff",
		"D C j=mail.south.test", "C [192.0.2.1]|4\x04\x01192.0.2.1|", "H client.test|", "D M i=1", "M <a@north.test>|BODY=8BITMIME|",
		"R <bob@south.test>|", "T ", "L Subject|one\n two|", "N ", "B text\r\n", "D E i=2", "E ", "K ",
	}
	without := func(prefixes ...string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(s string) bool {
			return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
		})
	}
	for name, c := range map[string]struct {
		script miltertest.Script
		want   []string
	}{
		"everything":       {miltertest.Script{}, all},
		"nothing but EOM":  {miltertest.Script{Protocol: 0x37f}, without("D C", "C", "H", "D M", "M", "R", "T", "L", "N", "B")},
		"answers only EOM": {miltertest.Script{Protocol: 0xff080, Silent: "CHMRTLNB"}, all},
		"version 2":        {miltertest.Script{Version: 2}, append(without("T", "K"), "Q ")},
		"skips the body":   {miltertest.Script{Protocol: wantSkip, Answers: map[byte][][]byte{'B': {miltertest.Packet('s', "")}}}, all},
		"needs time":       {miltertest.Script{Answers: map[byte][][]byte{'R': {miltertest.Packet('p', ""), miltertest.Packet('p', ""), miltertest.Packet('c', "")}}}, all},
		"accepts the host": {miltertest.Script{Answers: map[byte][][]byte{'C': {miltertest.Packet('a', "")}}}, without("H", "D M", "M", "R", "T", "L", "N", "B", "D E", "E")},
		"accepts the mail": {miltertest.Script{Answers: map[byte][][]byte{'R': {miltertest.Packet('a', "")}}}, without("T", "L", "N", "B", "D E", "E")},
	} {
		t.Run(name, func(t *testing.T) {
			f := miltertest.Start(t, c.script)
			_, s := begin(t, f)
			a, changes, err := message(t.Context(), s, io.Discard)
			if name == "accepts the host" || name == "accepts the mail" { // and whoever asks on is told so
				a, changes, err = s.EndOfMessage(t.Context(), nil, io.Discard)
			}
			if err != nil || a.Kind != Continue || changes == nil {
				t.Fatalf("%+v, %v", a, err)
			}
			s.Close()
			want := c.want
			testkit.Until(t, "the last command", func() bool { return len(f.Heard()) >= len(want) })
			if got := f.Heard(); !slices.Equal(got, want) {
				t.Errorf("heard\n%q, want\n%q", got, want)
			}
		})
	}
}

func index(n uint32, rest string) string { return string(binary.BigEndian.AppendUint32(nil, n)) + rest }

// Every change that a filter can make.
func TestChanges(t *testing.T) {
	f := miltertest.Start(t, miltertest.Script{Actions: 0xff, Answers: map[byte][][]byte{'E': {
		miltertest.Packet('h', "X-One\x00yes\n\tfolded\x00"),
		miltertest.Packet('i', index(1, "X-Two\x00at the top\x00")),
		miltertest.Packet('m', index(2, "Subject\x00other\x00")),
		miltertest.Packet('m', index(1, "Bad\x00\x00")),
		miltertest.Packet('b', "new "),
		miltertest.Packet('p', ""),
		miltertest.Packet('b', "body\r\n"),
		miltertest.Packet('+', "<carol@south.test>\x00"),
		miltertest.Packet('2', "<dave@south.test>\x00NOTIFY=NEVER\x00"),
		miltertest.Packet('-', "<bob@south.test>\x00"),
		miltertest.Packet('e', "<new@north.test>\x00"),
		miltertest.Packet('q', "looks bad\x00"),
		miltertest.Packet('c', ""),
	}}})
	_, s := begin(t, f)
	var body bytes.Buffer
	a, got, err := message(t.Context(), s, &body)
	if err != nil || a.Kind != Continue {
		t.Fatalf("%+v, %v", a, err)
	}
	want := []HeaderChange{
		{AtEnd, 0, "X-One", " yes\r\n\tfolded"}, {AtIndex, 1, "X-Two", " at the top"}, {InsteadOf, 2, "Subject", " other"}, {InsteadOf, 1, "Bad", ""},
	}
	if !slices.Equal(got.Header, want) || body.String() != "new body\r\n" || !got.BodyIsReplaced || got.Quarantine != "looks bad" {
		t.Errorf("%+v, %q", got, body.String())
	}
	if !slices.Equal(got.Add, []string{"carol@south.test", "dave@south.test"}) || !slices.Equal(got.Delete, []string{"bob@south.test"}) || *got.From != "new@north.test" {
		t.Errorf("%+v", got)
	}
}

// With the leading space of values agreed on, it is as the filter gives it.
func TestLeadingSpace(t *testing.T) {
	f := miltertest.Start(t, miltertest.Script{Protocol: wantLeadingSpace, Answers: map[byte][][]byte{'E': {
		miltertest.Packet('h', "X\x00  two\x00"), miltertest.Packet('c', ""),
	}}})
	_, s := begin(t, f)
	_, got, err := message(t.Context(), s, io.Discard)
	if err != nil || got.Header[0].Value != "  two" || !slices.Contains(f.Heard(), "L Subject| one\n two|") {
		t.Errorf("%+v, %v, %q", got, err, f.Heard())
	}
}

// What decides, at any command.
func TestAnswers(t *testing.T) {
	for packet, want := range map[string]Answer{
		"r":                                   {Kind: Reject},
		"t":                                   {Kind: TempFail},
		"f":                                   {Kind: TempFail},
		"d":                                   {Kind: Discard},
		"y550 5.7.1 not you\x00":              {Reject, smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{5, 7, 1}, Text: "not you"}},
		"y451-4.7.1 one\r\n451 4.7.1 two\x00": {TempFail, smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{4, 7, 1}, Text: "one\ntwo"}},
		"y550 5.7.1 g\u00fcnstig\x00":         {Reject, smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{5, 7, 1}, Text: "g?nstig"}},
		"y421 bye\x00":                        {TempFail, smtp.Reply{Code: 421, Text: "bye"}},
		"y550 a\rb\x1bc\x00":                  {Reject, smtp.Reply{Code: 550, Text: "a?b?c"}},
	} {
		for _, command := range []byte("CHMRTLNBE") {
			if want.Kind == Discard && strings.ContainsRune("CH", rune(command)) {
				continue // there is no message
			}
			f := miltertest.Start(t, miltertest.Script{Answers: map[byte][][]byte{command: {miltertest.Packet(packet[0], packet[1:])}}})
			_, s := begin(t, f)
			if got, _, err := message(t.Context(), s, io.Discard); err != nil || got != want {
				t.Errorf("%q to %c: %+v, %v", packet, command, got, err)
			}
			s.Close()
		}
	}
}

// A filter that answers to nothing before the end has heard of the client all the same, when the first message of it was broken off.
func TestAbortKeepsTheClient(t *testing.T) {
	f := miltertest.Start(t, miltertest.Script{Protocol: 0xff080, Silent: "CHMRTLNB"})
	_, s := begin(t, f)
	s.Connect(t.Context(), "[192.0.2.1]", client, nil)
	s.Hello(t.Context(), "client.test", nil)
	s.Mail(t.Context(), "a@north.test", nil, nil)
	s.Abort()
	s.Mail(t.Context(), "b@north.test", nil, nil)
	if _, _, err := s.EndOfMessage(t.Context(), nil, io.Discard); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if heard := f.Heard()[1:6]; !slices.Equal(heard, []string{"C [192.0.2.1]|4\x04\x01192.0.2.1|", "H client.test|", "M <a@north.test>|", "A ", "M <b@north.test>|"}) {
		t.Errorf("%q", heard)
	}
}

// A filter that has discarded a message hears no more of it: one of libmilter would not answer.
func TestDiscardEndsTheMessage(t *testing.T) {
	f := miltertest.Start(t, miltertest.Script{Answers: map[byte][][]byte{'M': {miltertest.Packet('d', "")}}})
	_, s := begin(t, f)
	if a, err := s.Mail(t.Context(), "a@north.test", nil, nil); err != nil || a.Kind != Discard {
		t.Fatalf("%+v, %v", a, err)
	}
	s.Rcpt(t.Context(), "bob@south.test", nil, nil)
	s.EndOfMessage(t.Context(), nil, io.Discard)
	s.Close()
	testkit.Until(t, "the end", func() bool { heard := f.Heard(); return heard[len(heard)-1] == "K " })
	if heard := f.Heard()[1:]; !slices.Equal(heard, []string{"M <a@north.test>|", "K "}) {
		t.Errorf("%q", heard)
	}
}

// A filter that is lost or talks nonsense is an error, whenever, and never consent.
func TestLost(t *testing.T) {
	for name, script := range map[string]miltertest.Script{
		"it speaks another version":  {Version: 7},
		"it speaks none":             {Version: 1},
		"it wants what is not there": {Protocol: wantRejectedRcpt},
		"it wants other changes":     {Actions: 0x100},
		"it hangs up":                {HangsUpAfter: 'C'},
		"it hangs up at the end":     {Silent: "E", HangsUpAfter: 'E'},
		"half a body":                {Answers: map[byte][][]byte{'E': {miltertest.Packet('b', "half")}}, HangsUpAfter: 'E'},
		"an unknown answer":          {Answers: map[byte][][]byte{'M': {miltertest.Packet('?', "")}}},
		"an answer with a tail":      {Answers: map[byte][][]byte{'M': {miltertest.Packet('a', "x")}}},
		"no answer at all":           {Answers: map[byte][][]byte{'M': {{0, 0, 0, 0, 'c'}}}},
		"a huge answer":              {Answers: map[byte][][]byte{'M': {{0xff, 0xff, 0xff, 0xff, 'c'}}}},
		"a skip of no body":          {Answers: map[byte][][]byte{'R': {miltertest.Packet('s', "")}}},
		"a change too early":         {Answers: map[byte][][]byte{'R': {miltertest.Packet('h', "X\x00y\x00")}}},
		"no reply code":              {Answers: map[byte][][]byte{'R': {miltertest.Packet('y', "hello\x00")}}},
		"a good reply code":          {Answers: map[byte][][]byte{'R': {miltertest.Packet('y', "250 fine\x00")}}},
		"a reply without end":        {Answers: map[byte][][]byte{'R': {miltertest.Packet('y', "550 no")}}},
		"a field that is two":        {Answers: map[byte][][]byte{'E': {miltertest.Packet('h', "X\x00y\r\nFrom: z\x00")}}},
		"a name that is a field":     {Answers: map[byte][][]byte{'E': {miltertest.Packet('h', "From: z\r\nX\x00y\x00")}}},
		"a field without value":      {Answers: map[byte][][]byte{'E': {miltertest.Packet('h', "X\x00")}}},
		"no index":                   {Answers: map[byte][][]byte{'E': {miltertest.Packet('m', "X")}}},
		"a connection discarded":     {Answers: map[byte][][]byte{'C': {miltertest.Packet('d', "")}}},
		"a greeting discarded":       {Answers: map[byte][][]byte{'H': {miltertest.Packet('d', "")}}},
		"changes too large":          {Answers: map[byte][][]byte{'E': slices.Repeat([][]byte{miltertest.Packet('h', "X\x00"+strings.Repeat("y", 1<<19)+"\x00")}, maxChangeSize>>19)}},
		"too many changes":           {Answers: map[byte][][]byte{'E': slices.Repeat([][]byte{miltertest.Packet('+', "a@b.test\x00")}, maxChanges+1)}},
	} {
		t.Run(name, func(t *testing.T) {
			f := miltertest.Start(t, script)
			filter := New(Options{Network: "tcp", Address: f.Address, Reuse: true})
			defer filter.Close()
			s, err := filter.Begin(t.Context())
			if err == nil {
				_, _, err = message(t.Context(), s, io.Discard)
				if _, again := s.Hello(t.Context(), "x", nil); err != nil && again == nil {
					t.Error("after the error it answers again")
				}
				s.Close()
			}
			if err == nil {
				t.Error("no error")
			}
			if len(filter.idle) > 0 {
				t.Error("the connection is kept")
			}
		})
	}
}

// A filter that takes too long is given up, by its own time and by that of whoever asks.
func TestTimeouts(t *testing.T) {
	f := miltertest.Start(t, miltertest.Script{Silent: "H"})
	filter := New(Options{Network: "tcp", Address: f.Address, Timeout: 20 * time.Millisecond})
	defer filter.Close()
	s, err := filter.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Hello(t.Context(), "x", nil); err == nil {
		t.Error("no error")
	}
	_, patient := begin(t, f)
	defer patient.Close()
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := patient.Hello(ctx, "y", nil)
		failed <- err
	}()
	testkit.Until(t, "the greeting", func() bool { return slices.Contains(f.Heard(), "H y|") })
	cancel()
	if err := <-failed; err == nil {
		t.Error("no error")
	}
}

// Nor does one that does not listen keep whoever asks longer than that.
func TestDeafFilter(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	defer ours.Close()
	c := newConn(ours, time.Hour)
	c.add(cmdBody, []byte("nobody reads this"))
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() { failed <- c.flush(ctx) }()
	theirs.Read(make([]byte, 1)) // it has begun
	cancel()
	if err := <-failed; err == nil {
		t.Error("no error")
	}
}

// A session leaves its connection to the next; one that the filter has closed meanwhile is not used again.
func TestReuse(t *testing.T) {
	f := miltertest.Start(t, miltertest.Script{})
	filter, s := begin(t, f)
	for range 3 {
		if _, _, err := message(t.Context(), s, io.Discard); err != nil {
			t.Fatal(err)
		}
		s.Close()
		var err error
		if s, err = filter.Begin(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s.Mail(t.Context(), "a@b.test", nil, nil)
	s.Close() // in the middle of a message
	if heard := f.Heard(); f.Dialled() != 1 || strings.Count(strings.Join(heard, ""), "O ") != 1 {
		t.Errorf("%d connections, %q", f.Dialled(), heard)
	}
	testkit.Until(t, "the end of the message and the session", func() bool {
		heard := f.Heard()
		return len(heard) > 2 && heard[len(heard)-2] == "A " && heard[len(heard)-1] == "K "
	})
	f.HangUp()
	testkit.Until(t, "a dead connection", func() bool { return !filter.idle[0].isAlive() })
	s, err := filter.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := message(t.Context(), s, io.Discard); err != nil || f.Dialled() != 2 {
		t.Errorf("%d connections, %v", f.Dialled(), err)
	}
	filter.Close()
	s.Close()
	if len(filter.idle) > 0 {
		t.Error("kept after the end")
	}
	if _, err := New(Options{Network: "tcp", Address: "127.0.0.1:1"}).Begin(t.Context()); err == nil || errors.Is(err, ErrProtocol) {
		t.Errorf("nobody there: %v", err)
	}
}

// Whatever a filter answers, what comes of it can be a field, a reply and addresses; nothing is larger than was sent.
func FuzzAnswers(f *testing.F) {
	for _, p := range []string{"c", "y550 5.7.1 x\x00", "hX\x00y\x00", "i\x00\x00\x00\x01X\x00y\x00", "m\x00\x00\x00\x01X\x00\x00", "+<a@b>\x00", "q\x00", "bx", "e<>\x00\x00"} {
		f.Add(miltertest.Packet(p[0], p[1:]))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		for {
			p, err := readPacket(r)
			if err != nil {
				return
			}
			if a, err := parseAnswer(p); err == nil && a.Reply.Code != 0 && a.Reply.Code/100 != 4 && a.Reply.Code/100 != 5 {
				t.Errorf("%+v", a)
			}
			if strings.ContainsAny(mustAnswer(p).Text, "\r\x00") {
				t.Errorf("%q", p.data)
			}
			read := changers[p.kind]
			if read == nil {
				continue
			}
			for _, leading := range []bool{true, false} {
				c := Changes{}
				if read(&c, p.data, leading) != nil {
					continue
				}
				for _, h := range c.Header {
					for line := range strings.SplitSeq(h.Value, "\r\n") {
						if strings.ContainsAny(line, "\r\n\x00") {
							t.Errorf("%+v", h)
						}
					}
					if rest := strings.ReplaceAll(strings.ReplaceAll(h.Value, "\r\n ", ""), "\r\n\t", ""); strings.ContainsAny(h.Name+rest, "\r\n") {
						t.Errorf("%+v is several fields", h)
					}
				}
			}
		}
	})
}

func mustAnswer(p packet) smtp.Reply {
	a, err := parseAnswer(p)
	if err != nil {
		return smtp.Reply{}
	}
	return a.Reply
}
