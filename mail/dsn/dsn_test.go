package dsn

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	phmail "posthouse/mail"
	"posthouse/mail/mailtest"
	"posthouse/mail/smtp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// report is a bounce on a small message; change makes another of it.
func report(t testing.TB, change func(*Report)) *Report {
	r := &Report{
		Hostname:   "mail.north.test",
		Postmaster: mailtest.Address("postmaster@north.test"),
		Original: phmail.Envelope{
			From:      mailtest.Address("alice@north.test"),
			EnvID:     "QQ314159",
			MessageID: "1@north.test",
			Received:  time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC),
			Origin:    phmail.Origin{HELO: "client.north.test"},
		},
		Recipients: []Recipient{{
			Recipient:   phmail.Recipient{Address: mailtest.Address("nobody@south.test"), Original: "rfc822;Nobody@south.test"},
			Action:      Failed,
			Status:      smtp.Enhanced{5, 1, 1},
			RemoteMTA:   "mail.south.test",
			Diagnostic:  "550 5.1.1 no such user here; " + strings.Repeat("this is a long explanation ", 10) + "\x07caf\u00e9",
			LastAttempt: time.Date(2024, 1, 2, 3, 5, 0, 0, time.UTC),
		}},
		Content: strings.NewReader("Subject: hello\r\nFrom: alice@north.test\r\n\r\nThe body.\r\n"),
		ID:      12345,
		Time:    time.Date(2024, 1, 2, 3, 5, 1, 0, time.UTC),
	}
	if change != nil {
		change(r)
	}
	return r
}

func compose(t testing.TB, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	for line := range strings.SplitAfterSeq(text, "\n") {
		if line != "" && !strings.HasSuffix(line, "\r\n") || strings.Count(line, "\r") > 1 || len(line) > 1000 {
			t.Errorf("a bad line: %q", line)
		}
	}
	return text
}

// parsed is a notice as the standard library reads it.
type parsed struct {
	header mail.Header
	types  []string
	parts  []string
}

func parse(t testing.TB, text string) (p parsed) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	p.header = m.Header
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatal(kind, params, err)
	}
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		part, err := r.NextPart()
		if err == io.EOF {
			return p
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		p.types = append(p.types, part.Header.Get("Content-Type"))
		p.parts = append(p.parts, string(b))
	}
}

