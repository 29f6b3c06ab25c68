package pop3d

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"posthouse/directory"
	"posthouse/directory/directorytest"
	"posthouse/directory/sasl"
	"posthouse/internal/testkit"
	"posthouse/internal/transcript"
	"posthouse/mail/mailtest"
	"posthouse/mailbox"
)

const scripts = "../testdata/script/pop3"

var certificate = sync.OnceValue(func() tls.Certificate {
	return testkit.Certificate(x509.Certificate{DNSNames: []string{"mail.south.test"}})
})

// testHouse is a server over real mailboxes, empty ones, of south.test: bob, dave, ж, and "gone" who is disabled.
type testHouse struct {
	t         testing.TB
	directory *directory.SQLite
	Options
}

func newHouse(t testing.TB) *testHouse {
	t.Helper()
	d := directorytest.House(t, "bob", "dave", "ж", "gone")
	if err := d.SetDisabled(t.Context(), mailtest.Address("gone@south.test"), time.Now()); err != nil {
		t.Fatal(err)
	}
	store, err := mailbox.OpenSQLite(mailbox.Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return &testHouse{t, d, Options{
		Hostname: "mail.south.test", Store: store, Auth: sasl.New(sasl.Options{Directory: d}),
		TLS:                &tls.Config{Certificates: []tls.Certificate{certificate()}, MinVersion: tls.VersionTLS12},
		AllowPlaintextAuth: true, Limits: Limits{LoginDelay: time.Millisecond}, Log: testkit.Log(t),
	}}
}

// start serves on a loopback port.
func (h *testHouse) start() (s *Server, addr string) {
	s, l := NewServer(h.Options), testkit.Listen(h.t)
	testkit.Serve(h.t, s, l)
	return s, l.Addr().String()
}

// account is somebody's.
func (h *testHouse) account(name string) mailbox.Account {
	h.t.Helper()
	who, err := h.directory.Account(h.t.Context(), mailtest.Address(name+"@south.test"))
	if err != nil {
		h.t.Fatal(err)
	}
	account, err := h.Store.Account(h.t.Context(), who.ID)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { account.Close() })
	return account
}

// file puts a message into an INBOX.
func file(t testing.TB, account mailbox.Account, text, uidl string) {
	t.Helper()
	blob, err := account.Stage(t.Context(), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := account.Apply(t.Context(), mailbox.Add{Box: inbox(t, account).Box.ID, Blob: blob, UIDL: uidl}); err != nil {
		t.Fatal(err)
	}
}

func inbox(t testing.TB, account mailbox.Account) *mailbox.Snapshot {
	t.Helper()
	box, err := account.Box(t.Context(), mailbox.Inbox)
	if err != nil {
		t.Fatal(err)
	}
	s, err := account.Snapshot(t.Context(), box.ID)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// letters are the messages of a script: "message N" with its lines ended by CRLF, "raw N" as it is.
func letters(s *transcript.Script) (texts []string) {
	for i := 1; ; i++ {
		text, raw := s.File(fmt.Sprintf("message %d", i)), s.File(fmt.Sprintf("raw %d", i))
		switch {
		case text != nil:
			texts = append(texts, string(bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))))
		case raw != nil:
			texts = append(texts, string(raw))
		default:
			return texts
		}
	}
}

// settings are what a script may say about the server it is for.
var settings = map[string]func(t testing.TB, o *Options, value string){
	"tls":            func(_ testing.TB, o *Options, _ string) { o.TLS = nil },                  // no
	"plaintext-auth": func(_ testing.TB, o *Options, _ string) { o.AllowPlaintextAuth = false }, // no
	"sessions":       func(t testing.TB, o *Options, v string) { o.Limits.Sessions = number(t, v) },
	"network":        func(t testing.TB, o *Options, v string) { o.Limits.SessionsPerNetwork = number(t, v) },
	"account":        func(t testing.TB, o *Options, v string) { o.Limits.SessionsPerAccount = number(t, v) },
	"reference":      func(testing.TB, *Options, string) {}, // see TestScriptsAtDovecot
	"end":            func(testing.TB, *Options, string) {}, // none: the last octets of the last message are no line's end
	"uidls":          func(testing.TB, *Options, string) {}, // of the messages, divided by commas
	"implicit-tls":   func(testing.TB, *Options, string) {}, // yes
}

func number(t testing.TB, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestScripts(t *testing.T) {
	t.Parallel()
	transcript.RunDir(t, scripts, func(t *testing.T, s *transcript.Script) transcript.Options {
		t.Parallel()
		h := newHouse(t)
		for name, value := range s.Settings {
			set, known := settings[name]
			if !known {
				t.Fatalf("no setting %q", name)
			}
			set(t, &h.Options, value)
		}
		account, uidls := h.account("bob"), strings.Split(s.Settings["uidls"], ",")
		for i, text := range scriptLetters(s) {
			uidl := ""
			if i < len(uidls) {
				uidl = uidls[i]
			}
			file(t, account, text, uidl)
		}
		vars := names("bob@south.test")
		vars["validity"] = fmt.Sprintf("%08x", inbox(t, account).Box.UIDValidity)
		if s.Settings["implicit-tls"] == "" {
			_, addr := h.start()
			return transcript.Options{Dial: transcript.DialTCP(addr), Vars: vars}
		}
		l := testkit.Listen(t)
		testkit.Serve(t, NewServer(h.Options), tls.NewListener(l, h.TLS))
		return transcript.Options{Dial: transcript.DialTLS(l.Addr().String(), &tls.Config{InsecureSkipVerify: true}), Vars: vars}
	})
}

// scriptLetters are the letters, the last of them cut as the script says.
func scriptLetters(s *transcript.Script) []string {
	texts := letters(s)
	if s.Settings["end"] == "none" {
		texts[len(texts)-1] = strings.TrimRight(texts[len(texts)-1], "\r\n")
	}
	return texts
}

// names are the login name as scripts write it, and what follows from it.
func names(bob string) map[string]string {
	return map[string]string{"bob": bob, "plain": base64.StdEncoding.EncodeToString([]byte("\x00" + bob + "\x00posthouse"))}
}
