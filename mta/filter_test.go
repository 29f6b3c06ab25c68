package mta

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"posthouse/internal/testkit"
	"posthouse/mail"
	"posthouse/mta/milter"
	"posthouse/mta/milter/miltertest"
	"posthouse/mta/stage"
	"posthouse/spool"
)

// filtered is an MX whose strangers' mail a filter sees.
func filtered(t *testing.T, script miltertest.Script, lost stage.Action) (*miltertest.Filter, Options) {
	f := miltertest.Start(t, script)
	client := milter.New(milter.Options{Network: "tcp", Address: f.Address, Timeout: 10 * time.Second, Reuse: true})
	t.Cleanup(func() { client.Close() })
	o := testOptions(t)
	o.Admission.Strangers = []string{"milter"}
	o.Admission.Milters = []stage.MilterOptions{{Name: "milter", Filter: client, Lost: lost}}
	return f, o
}

const filteredMail = "Subject: one\r\nFrom: alice@north.test\r\nSubject: two\r\n\r\nbody\r\n"

// send has the dialogue with a mail of two recipients, and gives the last reply to it; the phase is where another one than that came.
func send(t *testing.T, addr string) (phase, reply string) {
	c := dial(t, addr)
	defer c.conn.Close()
	for _, step := range []struct{ phase, line, good string }{
		{"connect", "", "220"}, {"hello", "EHLO client.test", "250"}, {"mail", "MAIL FROM:<alice@north.test>", "250"},
		{"rcpt", "RCPT TO:<bob@south.test>", "250"}, {"rcpt", "RCPT TO:<dave@south.test>", "250"}, {"data", "DATA", "354"}, {"end", filteredMail + ".", "250"},
	} {
		if step.line != "" {
			c.say(step.line)
		}
		for {
			line, err := c.r.ReadString('\n')
			if err != nil {
				t.Fatalf("%s: %v", step.phase, err)
			}
			if reply = strings.TrimSpace(line); len(line) > 3 && line[3] == ' ' {
				break
			}
		}
		if !strings.HasPrefix(reply, step.good) {
			return step.phase, reply
		}
	}
	return "", reply
}

// The body that a filter gives a binary message has no lines to be made whole.
func TestFilterChangesBinary(t *testing.T) {
	body := "\x00one\ntwo\rthree"
	_, o := filtered(t, miltertest.Script{Actions: 0xff, Answers: map[byte][][]byte{'E': {miltertest.Packet('b', body), miltertest.Packet('c', "")}}}, stage.Defer)
	_, addr := start(t, o, plain)
	c := dial(t, addr)
	defer c.conn.Close()
	header := "Content-Transfer-Encoding: binary\r\n\r\n"
	c.say("EHLO client.test\r\nMAIL FROM:<alice@north.test> BODY=BINARYMIME\r\nRCPT TO:<bob@south.test>\r\nBDAT 38 LAST\r\n" + header + "\x00\r\nQUIT")
	if _, err := io.Copy(io.Discard, c.r); err != nil {
		t.Fatal(err)
	}
	m, err := o.Spool.Open(t.Context(), only(t, o.Spool).ID)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	got, err := io.ReadAll(io.NewSectionReader(m, 0, m.Size()))
	if err != nil || !strings.HasSuffix(string(got), header+body) {
		t.Errorf("%q, %v", got, err)
	}
}