// groups are the field groups of a delivery-status.
func groups(t testing.TB, text string) (all []textproto.MIMEHeader) {
	t.Helper()
	for group := range strings.SplitSeq(strings.TrimSuffix(text, "\r\n\r\n"), "\r\n\r\n") {
		m, err := mail.ReadMessage(strings.NewReader(group + "\r\n\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, textproto.MIMEHeader(m.Header))
	}
	return all
}

func TestGolden(t *testing.T) {
	for name, change := range map[string]func(*Report){
		"failed": nil,
		"delayed": func(r *Report) {
			r.Recipients[0].Action, r.Recipients[0].Status = Delayed, smtp.Enhanced{4, 4, 1}
			r.Recipients[0].RemoteMTA, r.Recipients[0].Diagnostic = "", "451 4.4.1 no answer from mail.south.test"
			r.Recipients[0].RetryUntil = r.Time.Add(5 * 24 * time.Hour)
		},
		"utf8": func(r *Report) {
			r.Original.UTF8 = true
			r.Original.From = mailtest.Address("ジョー@north.test")
			r.Recipients[0].Recipient = phmail.Recipient{Address: mailtest.Address("用户@south.test"), Original: "utf-8;用户@south.test"}
			r.Content = strings.NewReader("Subject: 你好\r\n\r\nThe body.\r\n")
			r.Original.Return = phmail.ReturnHeaders
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := compose(t, report(t, change))
			_, params, err := mime.ParseMediaType(parse(t, got).header.Get("Content-Type"))
			if err != nil {
				t.Fatal(err)
			}
			got = strings.ReplaceAll(strings.ReplaceAll(got, params["boundary"], "BOUNDARY"), "\r\n", "\n")
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || got != string(want) {
				t.Errorf("%v\n%s\nwant\n%s", err, got, want)
			}
		})
	}
}

func TestReadBack(t *testing.T) {
	r := report(t, func(r *Report) {
		r.Recipients = append(r.Recipients, Recipient{
			Recipient: phmail.Recipient{Address: mailtest.Address("bob@south.test")}, Action: Relayed, Status: smtp.Enhanced{2, 0, 0},
		})
	})
	p := parse(t, compose(t, r))
	for name, want := range map[string]string{
		"From": "Mail Delivery System <MAILER-DAEMON@mail.north.test>", "To": "<alice@north.test>", "Auto-Submitted": "auto-replied",
		"References": "<1@north.test>", "Message-Id": "<" + r.Envelope().MessageID + ">", "Subject": subjects[Failed],
	} {
		if got := p.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if strings.Join(p.types, " | ") != "text/plain; charset=utf-8 | message/delivery-status | message/rfc822" {
		t.Error(p.types)
	}
	if !strings.Contains(p.parts[0], "550 5.1.1 no such user") || !strings.Contains(p.parts[0], "bob@south.test") {
		t.Error(p.parts[0])
	}
	if p.parts[2] != "Subject: hello\r\nFrom: alice@north.test\r\n\r\nThe body.\r\n" {
		t.Errorf("%q", p.parts[2])
	}
	g := groups(t, p.parts[1])
	for i, want := range []map[string]string{
		{"Reporting-Mta": "dns; mail.north.test", "Original-Envelope-Id": "QQ314159", "Arrival-Date": "Tue, 2 Jan 2024 03:04:05 +0000"},
		{"Original-Recipient": "rfc822; Nobody@south.test", "Final-Recipient": "rfc822; nobody@south.test", "Action": "failed",
			"Status": "5.1.1", "Remote-Mta": "dns; mail.south.test", "Will-Retry-Until": ""},
		{"Final-Recipient": "rfc822; bob@south.test", "Action": "relayed", "Status": "2.0.0", "Remote-Mta": "", "Diagnostic-Code": ""},
	} {
		for name, value := range want {
			if got := g[i].Get(name); got != value {
				t.Errorf("group %d, %s: %q, want %q", i, name, got, value)
			}
		}
	}
	if code := g[1].Get("Diagnostic-Code"); !strings.HasPrefix(code, "smtp; 550 5.1.1 no such user here; ") || !strings.HasSuffix(code, " ?caf?") {
		t.Errorf("%q", code)
	}
}

// TestAskedFor: RFC 2852 §5, RFC 4865 §5.1.2. A notice says by when the message was to come, and that it was held.
func TestAskedFor(t *testing.T) {
	r := report(t, func(r *Report) {
		r.Original.By = &phmail.DeliverBy{Time: r.Time.Add(time.Hour)}
		r.Original.Hold = "for;60"
	})
	g := groups(t, parse(t, compose(t, r)).parts[1])[0]
	if by, hold := g.Get("Deliver-By-Date"), g.Get("Future-Release-Request"); by != "Tue, 2 Jan 2024 04:05:01 +0000" || hold != "for;60" {
		t.Errorf("%q, %q", by, hold)
	}
}

func TestEnvelope(t *testing.T) {
	env := report(t, nil).Envelope()
	if !env.From.IsNull() || len(env.To) != 1 || env.To[0].Address != mailtest.Address("alice@north.test") || env.To[0].Notify != phmail.NotifyNever {
		t.Errorf("%+v", env)
	}
}

// TestWhatIsReturned: RFC 3461 §4.3 and §6.2.
func TestWhatIsReturned(t *testing.T) {
	small, large, huge := "A: b\r\n\r\nbody\r\n", "A: b\r\n\r\n"+strings.Repeat("body\r\n", 20_000), "A: b\r\n\r\n"+strings.Repeat("body\r\n", 200_000)
	for _, c := range []struct {
		name    string
		content string
		ret     phmail.Return
		action  Action
		body    phmail.Body
		full    bool
	}{
		{"small, not said", small, phmail.ReturnDefault, Failed, 0, true},
		{"large, not said", large, phmail.ReturnDefault, Failed, 0, false},
		{"large, FULL", large, phmail.ReturnFull, Failed, 0, true},
		{"huge, FULL", huge, phmail.ReturnFull, Failed, 0, false},
		{"small, HDRS", small, phmail.ReturnHeaders, Failed, 0, false},
		{"delayed, FULL", small, phmail.ReturnFull, Delayed, 0, false},
		{"delivered, not said", small, phmail.ReturnDefault, Delivered, 0, false},
		{"binary", small, phmail.ReturnFull, Failed, phmail.BodyBinaryMIME, false},
	} {
		p := parse(t, compose(t, report(t, func(r *Report) {
			r.Content, r.Original.Return, r.Original.Body, r.Recipients[0].Action = strings.NewReader(c.content), c.ret, c.body, c.action
		})))
		want, kind := "A: b\r\n", "text/rfc822-headers"
		if c.full {
			want, kind = c.content, "message/rfc822"
		}
		if p.types[2] != kind || strings.TrimSuffix(p.parts[2], "\r\n") != strings.TrimSuffix(want, "\r\n") {
			t.Errorf("%s: %s, %d octets, want %d", c.name, p.types[2], len(p.parts[2]), len(want))
		}
	}
}

// TestHostileWords: nothing a remote or a sender says becomes a field or a part of ours.
func TestHostileWords(t *testing.T) {
	evil := "x\r\nFinal-Recipient: rfc822; eve@evil.test\r\n\r\n--b\r\nAction: delivered"
	p := parse(t, compose(t, report(t, func(r *Report) {
		r.Original.MessageID, r.Original.EnvID, r.Original.Origin.HELO = "a>\r\nX-Evil: 1", "", evil
		r.Recipients[0].Diagnostic, r.Recipients[0].RemoteMTA = evil+strings.Repeat(" endless", 10_000), evil
		r.Recipients[0].Original = "rfc822;" + evil
	})))
	if len(p.parts) != 3 || p.header.Get("X-Evil") != "" || p.header.Get("References") != "" {
		t.Errorf("%d parts, %v", len(p.parts), p.header)
	}
	g := groups(t, p.parts[1])
	if len(g) != 2 || len(g[1]["Final-Recipient"]) != 1 || len(g[1]["Action"]) != 1 || len(p.parts[1]) > 10_000 {
		t.Errorf("%d groups, %v", len(g), g)
	}
}

func TestManyRecipients(t *testing.T) {
	p := parse(t, compose(t, report(t, func(r *Report) {
		for range 999 {
			r.Recipients = append(r.Recipients, r.Recipients[0])
		}
	})))
	if n := len(groups(t, p.parts[1])); n != 1001 {
		t.Errorf("%d groups", n)
	}
	if !strings.Contains(p.parts[0], "and 950 more.") {
		t.Error("the text names too many, or does not say how many")
	}
}

func TestHeaderWithoutEnd(t *testing.T) {
	for _, content := range []string{"", "A: b\r\n", "A: b\r\nB", strings.Repeat("A: b\r\n", 100_000)} {
		p := parse(t, compose(t, report(t, func(r *Report) {
			r.Content, r.Original.Return = strings.NewReader(content), phmail.ReturnHeaders
		})))
		if !strings.HasPrefix(content, p.parts[2]) || len(p.parts[2]) > maxHeader {
			t.Errorf("%d octets: %.50q", len(p.parts[2]), p.parts[2])
		}
	}
}

// damaged is a message of which nothing can be read.
type damaged struct{}

func (damaged) Size() int64                       { return 1000 }
func (damaged) ReadAt([]byte, int64) (int, error) { return 0, errors.New("input/output error") }

func TestDamagedMessage(t *testing.T) {
	text := compose(t, report(t, func(r *Report) { r.Content = damaged{} }))
	if !strings.Contains(text, "Status: 5.1.1\r\n") || !strings.Contains(text, "Content-Type: text/rfc822-headers\r\n") {
		t.Error(text)
	}
}

// TestRequiredTLS: RFC 8689 §5. The notice asks for what the message asked for, and no more of it goes back than its header; RFC 6710 §4.6:
// it has the message's priority.
func TestRequiredTLS(t *testing.T) {
	r := report(t, func(r *Report) {
		r.Original.TLS, r.Original.Priority, r.Original.Return = phmail.TLSRequired, 3, phmail.ReturnFull
	})
	if env := r.Envelope(); env.TLS != phmail.TLSRequired || env.Priority != 3 {
		t.Errorf("%+v", env)
	}
	if text := compose(t, r); !strings.Contains(text, "text/rfc822-headers") || strings.Contains(text, "The body.") {
		t.Error(text)
	}
	if env := report(t, func(r *Report) { r.Original.TLS = phmail.TLSIgnored }).Envelope(); env.TLS != phmail.TLSByPolicy {
		t.Errorf("%+v", env)
	}
}

// TestAddressInASCII: RFC 6533 §3. The address of a recipient in UTF-8 stands in a notice that is not, in its other form.
func TestAddressInASCII(t *testing.T) {
	text := compose(t, report(t, func(r *Report) { r.Recipients[0].Address = mailtest.Address("\u0436@south.test") }))
	if want := `Final-Recipient: utf-8; \x{436}@south.test`; !strings.Contains(text, want) {
		t.Errorf("no %s in\n%s", want, text)
	}
}
