package mta

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"posthouse/internal/dns"
	"posthouse/internal/testkit"
	"posthouse/mail"
	"posthouse/mail/smtp"
	"posthouse/mta/stage"
	"posthouse/spool"
)

// probe is a stage that has all phases and says what it is told to in one of them.
type probe struct {
	name, phase string
	verdict     stage.Verdict
	panics      bool

	mu    sync.Mutex
	asked []string
}

func (p *probe) Name() string { return p.name }

func (p *probe) say(phase string) stage.Verdict {
	p.mu.Lock()
	p.asked = append(p.asked, phase)
	p.mu.Unlock()
	switch {
	case phase != p.phase:
		return stage.Verdict{}
	case p.panics:
		panic("a stage's mistake")
	}
	return p.verdict
}

func (p *probe) phases() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

func (p *probe) Connect(context.Context, *stage.Client) stage.Verdict { return p.say("connect") }
func (p *probe) Hello(context.Context, *stage.Client) stage.Verdict   { return p.say("hello") }
func (p *probe) Mail(context.Context, *stage.Message) stage.Verdict   { return p.say("mail") }
func (p *probe) Rcpt(context.Context, *stage.Message, mail.Address) stage.Verdict {
	return p.say("rcpt")
}
func (p *probe) Judge(context.Context, *stage.Message) stage.Verdict { return p.say("data") }

var _ = []any{stage.ConnectStage(&probe{}), stage.HelloStage(&probe{}), stage.MailStage(&probe{}), stage.RcptStage(&probe{}), stage.DataStage(&probe{})}

// judgedBy starts an MX with these stages for strangers.
func judgedBy(t *testing.T, o Options, stages ...stage.Stage) (*Server, string) {
	s, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.strangers = newList(stages)
	s.metrics.judged.of(s.strangers)
	return s, serve(t, s, plain)
}

// dialogue is a whole mail, and which reply of it a phase decides.
var dialogue = []struct{ phase, line, good string }{
	{"connect", "", "220 "},
	{"hello", "EHLO client.test", "250 "},
	{"mail", "MAIL FROM:<alice@north.test>", "250 "},
	{"rcpt", "RCPT TO:<bob@south.test>", "250 "},
	{"", "DATA", "354 "},
	{"data", "From: alice@north.test\r\n\r\n.", "250 2.0.0 "},
}

// Whatever phase a stage refuses in, or defers, or panics: the client hears it there, and no message is taken.
func TestStagesRefuseInEveryPhase(t *testing.T) {
	refused := stage.Verdict{Action: stage.Refuse, Result: "no", Detail: "secret", Reply: reply(550, smtp.Enhanced{5, 7, 1}, "not you")}
	deferred := stage.Verdict{Action: stage.Defer, Result: "later", Reply: reply(450, smtp.Enhanced{4, 7, 1}, "not yet")}
	ended := stage.Verdict{Action: stage.Defer, Result: "end", Reply: reply(421, smtp.Enhanced{4, 7, 1}, "go away")}
	for _, step := range dialogue {
		if step.phase == "" {
			continue
		}
		for name, c := range map[string]struct {
			probe *probe
			want  string
		}{
			"refuse": {&probe{verdict: refused}, "550 5.7.1 not you"},
			"defer":  {&probe{verdict: deferred}, "450 4.7.1 not yet"},
			"end":    {&probe{verdict: ended}, "421 4.7.1 go away"},
			"panic":  {&probe{panics: true}, "451 4.3.0 not possible"},
		} {
			t.Run(step.phase+"/"+name, func(t *testing.T) {
				t.Parallel()
				c.probe.name, c.probe.phase = "probe", step.phase
				after := &probe{name: "after"}
				o := testOptions(t)
				s, addr := judgedBy(t, o, c.probe, after)
				talk(t, addr, step.phase, c.want)
				if slices.Contains(after.phases(), step.phase) {
					t.Error("the stage after it was asked")
				}
				action := stage.Defer
				if name == "refuse" {
					action = stage.Refuse
				}
				if n := s.metrics.Judged()[Judged{"probe", action}]; n != 1 {
					t.Errorf("counted %d times", n)
				}
				if s.metrics.Refused()["probe"] == 0 && step.phase != "connect" && name != "end" {
					t.Errorf("refused: %v", s.metrics.Refused())
				}
				testkit.Until(t, "no session", func() bool { return s.metrics.Sessions.Load() == 0 })
				checkEmpty(t, o)
			})
		}
	}
}

// A client that was refused before the greeting does not keep its session for long.
func TestBarredClientIsSentAway(t *testing.T) {
	o := testOptions(t) // outside, since the directory has goroutines of its own
	synctest.Test(t, func(t *testing.T) {
		s, err := NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		no := stage.Verdict{Action: stage.Refuse, Result: "no", Reply: reply(550, smtp.Enhanced{5, 7, 1}, "not you")}
		s.strangers = newList([]stage.Stage{&probe{name: "probe", phase: "connect", verdict: no}})
		s.metrics.judged.of(s.strangers)
		ours, theirs := net.Pipe()
		began := time.Now()
		s.accept(ours)
		c := newClient(t, theirs)
		c.expect("554 ")
		for range 3 {
			time.Sleep(9 * time.Second) // the clock of the bubble
			c.ask("NOOP", "503 ")
		}
		c.expect("421 4.4.2 ")
		if took := time.Since(began); took != barredTime {
			t.Errorf("it took %v", took)
		}
		c.conn.Close()
		s.Shutdown(t.Context())
	})
}

