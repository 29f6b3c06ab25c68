package mta

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"posthouse/crypto/password"
	"posthouse/directory"
	"posthouse/directory/oidc"
	"posthouse/directory/sasl"
	"posthouse/internal/dns"
	"posthouse/internal/testkit"
	"posthouse/internal/transcript"
	"posthouse/mail"
	"posthouse/mail/mailtest"
	"posthouse/mail/smtp"
	"posthouse/mta/milter"
	"posthouse/mta/milter/miltertest"
	"posthouse/mta/stage"
	"posthouse/spool"
)

const scripts = "../testdata/script"

// The house of the tests is mail.south.test for south.test: bob, dave, an alias "all" of both, "out" that leads to another house, "round"
// that leads to itself, "gone" who is disabled. Passwords are "posthouse".
var house = sync.OnceValues(func() (directory.Directory, error) {
	d, err := directory.Open(filepath.Join(houseDir, "directory.db"), directory.Options{
		Cost: password.Cost{Memory: 8, Time: 1, Iterations: 4096},
	})
	if err != nil {
		return nil, err
	}
	return d, furnish(d)
})

var houseDir string // of TestMain

func TestMain(m *testing.M) {
	var err error
	if houseDir, err = os.MkdirTemp("", "mta"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(houseDir)
	os.Exit(code)
}

func furnish(d directory.Directory) error {
	ctx := context.Background()
	if err := d.AddDomain(ctx, directory.Domain{Name: "south.test"}); err != nil {
		return err
	}
	for _, login := range []string{"bob", "dave", "gone", "ж"} {
		if _, err := d.AddAccount(ctx, mailtest.Address(login+"@south.test"), "posthouse"); err != nil {
			return err
		}
	}
	for _, a := range [][2]string{
		{"all@south.test", "bob@south.test"}, {"all@south.test", "dave@south.test"}, {"bobby@south.test", "bob@south.test"},
		{"out@south.test", "carol@north.test"}, {"round@south.test", "trip@south.test"}, {"trip@south.test", "round@south.test"},
	} {
		if err := d.AddAlias(ctx, directory.Alias{Address: mailtest.Address(a[0]), Target: mailtest.Address(a[1])}); err != nil {
			return err
		}
	}
	return d.SetDisabled(ctx, mailtest.Address("gone@south.test"), time.Now())
}

// certificate is made once: a key costs time.
var certificate = sync.OnceValue(func() tls.Certificate {
	return testkit.Certificate(x509.Certificate{DNSNames: []string{"mail.south.test"}})
})

func testTLS() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{certificate()}, MinVersion: tls.VersionTLS12}
}

// testOptions are those of an MX; the spool is a real one.
func testOptions(t testing.TB) Options {
	d, err := house()
	if err != nil {
		t.Fatal(err)
	}
	sp, err := spool.OpenSQLite(spool.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sp.Close(); err != nil {
			t.Error(err)
		}
	})
	return Options{
		Hostname:   "mail.south.test",
		Spool:      sp,
		Directory:  d,
		TLS:        testTLS(),
		Postmaster: mailtest.Address("bob@south.test"),
	}
}

// start serves on a loopback port until the test ends; every session must have ended well by then.
func start(t testing.TB, o Options, wrap func(net.Listener) net.Listener) (*Server, string) {
	s, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	return s, serve(t, s, wrap)
}

func serve(t testing.TB, s *Server, wrap func(net.Listener) net.Listener) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- s.Serve(wrap(l)) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		if n := s.metrics.Sessions.Load(); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
	})
	return addr
}

func plain(l net.Listener) net.Listener { return l }