// A filter hears whose the message is, and by what they came in: of nobody who was there before on the same connection.
func TestFilterHearsOfUsers(t *testing.T) {
	f, o := filtered(t, miltertest.Script{}, stage.Defer)
	o.Kind, o.AllowPlaintextAuth, o.Admission.Users = Submission, true, []string{"milter"}
	o.XClientFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	_, addr := start(t, o, plain)
	c := dial(t, addr)
	c.expect("220 ")
	for _, in := range []struct{ command, reply string }{
		{"AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00bob@south.test\x00posthouse")), "235 "},
		{"XCLIENT ADDR=192.0.2.7 LOGIN=dave@south.test", "220 "},
	} {
		c.ask("EHLO client.test", "250 ")
		c.ask(in.command, in.reply)
		c.ask("EHLO client.test", "250 ")
		c.ask("MAIL FROM:<>", "250 ")
		c.ask("RSET", "250 ")
	}
	var got []string
	for _, heard := range f.Heard() {
		if strings.Contains(heard, "auth_authen") {
			_, user, _ := strings.Cut(heard, "{auth_authen}=")
			user, _, _ = strings.Cut(user, " i=")
			got = append(got, user)
		}
	}
	if want := []string{"bob@south.test {auth_type}=PLAIN", "dave@south.test {auth_type}=XCLIENT"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func numbered(n uint32, rest string) string {
	return string(binary.BigEndian.AppendUint32(nil, n)) + rest
}

// Every change that a filter can make is made, all of them in one message.
func TestFilterChangesMessages(t *testing.T) {
	p := miltertest.Packet
	for name, c := range map[string]struct {
		changes     [][]byte
		want        string // the message, or what stands in its place by default
		to, from    string
		quarantined bool
	}{
		"nothing":         {},
		"a field more":    {changes: [][]byte{p('h', "X-Spam\x00no\x00")}, want: "Subject: one\r\nFrom: alice@north.test\r\nSubject: two\r\nX-Spam: no\r\n\r\nbody\r\n"},
		"a field on top":  {changes: [][]byte{p('i', numbered(0, "X-Spam\x00no\n\tfolded\x00"))}, want: "X-Spam: no\r\n\tfolded\r\n" + filteredMail},
		"a field between": {changes: [][]byte{p('i', numbered(2, "X-Spam\x00no\x00"))}, want: "Subject: one\r\nX-Spam: no\r\nFrom: alice@north.test\r\nSubject: two\r\n\r\nbody\r\n"},
		"another value":   {changes: [][]byte{p('m', numbered(2, "subject\x00spam\x00"))}, want: "Subject: one\r\nFrom: alice@north.test\r\nsubject: spam\r\n\r\nbody\r\n"},
		"a field less":    {changes: [][]byte{p('m', numbered(1, "Subject\x00\x00"))}, want: "From: alice@north.test\r\nSubject: two\r\n\r\nbody\r\n"},
		"none to remove":  {changes: [][]byte{p('m', numbered(3, "Subject\x00\x00"))}},
		"none to change":  {changes: [][]byte{p('m', numbered(3, "Subject\x00x\x00"))}, want: "Subject: one\r\nFrom: alice@north.test\r\nSubject: two\r\nSubject: x\r\n\r\nbody\r\n"},
		"another body":    {changes: [][]byte{p('b', "line\r"), p('b', "\nanother\nlast")}, want: "Subject: one\r\nFrom: alice@north.test\r\nSubject: two\r\n\r\nline\r\nanother\r\nlast\r\n"},
		"no body":         {changes: [][]byte{p('b', "")}, want: "Subject: one\r\nFrom: alice@north.test\r\nSubject: two\r\n\r\n"},
		"all of it":       {changes: [][]byte{p('b', "x\r\n"), p('h', "X\x00y\x00"), p('m', numbered(1, "From\x00carol@north.test\x00"))}, want: "Subject: one\r\nFrom: carol@north.test\r\nSubject: two\r\nX: y\r\n\r\nx\r\n"},
		"recipients":      {changes: [][]byte{p('-', "<DAVE@south.test>\x00"), p('+', "<carol@north.test>\x00"), p('+', "<all@south.test>\x00")}, to: "bob@south.test carol@north.test dave@south.test"},
		"nobody left":     {changes: [][]byte{p('-', "<dave@south.test>\x00"), p('-', "<bob@south.test>\x00")}, quarantined: true},
		"another sender":  {changes: [][]byte{p('e', "<other@north.test>\x00")}, from: "other@north.test"},
		"no sender":       {changes: [][]byte{p('e', "<>\x00")}, from: "-"},
		"quarantine":      {changes: [][]byte{p('q', "looks bad\x00")}, quarantined: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, o := filtered(t, miltertest.Script{Actions: 0xff, Answers: map[byte][][]byte{'E': append(c.changes, p('c', ""))}}, stage.Defer)
			_, addr := start(t, o, plain)
			if _, r := send(t, addr); !strings.HasPrefix(r, "250 2.0.0 ") {
				t.Fatal(r)
			}
			e := only(t, o.Spool)
			var to []string
			for _, r := range e.Recipients {
				to = append(to, r.Address.String())
			}
			want := func(s, usual string) string {
				if s == "" {
					return usual
				}
				return strings.TrimPrefix(s, "-")
			}
			if got := strings.Join(to, " "); got != want(c.to, "bob@south.test dave@south.test") {
				t.Errorf("to %s", got)
			}
			if e.From.String() != want(c.from, "alice@north.test") || e.Quarantined != c.quarantined {
				t.Errorf("from <%s>, quarantined %v", e.From, e.Quarantined)
			}
			got := content(t, o.Spool, e.ID)
			if trace, rest, _ := strings.Cut(got, "+0000\r\n"); rest != want(c.want, filteredMail) || !strings.Contains(trace, "id "+e.ID.String()) {
				t.Errorf("%q", got)
			}
		})
	}
}