// mistaken is a resolver that panics.
type mistaken struct{ dns.Resolver }

func (mistaken) TXT(context.Context, string) (dns.Answer[string], error) {
	panic("a resolver's mistake")
}
func (mistaken) PTR(context.Context, netip.Addr) (dns.Answer[string], error) {
	panic("a resolver's mistake")
}

// A stage that panics beside the session defers as well, and takes nobody down with it.
func TestStagesPanicBesideTheSession(t *testing.T) {
	for _, name := range []string{"spf", "iprev"} {
		o := testOptions(t)
		o.Resolver, o.Admission.Strangers = mistaken{}, []string{name}
		_, addr := start(t, o, plain)
		talk(t, addr, "data", "451 4.3.0 not possible now")
		checkEmpty(t, o)
	}
}

// talk has the dialogue up to a phase, whose reply is given.
func talk(t *testing.T, addr, phase, want string) {
	c := dial(t, addr)
	defer c.conn.Close()
	for _, step := range dialogue {
		if step.line != "" {
			c.say(step.line)
		}
		if step.phase != phase {
			c.expect(step.good)
			continue
		}
		switch {
		case phase == "connect" && want[0] == '5': // RFC 5321 §3.1
			c.expect("554" + want[3:])
			c.ask("EHLO client.test", "503 5.5.1 ")
			c.ask("QUIT", "221 ")
		case phase == "connect":
			c.expect("421" + want[3:])
		default:
			c.expect(want)
		}
		c.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if want[:3] == "421" || phase == "connect" {
			c.expectEnd()
			return
		}
		c.ask("DATA", map[string]string{"hello": "503 ", "mail": "503 ", "rcpt": "554 ", "data": "503 "}[phase])
		return
	}
}

func checkEmpty(t *testing.T, o Options) {
	for e := range o.Spool.List(t.Context(), spool.Filter{}) {
		t.Errorf("%s was taken", e.ID)
	}
}

// What stages found wrong without refusing goes on with the message: tagged, quarantined, in the order of the phases.
func TestStagesMarkMessages(t *testing.T) {
	o := testOptions(t)
	var stages []stage.Stage
	for _, step := range dialogue {
		if step.phase != "" {
			stages = append(stages, &probe{name: step.phase + "-stage", phase: step.phase, verdict: stage.Verdict{Action: stage.Tag, Result: "odd", Detail: step.phase}})
		}
	}
	stages = append(stages, &probe{name: "last", phase: "data", verdict: stage.Verdict{Action: stage.Quarantine, Result: "bad", Fields: []byte("X-Bad: yes\r\n")}},
		&probe{name: "silent"})
	_, addr := judgedBy(t, o, stages...)
	c := dial(t, addr)
	for _, step := range dialogue {
		if step.line != "" {
			c.say(step.line)
		}
		c.expect(step.good)
	}
	e := only(t, o.Spool)
	var got []string
	for _, v := range e.Verdicts {
		got = append(got, v.Stage+" "+v.Action+" "+v.Result)
	}
	want := "connect-stage tag odd, hello-stage tag odd, mail-stage tag odd, rcpt-stage tag odd, data-stage tag odd, last quarantine bad"
	if strings.Join(got, ", ") != want {
		t.Errorf("%v", got)
	}
	if !e.Quarantined || !strings.Contains(content(t, o.Spool, e.ID), "X-Bad: yes\r\nFrom: alice") {
		t.Errorf("quarantined: %v, %s", e.Quarantined, content(t, o.Spool, e.ID))
	}
}

// A second greeting forgets what was found of the first; what was found of the connection stays.
func TestFindingsOfAGreetingEndWithIt(t *testing.T) {
	o := testOptions(t)
	_, addr := judgedBy(t, o,
		&probe{name: "c", phase: "connect", verdict: stage.Verdict{Result: "x"}}, &probe{name: "h", phase: "hello", verdict: stage.Verdict{Result: "x"}})
	c := dial(t, addr)
	c.expect("220 ")
	c.ask("EHLO one.test", "250 ")
	for _, step := range dialogue[1:] {
		c.ask(step.line, step.good)
	}
	if e := only(t, o.Spool); len(e.Verdicts) != 2 {
		t.Errorf("%v", e.Verdicts)
	}
}

func TestOrderOfStages(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  string
	}{
		{[]string{"spf", "dkim", "dmarc"}, ""},
		{[]string{"spf", "dmarc"}, "dmarc needs dkim before it"}, // it would refuse what only a signature lets pass
		{[]string{"spf", "dmarc", "dkim"}, "dmarc needs dkim before it"},
		{[]string{"sign", "milter"}, "sign must come after milter"},
		{[]string{"milter", "dkim"}, "milter must come after dkim"},
		{[]string{"spf", "spf"}, "spf is there twice"},
		{[]string{"magic"}, `"magic" is none of the stages greet, helo`},
	} {
		err := CheckStages(c.names)
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v: %v", c.names, err)
		}
	}
	for _, a := range []Admission{{Users: []string{"magic"}}, {Strangers: []string{"magic"}}, {Strangers: []string{"sign"}}} {
		o := testOptions(t)
		o.Admission = a
		if _, err := NewServer(o); !errors.Is(err, ErrOptions) {
			t.Errorf("%v", err)
		}
	}
}
