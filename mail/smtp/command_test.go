package smtp

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"posthouse/mail"
	"posthouse/mail/mailtest"
)

const all = ^Extensions(0)

func TestCutVerb(t *testing.T) {
	for in, want := range map[string][2]string{
		"":                             {"", ""},
		"noop":                         {"NOOP", ""},
		"Mail FROM:<> SIZE=1 \t":       {"MAIL", "FROM:<> SIZE=1"},
		"QUIT ":                        {"QUIT", ""},
		" MAIL":                        {"", "MAIL"},
		"EHLO\tx":                      {"EHLO", "x"},
		strings.Repeat("a", 20):        {strings.Repeat("A", 16), ""},
		"m\xc3\xa4il x":                {"M\xc3\xa4IL", "x"},
		"DATA\x00 x":                   {"DATA\x00", "x"},
		strings.Repeat("x", 17) + " y": {strings.Repeat("X", 16), "y"},
	} {
		var buf [maxVerb]byte
		verb, args := CutVerb([]byte(in), &buf)
		if string(verb) != want[0] || string(args) != want[1] {
			t.Errorf("%q: %q, %q", in, verb, args)
		}
	}
}

func TestParseMail(t *testing.T) {
	alice := mailtest.Address("alice@north.test")
	for in, want := range map[string]Mail{
		"FROM:<>":                                     {},
		"from:<alice@north.test>":                     {From: alice},
		"FROM: <alice@north.test>":                    {From: alice},
		"FROM:<@a.test,@b.test:alice@north.test>":     {From: alice},
		`FROM:<"alice"@north.test>`:                   {From: alice},
		`FROM:<"a>b c\""@north.test> SIZE=1`:          {From: mailtest.Address(`"a>b c\""@north.test`), Size: 1},
		"FROM:<> SIZE=1000  BODY=8bitmime":            {Size: 1000, Body: mail.Body8BitMIME},
		"FROM:<> BODY=7BIT":                           {},
		"FROM:<> body=BinaryMIME":                     {Body: mail.BodyBinaryMIME},
		"FROM:<> SIZE=99999999999999999999":           {Size: math.MaxInt64},
		"FROM:<> SMTPUTF8":                            {UTF8: true},
		"FROM:<ж@пример.test> SMTPUTF8":               {From: mailtest.Address("ж@пример.test"), UTF8: true},
		"FROM:<> AUTH=<>":                             {Auth: "<>"},
		"FROM:<> AUTH=a+2Bb@north.test":               {Auth: "a+b@north.test"},
		"FROM:<> RET=HDRS ENVID=QQ+2B314159":          {Return: mail.ReturnHeaders, EnvID: "QQ+314159"},
		"FROM:<> RET=full":                            {Return: mail.ReturnFull},
		"FROM:<> REQUIRETLS":                          {RequireTLS: true},
		"FROM:<> BY=120;r":                            {By: By{Seconds: 120, Mode: ByReturn}},
		"FROM:<> BY=-5;NT":                            {By: By{Seconds: -5, Mode: ByNotify, Trace: true}},
		"FROM:<> BY=+999999999;Rt":                    {By: By{Seconds: 999999999, Mode: ByReturn, Trace: true}},
		"FROM:<> BY=0;N":                              {By: By{Mode: ByNotify}},
		"FROM:<> HOLDFOR=60":                          {HoldFor: time.Minute},
		"FROM:<> HOLDUNTIL=2026-11-20T12:00:00+01:00": {HoldUntil: time.Date(2026, 11, 20, 11, 0, 0, 0, time.UTC)},
		"FROM:<> MT-PRIORITY=-9":                      {Priority: -9},
		"FROM:<> mt-priority=4":                       {Priority: 4},
		"FROM:<> MT-PRIORITY=0":                       {},
		"FROM:<a@[192.0.2.1]>":                        {From: mailtest.Address("a@[192.0.2.1]")},
		"FROM:<> ENVID=" + strings.Repeat("x", 100):   {EnvID: strings.Repeat("x", 100)},
	} {
		got, err := ParseMail([]byte(in), all)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
}

func TestParseMailRefuses(t *testing.T) {
	for in, want := range map[string]error{
		"":                                   ErrSyntax,
		"<a@b>":                              ErrSyntax,
		"FROM":                               ErrSyntax,
		"FROM:":                              ErrSyntax,
		"FROM:a@b":                           ErrSyntax,
		"FROM:<a@b":                          ErrSyntax,
		"FROM :<a@b>":                        ErrSyntax,
		"FROM:<a@b>SIZE=1":                   ErrSyntax,
		`FROM:<"a@b>`:                        ErrSyntax,
		"FROM:<a>":                           ErrPath,
		"FROM:<postmaster>":                  ErrPath,
		"FROM:<a@b> <c@d>":                   ErrUnknownParameter,
		"FROM:<a@b@c>":                       ErrPath,
		"FROM:<@a.test:>":                    ErrPath,
		"FROM:<@a.test>":                     ErrPath,
		"FROM:<a.test:a@b>":                  ErrPath,
		"FROM:<@a.test,b.test:a@b>":          ErrPath,
		"FROM:< a@b>":                        ErrPath,
		"FROM:<a@b\x00>":                     ErrPath,
		"FROM:<> SIZE":                       ErrParameter,
		"FROM:<> SIZE=":                      ErrParameter,
		"FROM:<> SIZE=-1":                    ErrParameter,
		"FROM:<> SIZE=+1":                    ErrParameter,
		"FROM:<> SIZE=1 SIZE=1":              ErrParameter,
		"FROM:<> SIZE=100000000000000000000": ErrParameter,
		"FROM:<> BODY=7BIT BODY=BINARYMIME":  ErrParameter,
		"FROM:<> BODY=BINARYMIME BODY=7BIT":  ErrParameter,
		"FROM:<> BODY=9BIT":                  ErrParameter,
		"FROM:<> SMTPUTF8=1":                 ErrParameter,
		"FROM:<> SMTPUTF8 SMTPUTF8":          ErrParameter,
		"FROM:<> AUTH=a":                     ErrParameter,
		"FROM:<> REQUIRETLS=1":               ErrParameter,
		"FROM:<> BY=0;R":                     ErrParameter,
		"FROM:<> BY=-1;R":                    ErrParameter,
		"FROM:<> BY=60":                      ErrParameter,
		"FROM:<> BY=60;":                     ErrParameter,
		"FROM:<> BY=60;X":                    ErrParameter,
		"FROM:<> BY=60;RTT":                  ErrParameter,
		"FROM:<> BY=60;T":                    ErrParameter,
		"FROM:<> BY=+-60;N":                  ErrParameter,
		"FROM:<> BY=;N":                      ErrParameter,
		"FROM:<> BY=1000000000;N":            ErrParameter,
		"FROM:<> HOLDFOR=0":                  ErrParameter,
		"FROM:<> HOLDFOR=-1":                 ErrParameter,
		"FROM:<> HOLDFOR=1000000000":         ErrParameter,
		"FROM:<> HOLDUNTIL=tomorrow":         ErrParameter,
		"FROM:<> HOLDFOR=1 HOLDUNTIL=2026-11-20T12:00:00Z": ErrParameter,
		"FROM:<> HOLDUNTIL=2026-11-20T12:00:00Z HOLDFOR=1": ErrParameter,
		"FROM:<> MT-PRIORITY=10":                           ErrParameter,
		"FROM:<> MT-PRIORITY=+1":                           ErrParameter,
		"FROM:<> MT-PRIORITY=-0":                           ErrParameter,
		"FROM:<> MT-PRIORITY=--1":                          ErrParameter,
		"FROM:<> AUTH=a+0D+0A@b":                           ErrParameter,
		"FROM:<> RET=BOTH":                                 ErrParameter,
		"FROM:<> ENVID=+4":                                 ErrParameter,
		"FROM:<> ENVID=+2b":                                ErrParameter,
		"FROM:<> ENVID=a+0Ab":                              ErrParameter,
		"FROM:<> ENVID=" + strings.Repeat("x", 101):        ErrParameter,
		"FROM:<> ENVID=a=b":                                ErrParameter,
		"FROM:<> NOTIFY=NEVER":                             ErrUnknownParameter,
		"FROM:<> ORCPT=rfc822;a@b":                         ErrUnknownParameter,
		"FROM:<> X=1":                                      ErrUnknownParameter,
		"FROM:<> =1":                                       ErrUnknownParameter,
	} {
		if got, err := ParseMail([]byte(in), all); !errors.Is(err, want) {
			t.Errorf("%q: %+v, %v; want %v", in, got, err, want)
		}
	}
}

func TestParametersNeedTheirExtension(t *testing.T) {
	for in, extension := range map[string]Extensions{
		"SIZE=1": Size, "BODY=7BIT": EightBitMIME, "SMTPUTF8": SMTPUTF8, "AUTH=<>": Auth, "RET=FULL": DSN, "ENVID=1": DSN,
		"REQUIRETLS": RequireTLS, "BY=60;R": DeliverBy, "HOLDFOR=1": FutureRelease, "HOLDUNTIL=2026-11-20T12:00:00Z": FutureRelease,
		"MT-PRIORITY=1": MTPriority,
	} {
		if _, err := ParseMail([]byte("FROM:<> "+in), all&^extension&^BinaryMIME); !errors.Is(err, ErrUnknownParameter) {
			t.Errorf("%s without %s: %v", in, extension, err)
		}
		if _, err := ParseMail([]byte("FROM:<> "+in), extension); err != nil {
			t.Errorf("%s with %s: %v", in, extension, err)
		}
	}
	if _, err := ParseMail([]byte("FROM:<> BODY=BINARYMIME"), EightBitMIME); !errors.Is(err, ErrParameter) {
		t.Error(err)
	}
}

func TestParseRcpt(t *testing.T) {
	bob, postmaster := mailtest.Address("bob@south.test"), mailtest.Address("postmaster@mail.south.test")
	for in, want := range map[string]Rcpt{
		"TO:<bob@south.test>":                        {To: bob},
		"to: <@a.test:bob@south.test>":               {To: bob},
		"TO:<Postmaster>":                            {To: postmaster},
		"TO:<bob@south.test> NOTIFY=never":           {To: bob, Notify: mail.NotifyNever},
		"TO:<bob@south.test> NOTIFY=SUCCESS,DELAY":   {To: bob, Notify: mail.NotifySuccess | mail.NotifyDelay},
		"TO:<bob@south.test> ORCPT=rfc822;a+2Bb@c":   {To: bob, Original: "rfc822;a+b@c"},
		"TO:<bob@south.test> ORCPT=utf-8;ж@пример":   {To: bob, Original: "utf-8;ж@пример"},
		"TO:<bob@south.test> ORCPT=rfc822;+D0+B6@b":  {To: bob, Original: "utf-8;ж@b"},
		`TO:<bob@south.test> ORCPT=UTF-8;\x{436}@b`:  {To: bob, Original: "UTF-8;ж@b"},
		`TO:<bob@south.test> ORCPT=utf-8;a\x{2B}b@c`: {To: bob, Original: "utf-8;a+b@c"},
	} {
		got, err := ParseRcpt([]byte(in), all, postmaster)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	for in, want := range map[string]error{
		"":                               ErrSyntax,
		"FROM:<a@b>":                     ErrSyntax,
		"TO:<>":                          ErrPath,
		"TO:<a>":                         ErrPath,
		"TO:<a@b>, <c@d>":                ErrSyntax,
		"TO:<a@b> NOTIFY=NEVER,DELAY":    ErrParameter,
		"TO:<a@b> NOTIFY=":               ErrParameter,
		"TO:<a@b> NOTIFY=,":              ErrParameter,
		"TO:<a@b> NOTIFY=ALWAYS":         ErrParameter,
		"TO:<a@b> ORCPT=a@b":             ErrParameter,
		"TO:<a@b> ORCPT=;a@b":            ErrParameter,
		"TO:<a@b> ORCPT=rfc822;":         ErrParameter,
		"TO:<a@b> ORCPT=rfc822;a+0D":     ErrParameter,
		"TO:<a@b> ORCPT=rfc822;ж@b":      ErrParameter,
		`TO:<a@b> ORCPT=utf-8;\x{0A}`:    ErrParameter,
		`TO:<a@b> ORCPT=utf-8;\x{D800}a`: ErrParameter,
		`TO:<a@b> ORCPT=utf-8;\x{41`:     ErrParameter,
		"TO:<a@b> ORCPT=utf-8;a\xff":     ErrParameter,
		"TO:<a@b> ORCPT=rfc822;" + strings.Repeat("a", 500): ErrParameter,
		"TO:<a@b> SIZE=1": ErrUnknownParameter,
		"TO:<a@b> ORCPT=rfc822;a@b ORCPT=rfc822;a@b": ErrParameter,
	} {
		if got, err := ParseRcpt([]byte(in), all, postmaster); !errors.Is(err, want) {
			t.Errorf("%q: %+v, %v; want %v", in, got, err, want)
		}
	}
}

func TestAppendOnlyWhatIsOffered(t *testing.T) {
	m := Mail{From: mailtest.Address("a@b.test"), Size: 7, Body: mail.Body8BitMIME, UTF8: true, Auth: "a@b.test", Return: mail.ReturnFull, EnvID: "x y"}
	if got, want := string(m.Append(nil, 0)), "FROM:<a@b.test>"; got != want {
		t.Errorf("%q", got)
	}
	want := "FROM:<a@b.test> SIZE=7 BODY=8BITMIME SMTPUTF8 AUTH=a@b.test RET=FULL ENVID=x+20y"
	if got := string(m.Append(nil, all)); got != want {
		t.Errorf("%q", got)
	}
	r := Rcpt{To: mailtest.Address("a@b.test"), Notify: mail.NotifySuccess | mail.NotifyFailure, Original: "utf-8;ж+@c"}
	if got, want := string(r.Append(nil, DSN)), `TO:<a@b.test> NOTIFY=SUCCESS,FAILURE ORCPT=utf-8;\x{436}\x{2B}@c`; got != want {
		t.Errorf("%q", got)
	}
}

func TestParseHello(t *testing.T) {
	for _, s := range []string{"mail.north.test", "[192.0.2.1]", "[IPv6:2001:db8::1]", "my_pc", "localhost"} {
		if got, err := ParseHello([]byte(s)); err != nil || got != s {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "a b", "a(b)", "<a>", "a;b", "a\r", "пример", strings.Repeat("a", 256), `a"`, "a\\b"} {
		if got, err := ParseHello([]byte(s)); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
}

func TestParseChunk(t *testing.T) {
	for in, want := range map[string]struct {
		size int64
		last bool
	}{"0": {0, false}, "1000": {1000, false}, "10 LAST": {10, true}, "0  last": {0, true}, "9223372036854775807": {math.MaxInt64, false}} {
		if size, last, err := ParseChunk([]byte(in)); err != nil || size != want.size || last != want.last {
			t.Errorf("%q: %d, %v, %v", in, size, last, err)
		}
	}
	for _, in := range []string{"", "LAST", "-1", "+1", "1 FIRST", "1 LAST x", "9223372036854775808", "0x10", "1LAST"} {
		if _, _, err := ParseChunk([]byte(in)); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestExtensionNames(t *testing.T) {
	for i, name := range extensionNames {
		e := ExtensionNamed(strings.ToLower(name))
		if e != 1<<i || e.String() != name {
			t.Errorf("%s: %b, %s", name, e, e)
		}
	}
	if XForward != 1<<(len(extensionNames)-1) || ExtensionNamed("X-NONE") != 0 {
		t.Error("names and constants differ")
	}
	if got := (Size | DSN).String(); got != "SIZE DSN" {
		t.Error(got)
	}
}

func FuzzParseMail(f *testing.F) {
	for _, s := range []string{"FROM:<>", `FROM:<"a b>"@c.test> SIZE=10 BODY=8BITMIME SMTPUTF8`, "FROM:<ж@b> AUTH=<> RET=HDRS ENVID=a+2Bb", "FROM:<@a:b@c>",
		"FROM:<> REQUIRETLS BY=120;RT MT-PRIORITY=-3 HOLDFOR=10", "FROM:<> BY=-1;N HOLDUNTIL=2026-11-20T12:00:00.5+01:00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := ParseMail(in, all)
		if err != nil {
			return
		}
		wire := m.Append(nil, all)
		again, err := ParseMail(wire, all)
		if err != nil || !reflect.DeepEqual(m, again) || strings.ContainsAny(string(wire), "\r\n\x00") {
			t.Errorf("%q is %+v, written as %q, which is %+v, %v", in, m, wire, again, err)
		}
	})
}

func FuzzParseRcpt(f *testing.F) {
	for _, s := range []string{"TO:<postmaster>", "TO:<a@b> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@c", `TO:<a@b> ORCPT=utf-8;\x{436}ж@c`} {
		f.Add([]byte(s))
	}
	postmaster := mailtest.Address("postmaster@mail.south.test")
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := ParseRcpt(in, all, postmaster)
		if err != nil {
			return
		}
		wire := r.Append(nil, all)
		again, err := ParseRcpt(wire, all, postmaster)
		if err != nil || r != again || strings.ContainsAny(string(wire), "\r\n\x00") {
			t.Errorf("%q is %+v, written as %q, which is %+v, %v", in, r, wire, again, err)
		}
	})
}

// Parsing a plain command costs what the address costs.
func TestParseAllocations(t *testing.T) {
	line := []byte("FROM:<alice@north.test>")
	if n := testing.AllocsPerRun(100, func() {
		if _, err := ParseMail(line, all); err != nil {
			t.Fatal(err)
		}
	}); n > 2 {
		t.Errorf("%v allocations", n)
	}
}