// A filter may refuse in every phase, and is not asked about what it has not begun to hear.
func TestFilterRefuses(t *testing.T) {
	for _, c := range []struct {
		command byte
		phase   string
	}{{'C', "connect"}, {'H', "hello"}, {'M', "mail"}, {'R', "rcpt"}, {'T', "end"}, {'L', "end"}, {'N', "end"}, {'B', "end"}, {'E', "end"}} {
		for packet, want := range map[string]string{
			"r": "550 5.7.1 refused by a filter", "t": "451 4.7.1 deferred by a filter, try again later", "y550 5.7.9 my own words\x00": "550 5.7.9 my own words",
			"y421 4.7.0 bye\x00": "421 4.7.0 bye",
		} {
			t.Run(string(c.command)+packet[:1], func(t *testing.T) {
				t.Parallel()
				f, o := filtered(t, miltertest.Script{Answers: map[byte][][]byte{c.command: {miltertest.Packet(packet[0], packet[1:])}}}, stage.Defer)
				s, addr := start(t, o, plain)
				phase, r := send(t, addr)
				if c.command == 'C' { // RFC 5321 §3.1 has its own codes there
					want = map[byte]string{'5': "554", '4': "421"}[want[0]] + want[3:]
				}
				if phase != c.phase || r != want {
					t.Errorf("%s: %q, want %q", phase, r, want)
				}
				testkit.Until(t, "no session", func() bool { return s.metrics.Sessions.Load() == 0 })
				checkEmpty(t, o)
				testkit.Until(t, "the end for the filter", func() bool {
					heard := f.Heard()
					return heard[len(heard)-1] == "K "
				})
			})
		}
	}
}

// A greeting that a filter has refused is refused again, however often it comes.
func TestFilterRefusesAGreetingAgain(t *testing.T) {
	_, o := filtered(t, miltertest.Script{Answers: map[byte][][]byte{'H': {miltertest.Packet('r', "")}}}, stage.Defer)
	_, addr := start(t, o, plain)
	c := dial(t, addr)
	c.expect("220 ")
	for range 3 {
		c.ask("EHLO client.test", "550 5.7.1 refused by a filter")
		c.ask("MAIL FROM:<alice@north.test>", "503 ")
	}
}

