package imapd

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"posthouse/directory"
	"posthouse/imapd/wire"
	"posthouse/internal/testkit"
)

// nobody knows no account.
type nobody struct{ directory.Directory }

func (nobody) Authenticate(context.Context, directory.Login) (directory.Account, error) {
	return directory.Account{}, directory.ErrCredentials
}

func mustHouse(t testing.TB) directory.Directory {
	t.Helper()
	d, err := house()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var (
	rfcOnly    = regexp.MustCompile(`^RFC [0-9]+( §[0-9.]+)?$`)
	rfcSection = regexp.MustCompile(`^RFC [0-9]+ §[0-9]+(\.[0-9]+)*$`)
)

func TestTable(t *testing.T) {
	capabilities, commands := map[string]bool{}, map[string]bool{}
	for _, e := range extensions(&Limits{}) {
		if e.name == "" || capabilities[e.name] || !rfcOnly.MatchString(e.rfc) {
			t.Errorf("extension %q of %q", e.name, e.rfc)
		}
		capabilities[e.name] = true
		for _, c := range e.commands {
			if commands[c.name] || c.name != strings.ToUpper(c.name) || !rfcSection.MatchString(c.rfc) || c.in == 0 || c.parse == nil {
				t.Errorf("command %q of %q in %s", c.name, c.rfc, e.name)
			}
			commands[c.name] = true
			if c.seqs != apart && c.in != selected {
				t.Errorf("%s names messages, and may run without a mailbox", c.name)
			}
		}
	}
}

// RFC 9051 §5.5: these, and no others, may run while searches are under way: they change nothing but \Seen, which a search that has
// begun does not look at any more.
func TestCommandsThatRunBesideOthers(t *testing.T) {
	var got []string
	for _, e := range extensions(&Limits{}) {
		for _, c := range e.commands {
			if c.beside && !strings.HasPrefix(c.name, "UID ") {
				got = append(got, c.name)
			}
			if uid := newTable(extensions(&Limits{})).commands["UID "+c.name]; uid != nil && c.numbered && uid.beside != c.beside {
				t.Errorf("%s and %s differ", c.name, uid.name)
			}
		}
	}
	if s := strings.Join(got, " "); s != "CAPABILITY NOOP LIST LSUB STATUS CHECK SEARCH FETCH ID NAMESPACE SORT ESEARCH THREAD GETMETADATA "+
		"GETACL LISTRIGHTS MYRIGHTS GETQUOTA GETQUOTAROOT" {
		t.Error(s)
	}
}

// RFC 9051 §7.5.1, RFC 5256 §3: in answer to these, and to no others, EXPUNGE is not told.
func TestCommandsThatForbidExpunge(t *testing.T) {
	var got []string
	for _, e := range extensions(&Limits{}) {
		for _, c := range e.commands {
			if c.seqs == byNumbers {
				got = append(got, c.name)
			}
		}
	}
	if s := strings.Join(got, " "); s != "SEARCH FETCH STORE SORT THREAD" {
		t.Error(s)
	}
}

// Every sentinel of the rooms that we call has a reply of its own.
func TestEverySentinelHasAReply(t *testing.T) {
	have := map[error]bool{}
	for _, r := range replies {
		if have[r.err] {
			t.Errorf("%v is there twice", r.err)
		}
		have[r.err] = true
	}
	values := map[string]error{}
	for _, r := range replies {
		values[r.err.Error()] = r.err
	}
	for dir, room := range map[string]string{"../mailbox": "mailbox", "../directory": "directory", "../directory/sasl": "sasl", "wire": "wire", "../internal/link": "link"} {
		for name, text := range testkit.Sentinels(t, dir) {
			err, known := values[text]
			if !known {
				t.Errorf("%s.%s has no reply", room, name)
				continue
			}
			wrapped := fmt.Errorf("doing something: %w", err)
			r, _ := replyTo(wrapped)
			if r.status == statusOK || r.text == "" || strings.ContainsAny(r.text+r.code, "\r\n]") && !strings.HasPrefix(r.code, "BADCHARSET") {
				t.Errorf("%s.%s is answered %v", room, name, r)
			}
		}
	}
	if r, grave := replyTo(errors.New("something else")); r != errServerBug || !grave {
		t.Errorf("an unknown error is answered %v", r)
	}
	if r, _ := replyTo(&wire.SyntaxError{Want: "a space"}); r != bad("Expected a space") {
		t.Errorf("a syntax error is answered %v", r)
	}
}

// An extension that nothing knows of brings a command and is enabled; a panic in it ends its own session, and no other.
func TestSlots(t *testing.T) {
	enabled := false
	e := extension{
		name: "X-TEST", rfc: "RFC 4466",
		commands: []command{
			{name: "XPANIC", rfc: "RFC 4466 §1", in: anyState, parse: alone(func(context.Context, *session) (reply, error) { panic("on purpose") })},
		},
		enable: func(*session) error { enabled = true; return nil },
	}
	o := testOptions(t)
	o.Log = nil
	s, l := NewServer(o), testkit.Listen(t)
	s.table = newTable(append(extensions(&Limits{}), e))
	addr := l.Addr().String()
	testkit.Serve(t, s, l)
	c := dial(t, addr)
	c.send("l LOGIN bob@south.test posthouse\r\n")
	if ok := c.until("l OK"); !strings.Contains(ok, " X-TEST]") {
		t.Error(ok)
	}
	c.send("e ENABLE x-test\r\n")
	if line := c.until("* ENABLED"); line != "* ENABLED X-TEST" || !enabled {
		t.Error(line)
	}
	c.send("x XPANIC\r\n")
	c.until("* BYE [SERVERBUG]")
	c.expectEnd()
	dial(t, addr).login()
}