// settings are what a script may say about the server it is for.
var settings = map[string]func(t testing.TB, o *Options, value string){
	"listener": func(t testing.TB, o *Options, value string) {
		for k := range kinds {
			if kinds[k].name == value {
				o.Kind = Kind(k)
				return
			}
		}
		t.Fatalf("no listener %q", value)
	},
	"tls":            func(_ testing.TB, o *Options, _ string) { o.TLS = nil }, // no
	"plaintext-auth": func(_ testing.TB, o *Options, _ string) { o.AllowPlaintextAuth = true },
	"issuer": func(_ testing.TB, o *Options, v string) { // one that does not answer
		o.Auth = sasl.New(sasl.Options{Directory: o.Directory, Tokens: oidc.New(oidc.Options{Issuer: v, Audience: "mail"})})
	},
	"dsn":           func(_ testing.TB, o *Options, _ string) { o.DSN = true },
	"undo-window":   func(_ testing.TB, o *Options, _ string) { o.UndoWindow = 10 * time.Minute },
	"show-clients":  func(_ testing.TB, o *Options, _ string) { o.ShowClients = true },
	"monitor-dmarc": func(_ testing.TB, o *Options, _ string) { o.MonitorDMARC = true },
	"relay-from":    func(_ testing.TB, o *Options, v string) { o.RelayFrom = append(o.RelayFrom, netip.MustParsePrefix(v)) },
	"xclient-from": func(_ testing.TB, o *Options, v string) {
		o.XClientFrom = append(o.XClientFrom, netip.MustParsePrefix(v))
	},
	"lacks": func(_ testing.TB, o *Options, v string) {
		o.Lacks = func(_ context.Context, _, to mail.Address, x smtp.Extensions) bool {
			return to.Domain() == v && x == smtp.SMTPUTF8
		}
	},
	"queues":        func(_ testing.TB, o *Options, v string) { o.Queues = strings.Fields(v) },
	"queues-for":    func(_ testing.TB, o *Options, v string) { o.QueuesFor = append(o.QueuesFor, netip.MustParsePrefix(v)) },
	"postmaster":    func(_ testing.TB, o *Options, _ string) { o.Postmaster = mail.Address{} }, // none
	"message-size":  func(t testing.TB, o *Options, v string) { o.Limits.MessageSize = int64(number(t, v)) },
	"header-size":   func(t testing.TB, o *Options, v string) { o.Limits.HeaderSize = number(t, v) },
	"recipients":    func(t testing.TB, o *Options, v string) { o.Limits.Recipients = number(t, v) },
	"messages":      func(t testing.TB, o *Options, v string) { o.Limits.Messages = number(t, v) },
	"hops":          func(t testing.TB, o *Options, v string) { o.Limits.Hops = number(t, v) },
	"sessions":      func(t testing.TB, o *Options, v string) { o.Limits.Sessions = number(t, v) },
	"network":       func(t testing.TB, o *Options, v string) { o.Limits.SessionsPerNetwork = number(t, v) },
	"errors":        func(t testing.TB, o *Options, v string) { o.Limits.Errors = number(t, v) },
	"junk":          func(t testing.TB, o *Options, v string) { o.Limits.Junk = number(t, v) },
	"auth-failures": func(t testing.TB, o *Options, v string) { o.Limits.AuthFailures = number(t, v) },
	"stages":        func(_ testing.TB, o *Options, v string) { o.Admission.Strangers = strings.Fields(v) },
	"greet-delay": func(t testing.TB, o *Options, v string) {
		o.Admission.Greet = stage.Greet{Delay: time.Duration(number(t, v)) * time.Millisecond, Action: stage.Refuse}
	},
	"helo":             func(t testing.TB, o *Options, v string) { o.Admission.HELO = action(t, v) },
	"iprev":            func(t testing.TB, o *Options, v string) { o.Admission.IPRev = action(t, v) },
	"header-from":      func(t testing.TB, o *Options, v string) { o.Admission.Header.From = action(t, v) },
	"header-eight-bit": func(t testing.TB, o *Options, v string) { o.Admission.Header.EightBit = action(t, v) },
	"header-other":     func(t testing.TB, o *Options, v string) { o.Admission.Header.Other = action(t, v) },
	"recipient":        func(t testing.TB, o *Options, v string) { o.Admission.Recipient = number(t, v) },
	"milter":           setMilter,
	"clamav": func(t testing.TB, o *Options, v string) {
		o.Admission.ClamAV = stage.ClamAV{Network: "unix", Address: answering(t, v+"\x00"), Action: stage.Refuse, MaxSize: 1 << 20}
	},
	"faults": func(t testing.TB, o *Options, v string) {
		o.Clients = NewClients(ClientsOptions{Faults: number(t, v), Ban: time.Hour})
	},
	"unknown": func(t testing.TB, o *Options, v string) {
		o.Clients = NewClients(ClientsOptions{Unknown: number(t, v), Ban: time.Hour})
	},
	"connections": func(t testing.TB, o *Options, v string) {
		o.Clients = NewClients(ClientsOptions{Connections: number(t, v)})
	},
	"reference": func(testing.TB, *Options, string) {}, // see TestScriptsAtReference
}