// That a filter of ours is lost gets nobody banned, whatever is done without it.
func TestLostFilterBansNobody(t *testing.T) {
	_, o := filtered(t, miltertest.Script{Version: 1}, stage.Refuse)
	o.Clients = NewClients(ClientsOptions{Faults: 1, Ban: time.Hour})
	_, addr := start(t, o, plain)
	for range 4 {
		if phase, r := send(t, addr); phase != "mail" || r != "550 5.7.1 refused by a filter" {
			t.Errorf("%s: %s", phase, r)
		}
	}
}

// Without its filter a message goes into quarantine, and the next one of the session does not, when the filter is back.
func TestQuarantineEndsWithTheMessage(t *testing.T) {
	f, o := filtered(t, miltertest.Script{}, stage.Quarantine)
	_, addr := start(t, o, plain)
	c := dial(t, addr)
	c.expect("220 ")
	f.HangUp()
	for _, step := range slices.Concat(dialogue[1:], dialogue[2:]) {
		c.ask(step.line, step.good)
	}
	var quarantined []bool
	for e := range o.Spool.List(t.Context(), spool.Filter{}) {
		quarantined = append(quarantined, e.Quarantined)
	}
	if !slices.Equal(quarantined, []bool{true, false}) {
		t.Error(quarantined)
	}
}

// What a filter discards is kept out of the way.
func TestFilterDiscards(t *testing.T) {
	for _, command := range []byte("MRTLNBE") {
		_, o := filtered(t, miltertest.Script{Answers: map[byte][][]byte{command: {miltertest.Packet('d', "")}}}, stage.Defer)
		_, addr := start(t, o, plain)
		if _, r := send(t, addr); !strings.HasPrefix(r, "250 2.0.0 ") || !only(t, o.Spool).Quarantined {
			t.Errorf("%c: %s", command, r)
		}
	}
}

// A filter that is lost is never taken for consent, unless that is configured; half of what it wanted is never done.
func TestLostFilter(t *testing.T) {
	half := [][]byte{miltertest.Packet('h', "X\x00y\x00"), miltertest.Packet('b', strings.Repeat("half of a body\r\n", 4000))}
	for name, script := range map[string]miltertest.Script{
		"at once":               {Version: 1},
		"at connect":            {HangsUpAfter: 'C', Silent: "C"},
		"at the sender":         {HangsUpAfter: 'M', Silent: "M"},
		"in the header":         {HangsUpAfter: 'L', Silent: "L"},
		"at the end":            {HangsUpAfter: 'E', Silent: "E"},
		"half a body":           {HangsUpAfter: 'E', Answers: map[byte][][]byte{'E': half}},
		"a change that is none": {Answers: map[byte][][]byte{'E': append(half, miltertest.Packet('+', "<nobody at all>\x00"), miltertest.Packet('c', ""))}},
	} {
		for lost, want := range map[stage.Action]string{stage.Defer: "4", stage.Refuse: "5", stage.Accept: "2", stage.Quarantine: "2"} {
			t.Run(name+"/"+lost.String(), func(t *testing.T) {
				t.Parallel()
				_, o := filtered(t, script, lost)
				s, addr := start(t, o, plain)
				_, r := send(t, addr)
				if r[:1] != want {
					t.Errorf("%q", r)
				}
				testkit.Until(t, "no session", func() bool { return s.metrics.Sessions.Load() == 0 })
				if want != "2" {
					checkEmpty(t, o)
					return
				}
				e := only(t, o.Spool)
				if got := content(t, o.Spool, e.ID); !strings.HasSuffix(got, filteredMail) || strings.Contains(got, "half") || e.Quarantined != (lost == stage.Quarantine) {
					t.Errorf("%q", got)
				}
				if !slices.ContainsFunc(e.Verdicts, func(v mail.Verdict) bool { return v.Stage == "milter" && v.Result == "lost" }) {
					t.Errorf("%+v", e.Verdicts)
				}
			})
		}
	}
}

