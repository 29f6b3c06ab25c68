package mta

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"posthouse/internal/testkit"
	"posthouse/mta/milter"
	"posthouse/mta/stage"
	"posthouse/spool"
)

// behind adds a filter to the options.
func behind(t *testing.T, o *Options, m milter.Options) {
	filter := milter.New(m)
	t.Cleanup(func() { filter.Close() })
	o.Admission.Milters = append(o.Admission.Milters, stage.MilterOptions{Name: "milter", Filter: filter, Lost: stage.Defer})
}

// letterTo sends a message and gives the reply to it.
func letterTo(t *testing.T, addr, text string) string {
	c := dial(t, addr)
	defer c.conn.Close()
	c.begin()
	c.ask("DATA", "354 ")
	c.say(text + "\r\n.")
	line, err := c.r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// The patterns that rspamd refuses, or marks, by itself; in pieces, so that no scanner finds them here.
const (
	gtubeTail   = "JS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
	gtubeReject = "X" + gtubeTail
	gtubeMark   = "Y" + gtubeTail
)

func TestRspamd(t *testing.T) {
	addr := testkit.Rspamd(t)
	for name, c := range map[string]struct{ text, reply, header string }{
		"clean":   {"hello", "250 2.0.0 ", ""},
		"refused": {gtubeReject, "554 5.7.1 Gtube pattern", ""},
		"marked":  {gtubeMark, "250 2.0.0 ", "X-Spam: Yes\r\n"},
	} {
		o := testOptions(t)
		o.Admission.Strangers = []string{"milter"}
		behind(t, &o, milter.Options{Network: "tcp", Address: addr, Reuse: true})
		_, server := start(t, o, plain)
		for range 2 { // the second over a connection that was left to it
			if r := letterTo(t, server, benchHeader+c.text); !strings.HasPrefix(r, c.reply) {
				t.Errorf("%s: %s", name, r)
			}
		}
		if c.reply[0] == '5' {
			checkEmpty(t, o)
			continue
		}
		for e := range o.Spool.List(t.Context(), spool.Filter{}) {
			if got := content(t, o.Spool, e.ID); !strings.Contains(got, c.header) || !strings.HasSuffix(got, "\r\n\r\n"+c.text+"\r\n") || c.header == "" && strings.Contains(got, "X-Spam") {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
}

const benchHeader = "From: Alice <alice@north.test>\r\nTo: Bob <bob@south.test>\r\nSubject: a usual letter\r\nDate: Thu, 01 Jan 1970 00:00:00 +0000\r\nMessage-ID: <1@north.test>\r\n\r\n"

// OpenDKIM signs what a network that we relay for sends, and verifies at another server what came of it.
func TestOpenDKIM(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"key": string(private), "keys": "s._domainkey.north.test v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(public) + "\n"}
	signer := testkit.OpenDKIM(t, "Mode s\nDomain north.test\nSelector s\nKeyFile DIR/key\nCanonicalization relaxed/simple\nInternalHosts 127.0.0.1", files)
	verifier := testkit.OpenDKIM(t, "Mode v\nTestPublicKeys DIR/keys\nAuthservID south.test\nOn-BadSignature reject\nAlwaysAddARHeader yes\nInternalHosts 192.0.2.1", files)

	out := testOptions(t)
	out.RelayFrom = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	out.Admission.Users = []string{"milter", "sign"}
	behind(t, &out, milter.Options{Network: "tcp", Address: signer})
	_, addr := start(t, out, plain)
	if r := letterTo(t, addr, benchHeader+"Dear Bob,\r\n  two spaces "); !strings.HasPrefix(r, "250 ") {
		t.Fatal(r)
	}
	sent := content(t, out.Spool, only(t, out.Spool).ID)
	if !strings.Contains(sent, "DKIM-Signature: v=1; a=rsa-sha256;") {
		t.Fatalf("%s", sent)
	}
	in := testOptions(t)
	in.Admission.Strangers = []string{"milter"}
	behind(t, &in, milter.Options{Network: "tcp", Address: verifier})
	_, addr = start(t, in, plain)
	if r := letterTo(t, addr, strings.TrimSuffix(sent, "\r\n")); !strings.HasPrefix(r, "250 ") {
		t.Fatalf("%s\n%s", r, sent)
	}
	if got := content(t, in.Spool, only(t, in.Spool).ID); !strings.Contains(got, "dkim=pass") {
		t.Errorf("%s", got)
	}
	if r := letterTo(t, addr, strings.Replace(sent, "Dear Bob", "Dear Rob", 1)); !strings.HasPrefix(r, "550 5.7.0 bad DKIM signature") {
		t.Errorf("a changed message: %s", r)
	}
}

// The test file that all scanners know, in pieces.
const eicar = `X5O!P%@AP[4\PZX54(P^)7CC)7}$` + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE" + "!$H+H*"

func TestClamd(t *testing.T) {
	socket := testkit.Clamd(t, "Eicar-Test", eicar)
	attached := "MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n" + benchHeader +
		base64.StdEncoding.EncodeToString([]byte(eicar)) + "\r\n"
	for name, c := range map[string]struct {
		text, reply, verdict string
		action               stage.Action
		size                 int64
	}{
		"clean":       {benchHeader + "hello", "250 2.0.0 ", "clean", stage.Refuse, 1 << 20},
		"infected":    {benchHeader + eicar, "554 5.7.1 the message has a virus", "", stage.Refuse, 1 << 20},
		"attached":    {attached, "554 5.7.1 the message has a virus", "", stage.Refuse, 1 << 20},
		"quarantined": {attached, "250 2.0.0 ", "infected", stage.Quarantine, 1 << 20},
		"too long":    {benchHeader + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 100_000), "250 2.0.0 ", "too-big", stage.Refuse, 10 << 20}, // for clamd
		"too big":     {attached, "250 2.0.0 ", "too-big", stage.Refuse, 100},
		"large":       {benchHeader + strings.Repeat(strings.Repeat("x", 70)+"\r\n", 10_000) + eicar, "554 5.7.1 the message has a virus", "", stage.Refuse, 1 << 20},
	} {
		o := testOptions(t)
		o.Admission.Strangers = []string{"clamav"}
		o.Admission.ClamAV = stage.ClamAV{Network: "unix", Address: socket, Action: c.action, MaxSize: c.size}
		_, addr := start(t, o, plain)
		if r := letterTo(t, addr, c.text); !strings.HasPrefix(r, c.reply) {
			t.Errorf("%s: %s", name, r)
		}
		if c.verdict == "" {
			checkEmpty(t, o)
			continue
		}
		if e := only(t, o.Spool); e.Verdicts[0].Result != c.verdict || e.Quarantined != (c.verdict != "clean") {
			t.Errorf("%s: %+v", name, e.Verdicts)
		}
	}
}

// A scanner that is not there, ends early or talks nonsense scans nothing: the mail comes again.
func TestClamdLost(t *testing.T) {
	for name, answer := range map[string]string{
		"silence": "", "nonsense": "OK\x00", "no end": "stream: OK", "no virus": "stream:  FOUND\x00",
	} {
		o := testOptions(t)
		o.Admission.Strangers = []string{"clamav"}
		o.Admission.ClamAV = stage.ClamAV{Network: "unix", Address: answering(t, answer), Action: stage.Refuse, MaxSize: 1 << 20}
		_, addr := start(t, o, plain)
		if r := letterTo(t, addr, "x"); !strings.HasPrefix(r, "451 4.3.0 the message cannot be scanned now") {
			t.Errorf("%s: %s", name, r)
		}
		checkEmpty(t, o)
	}
	// It says so before it has heard the end, which does not fit into the connection.
	for answer, want := range map[string]string{
		"stream: OK\x00": "451 4.3.0 ", "stream: Eicar FOUND\x00": "554 5.7.1 ", "INSTREAM size limit exceeded. ERROR\x00": "250 2.0.0 ",
	} {
		o := testOptions(t)
		o.Admission.Strangers = []string{"clamav"}
		o.Admission.ClamAV = stage.ClamAV{Network: "unix", Address: answering(t, answer), Action: stage.Refuse, MaxSize: 10 << 20}
		_, addr := start(t, o, plain)
		if r := letterTo(t, addr, benchHeader+strings.Repeat(strings.Repeat("x", 70)+"\r\n", 100_000)); !strings.HasPrefix(r, want) {
			t.Errorf("%s: %s", answer, r)
		} else if want[0] != '2' {
			checkEmpty(t, o)
		} else if e := only(t, o.Spool); !e.Quarantined || e.Verdicts[0].Result != "too-big" {
			t.Errorf("%s: %+v", answer, e.Verdicts)
		}
	}
	o := testOptions(t)
	o.Admission.Strangers = []string{"clamav"}
	o.Admission.ClamAV = stage.ClamAV{Network: "unix", Address: filepath.Join(t.TempDir(), "nobody"), MaxSize: 1 << 20}
	_, addr := start(t, o, plain)
	if r := letterTo(t, addr, "x"); !strings.HasPrefix(r, "451 ") {
		t.Errorf("nobody: %s", r)
	}
}

// answering is the socket of a server that says the same to everybody, whatever they send, and ends.
func answering(t testing.TB, text string) string {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "clamd"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.ReadFull(c, make([]byte, 15))
			io.WriteString(c, text)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}