// setMilter starts a filter: "R y550 5.7.1 no|" is one that answers RCPT so, "lost" one that cannot be asked.
func setMilter(t testing.TB, o *Options, v string) {
	var script miltertest.Script
	command, answer, _ := strings.Cut(v, " ")
	switch {
	case v == "lost":
		script.Version = 1
	case answer != "":
		data := strings.ReplaceAll(answer[1:], "|", "\x00")
		script.Answers = map[byte][][]byte{command[0]: {miltertest.Packet(answer[0], data)}}
		if strings.IndexByte("himb+-eq", answer[0]) >= 0 { // a change; what decides comes after it
			script.Answers[command[0]] = append(script.Answers[command[0]], miltertest.Packet('c', ""))
		}
	}
	filter := milter.New(milter.Options{Network: "tcp", Address: miltertest.Start(t, script).Address})
	t.Cleanup(func() { filter.Close() })
	o.Admission.Milters = append(o.Admission.Milters, stage.MilterOptions{Name: "milter", Filter: filter, Lost: stage.Defer})
}

func action(t testing.TB, s string) stage.Action {
	a, err := stage.ParseAction(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func number(t testing.TB, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// scriptOptions are those that a script's settings and its file "zone" ask for.
func scriptOptions(t testing.TB, s *transcript.Script) Options {
	o := testOptions(t)
	if strings.Contains(s.Name, "/lmtp/") {
		o.Kind = LMTP
	}
	for name, value := range s.Settings {
		set, ok := settings[name]
		if !ok {
			t.Fatalf("no setting %q", name)
		}
		set(t, &o, value)
	}
	if zone := s.File("zone"); zone != nil {
		z, err := dns.ParseZone(string(zone))
		if err != nil {
			t.Fatal(err)
		}
		o.Resolver = z
	}
	return o
}

func TestScripts(t *testing.T) {
	for _, dir := range []string{"smtp", "lmtp"} {
		transcript.RunDir(t, filepath.Join(scripts, dir), func(t *testing.T, s *transcript.Script) transcript.Options {
			t.Parallel()
			o := scriptOptions(t, s)
			_, addr := start(t, o, plain)
			dial := transcript.DialTCP(addr)
			if o.Kind == Submissions {
				dial = transcript.DialTLS(addr, &tls.Config{InsecureSkipVerify: true})
			}
			return transcript.Options{Dial: dial, Done: func(vars map[string]string) { checkSpool(t, s, o.Spool, vars) }}
		})
	}
}

// The same dialogues inside TLS, about which the server knows nothing: what is read comes in other pieces.
func TestScriptsInsideTLS(t *testing.T) {
	transcript.RunDir(t, filepath.Join(scripts, "smtp"), func(t *testing.T, s *transcript.Script) transcript.Options {
		t.Parallel()
		o := scriptOptions(t, s)
		if o.Kind == Submissions || s.Settings["sessions"]+s.Settings["network"]+s.Settings["faults"]+s.Settings["unknown"]+s.Settings["connections"]+s.Settings["greet-delay"] != "" {
			t.Skip("it is TLS already, or refused before any handshake")
		}
		_, addr := start(t, o, func(l net.Listener) net.Listener { return tls.NewListener(l, testTLS()) })
		return transcript.Options{
			Dial: transcript.DialTLS(addr, &tls.Config{InsecureSkipVerify: true}),
			Done: func(vars map[string]string) { checkSpool(t, s, o.Spool, vars) },
		}
	})
}

// Scripts with "setting reference yes" also hold for another server: POSTHOUSE_REFERENCE_SMTP=host:port, a server of south.test that
// knows bob, dave and the alias all.
func TestScriptsAtReference(t *testing.T) {
	addr := os.Getenv("POSTHOUSE_REFERENCE_SMTP")
	if addr == "" {
		t.Skip("POSTHOUSE_REFERENCE_SMTP names no server")
	}
	transcript.RunDir(t, filepath.Join(scripts, "smtp"), func(t *testing.T, s *transcript.Script) transcript.Options {
		if s.Settings["reference"] == "" {
			t.Skip("a difference, or a limit of ours")
		}
		return transcript.Options{Dial: transcript.DialTCP(addr)}
	})
}

// checkSpool compares what the spool holds with the script's files: "spool" has a line for each message, "message N" its octets. A
// script without them leaves nothing in the spool.
func checkSpool(t *testing.T, s *transcript.Script, sp spool.Spool, vars map[string]string) {
	var got strings.Builder
	n := 0
	for e, err := range sp.List(t.Context(), spool.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		got.WriteString(summary(&e) + "\n")
		if want := s.File(fmt.Sprintf("stages %d", n)); want != nil {
			matches(t, fmt.Sprintf("stages %d", n), string(want), verdicts(e.Verdicts).LogValue().String(), vars)
		}
		if want := s.File(fmt.Sprintf("message %d", n)); want != nil {
			matches(t, fmt.Sprintf("message %d", n), string(want), content(t, sp, e.ID), vars)
		}
	}
	matches(t, "spool", string(s.File("spool")), got.String(), vars)
}

func summary(e *spool.Entry) string {
	var b strings.Builder
	fmt.Fprintf(&b, "from <%s>", e.From)
	for _, r := range e.Recipients {
		fmt.Fprintf(&b, " to <%s>", r.Address)
		if r.Original != "" {
			fmt.Fprintf(&b, " orcpt %s", r.Original)
		}
		if r.Notify != 0 {
			fmt.Fprintf(&b, " notify %d", r.Notify)
		}
	}
	if e.Body != 0 {
		fmt.Fprintf(&b, " %s", e.Body)
	}
	if e.UTF8 {
		b.WriteString(" SMTPUTF8")
	}
	if e.Return != 0 || e.EnvID != "" {
		fmt.Fprintf(&b, " ret %d envid %q", e.Return, e.EnvID)
	}
	if e.TLS != 0 {
		fmt.Fprintf(&b, " tls %s", [...]string{"", "required", "ignored"}[e.TLS])
	}
	if e.By != nil {
		fmt.Fprintf(&b, " by %s notify %t trace %t", e.By.Time.Sub(e.Received), e.By.Notify, e.By.Trace)
	}
	if e.Priority != 0 {
		fmt.Fprintf(&b, " priority %d", e.Priority)
	}
	if !e.NotBefore.IsZero() {
		fmt.Fprintf(&b, " held %s", e.NotBefore.Sub(e.Received).Round(time.Second))
	}
	if e.Quarantined {
		b.WriteString(" quarantined")
	}
	fmt.Fprintf(&b, " with %s", e.Origin.Protocol)
	if a := e.Origin.Remote.Addr(); !a.IsLoopback() {
		fmt.Fprintf(&b, " remote %s helo %s", a, e.Origin.HELO)
	}
	if e.Origin.Login != "" {
		fmt.Fprintf(&b, " login %s", e.Origin.Login)
	}
	return b.String()
}

func content(t testing.TB, sp spool.Spool, id mail.ID) string {
	c, err := sp.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, err := io.ReadAll(io.NewSectionReader(c, 0, c.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var wildcard = regexp.MustCompile(`\\\$(_|[a-z]+)`)

// matches compares texts; in what is wanted "$_" is anything but a line's end, "$name" a variable of the script.
func matches(t testing.TB, what, want, got string, vars map[string]string) {
	pattern := regexp.QuoteMeta(strings.TrimSuffix(want, "\n"))
	pattern = wildcard.ReplaceAllStringFunc(pattern, func(ref string) string {
		if value, ok := vars[ref[2:]]; ok {
			return regexp.QuoteMeta(value)
		}
		return "[^\n]*"
	})
	if bare := strings.ReplaceAll(got, "\r\n", ""); strings.Contains(bare, "\r") {
		t.Errorf("%s has a bare CR", what)
	}
	got = strings.TrimSuffix(strings.ReplaceAll(got, "\r\n", "\n"), "\n")
	if !regexp.MustCompile("^" + pattern + "$").MatchString(got) {
		t.Errorf("%s is\n%s\nand should be\n%s", what, got, want)
	}
}