// There is no Junk box behind the next host: what our users send, and a filter holds back, does not leave.
func TestQuarantineDoesNotLeave(t *testing.T) {
	for to, want := range map[string]string{"carol@east.test": "550 5.7.1 the message looks dangerous", "bob@south.test": "250 2.0.0 "} {
		for _, packet := range []string{"d", "q\x00", "-<" + to + ">\x00"} {
			answer := [][]byte{miltertest.Packet(packet[0], packet[1:])}
			if packet != "d" {
				answer = append(answer, miltertest.Packet('c', ""))
			}
			_, o := filtered(t, miltertest.Script{Actions: 0xff, Answers: map[byte][][]byte{'E': answer}}, stage.Defer)
			o.RelayFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			o.Admission.Users = o.Admission.Strangers
			s, addr := start(t, o, plain)
			c := dial(t, addr)
			c.expect("220 ")
			c.ask("EHLO client.test", "250 ")
			c.ask("MAIL FROM:<alice@north.test>", "250 ")
			c.ask("RCPT TO:<"+to+">", "250 ")
			c.ask("DATA", "354 ")
			c.ask(filteredMail+".", want)
			if want[0] != '2' {
				checkEmpty(t, o)
				if s.metrics.Refused()["milter"] != 1 {
					t.Errorf("%v", s.metrics.Refused())
				}
			} else if e := only(t, o.Spool); !e.Quarantined || e.Verdicts[0].Action != "quarantine" {
				t.Errorf("%q: %+v", packet, e.Verdicts)
			}
		}
	}
}

// A filter that removes an alias removes whom it led to, whatever the client says in ORCPT, but nobody whom the client called otherwise, too.
func TestFilterRemovesAnAlias(t *testing.T) {
	for _, c := range []struct{ rcpts, removed, want string }{
		{"<all@south.test>", "<all@south.test>", "bob@south.test dave@south.test quarantined"},
		{"<all@south.test>|<out@south.test>", "<ALL@south.test>", "carol@north.test"},
		{"<ALL@south.test> ORCPT=rfc822;x@north.test|<out@south.test>", "<all@south.test>", "carol@north.test"},
		{"<all@south.test>|<all@south.test>|<out@south.test>", "<all@south.test>", "carol@north.test"},
		{"<all@south.test>|<Bob@south.test>|<out@south.test>", "<all@south.test>", "bob@south.test carol@north.test"},
		{"<bob@south.test>|<all@south.test>|<out@south.test>", "<all@south.test>", "bob@south.test carol@north.test"},
		{"<bob@south.test>|<all@south.test>|<out@south.test>", "<bob@south.test>", "dave@south.test carol@north.test"},
		{"<bob@south.test> ORCPT=rfc822;out@south.test|<out@south.test>", "<out@south.test>", "bob@south.test"},
		{"<all@south.test>|<bobby@south.test>", "<all@south.test>", "bob@south.test"},
	} {
		_, o := filtered(t, miltertest.Script{Actions: 0xff, Answers: map[byte][][]byte{'E': {miltertest.Packet('-', c.removed+"\x00"), miltertest.Packet('c', "")}}}, stage.Defer)
		o.DSN = true
		_, addr := start(t, o, plain)
		client := dial(t, addr)
		client.expect("220 ")
		client.ask("EHLO client.test", "250 ")
		client.ask("MAIL FROM:<alice@north.test>", "250 ")
		for rcpt := range strings.SplitSeq(c.rcpts, "|") {
			client.ask("RCPT TO:"+rcpt, "250 ")
		}
		client.ask("DATA", "354 ")
		client.ask(filteredMail+".", "250 ")
		var got []string
		e := only(t, o.Spool)
		for _, r := range e.Recipients {
			got = append(got, r.Address.String())
		}
		if e.Quarantined {
			got = append(got, "quarantined")
		}
		if to := strings.Join(got, " "); to != c.want {
			t.Errorf("%+v: %s", c, to)
		}
	}
}

// full is a spool that has room for one message.
type full struct {
	spool.Spool
	made atomic.Int32
}

func (f *full) Create(ctx context.Context, e mail.Envelope) (spool.Draft, error) {
	if f.made.Add(1) > 1 {
		return nil, spool.ErrFull
	}
	return f.Spool.Create(ctx, e)
}

// That there is no space for what a filter changes is no fault of the filter's: the mail comes again, whatever is done without a filter.
func TestNoSpaceForAChange(t *testing.T) {
	for _, lost := range []stage.Action{stage.Accept, stage.Quarantine, stage.Refuse, stage.Defer} {
		for _, change := range []string{"bx", "hX\x00y\x00"} {
			_, o := filtered(t, miltertest.Script{Actions: 0xff, Answers: map[byte][][]byte{'E': {miltertest.Packet(change[0], change[1:]), miltertest.Packet('c', "")}}}, lost)
			o.Spool = &full{Spool: o.Spool}
			_, addr := start(t, o, plain)
			if phase, r := send(t, addr); phase != "end" || r != "451 4.3.0 the message cannot be filtered now, try again later" {
				t.Errorf("%s, %q: %s: %s", lost, change, phase, r)
			}
			checkEmpty(t, o)
		}
	}
}

// A recipient that a filter adds and that is nobody here is not forgotten: the mail comes again.
func TestFilterAddsNobody(t *testing.T) {
	_, o := filtered(t, miltertest.Script{Actions: 0xff, Answers: map[byte][][]byte{'E': {miltertest.Packet('+', "<nobody@south.test>\x00"), miltertest.Packet('c', "")}}}, stage.Accept)
	_, addr := start(t, o, plain)
	if phase, r := send(t, addr); phase != "end" || !strings.HasPrefix(r, "451 ") {
		t.Errorf("%s: %s", phase, r)
	}
	checkEmpty(t, o)
}

// A filter that is lost between two messages of a session costs the second one a delay, and is asked about the third.
func TestFilterComesBack(t *testing.T) {
	f, o := filtered(t, miltertest.Script{}, stage.Defer)
	_, addr := start(t, o, plain)
	c := dial(t, addr)
	c.begin()
	f.HangUp()
	c.ask("RCPT TO:<dave@south.test>", "451 4.3.0 the message cannot be filtered now")
	c.ask("RSET", "250 ")
	for _, step := range dialogue[2:] {
		c.ask(step.line, step.good)
	}
	if got := only(t, o.Spool).Verdicts; f.Dialled() != 2 || len(got) != 1 || got[0].Result != "pass" {
		t.Errorf("%d connections, %+v", f.Dialled(), got)
	}
}

// A message after another in a session, one after RSET, one after another greeting: the filter hears each from its sender on.
func TestFilterHearsEveryMessage(t *testing.T) {
	f, o := filtered(t, miltertest.Script{}, stage.Defer)
	_, addr := start(t, o, plain)
	c := dial(t, addr)
	c.begin()
	c.ask("RSET", "250 ")
	for _, step := range dialogue[2:] {
		c.ask(step.line, step.good)
	}
	c.ask("EHLO other.test", "250 ")
	for _, step := range dialogue[2:] {
		c.ask(step.line, step.good)
	}
	c.ask("QUIT", "221 ")
	testkit.Until(t, "the end for the filter", func() bool { heard := f.Heard(); return heard[len(heard)-1] == "K " })
	var commands strings.Builder
	for _, h := range f.Heard() {
		if h[0] != 'D' {
			commands.WriteByte(h[0])
		}
	}
	if got := commands.String(); got != "OCHMRAMRTLNEHMRTLNEK" {
		t.Error(got)
	}
	n := 0
	for range o.Spool.List(t.Context(), spool.Filter{}) {
		n++
	}
	if n != 2 {
		t.Errorf("%d messages", n)
	}
}
