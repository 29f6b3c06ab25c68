package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/mail"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"posthouse/internal/testkit"
	"posthouse/spool"
)

// post is posthouse dev on free ports, each house started and stopped on its own.
type post struct {
	dev
	t     *testing.T
	stops map[string]func() error
}

func newPost(t *testing.T) *post {
	t.Helper()
	ports := map[string]netip.AddrPort{}
	p := &post{t: t, stops: map[string]func() error{}}
	p.dev = dev{dir: t.TempDir(), password: devPassword, retry: []time.Duration{50 * time.Millisecond}, log: slog.New(slog.DiscardHandler)}
	p.listen = func(d devHouse, port uint16) netip.AddrPort {
		key := fmt.Sprint(d.name, port)
		if _, ok := ports[key]; !ok {
			ports[key] = netip.MustParseAddrPort(testkit.FreePort(t))
		}
		return ports[key]
	}
	if err := p.open(context.Background()); err != nil {
		t.Fatal(err)
	}
	return p
}

// start lets a house run; it stops with the test, or by stop.
func (p *post) start(name string) {
	p.t.Helper()
	for i, d := range devHouses() {
		if d.name != name {
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		up, down := make(chan struct{}), make(chan error, 1)
		go func() { down <- p.houses[i].run(ctx, func() { close(up) }) }()
		<-up
		stopped := false
		p.stops[name] = func() error {
			if stopped {
				return nil
			}
			stopped = true
			cancel()
			return <-down
		}
		p.t.Cleanup(func() {
			if err := p.stops[name](); err != nil {
				p.t.Error(err)
			}
		})
	}
}

func (p *post) stop(name string) {
	p.t.Helper()
	if err := p.stops[name](); err != nil {
		p.t.Fatal(err)
	}
}

func (p *post) house(name string) *house {
	for i, d := range devHouses() {
		if d.name == name {
			return p.houses[i]
		}
	}
	p.t.Fatalf("no house %s", name)
	return nil
}

func (p *post) addr(house string, port uint16) string {
	for _, d := range devHouses() {
		if d.name == house {
			return p.listen(d, port).String()
		}
	}
	p.t.Fatalf("no house %s", house)
	return ""
}

func (p *post) tls(house string) *tls.Config {
	return &tls.Config{RootCAs: p.ca.Pool(), ServerName: "mail." + house + ".test"}
}

func houseOf(address string) string {
	return strings.TrimSuffix(address[strings.IndexByte(address, '@')+1:], ".test")
}

// send submits a letter over STARTTLS as from's user.
func (p *post) send(from, letter string, to ...string) error {
	house := houseOf(from)
	c, err := smtp.DialStartTLS(p.addr(house, 587), p.tls(house))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Auth(sasl.NewPlainClient("", from, p.password)); err != nil {
		return err
	}
	return c.SendMail(from, to, strings.NewReader(letter))
}

// read logs in over TLS and returns the messages of a mailbox.
func (p *post) read(who, box string) (letters [][]byte) {
	p.t.Helper()
	house := houseOf(who)
	c, err := imapclient.DialTLS(p.addr(house, 993), &imapclient.Options{TLSConfig: p.tls(house)})
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(who, p.password).Wait(); err != nil {
		p.t.Fatal(err)
	}
	return fetchBox(p.t, c, box)
}

// fetchBox returns all messages of a mailbox, whole.
func fetchBox(t *testing.T, c *imapclient.Client, box string) (letters [][]byte) {
	t.Helper()
	selected, err := c.Select(box, nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	if selected.NumMessages == 0 {
		return nil
	}
	whole := &imap.FetchItemBodySection{Peek: true}
	messages, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		letters = append(letters, m.FindBodySection(whole))
	}
	return letters
}

// wait waits until a mailbox holds n letters, and returns them.
func (p *post) wait(who string, n int) (letters [][]byte) {
	p.t.Helper()
	testkit.Until(p.t, fmt.Sprintf("%d letters for %s", n, who), func() bool {
		letters = p.read(who, "INBOX")
		return len(letters) >= n
	})
	if len(letters) != n {
		p.t.Errorf("%s has %d letters, not %d", who, len(letters), n)
	}
	return letters
}

// empty waits until nothing waits in a house's queue.
func (p *post) empty(house string) {
	p.t.Helper()
	testkit.Until(p.t, "an empty queue in "+house, func() bool { return len(p.queue(house)) == 0 })
}

func (p *post) queue(house string) (entries []spool.Entry) {
	p.t.Helper()
	for e, err := range p.house(house).spool.List(context.Background(), spool.Filter{}) {
		if err != nil {
			p.t.Fatal(err)
		}
		entries = append(entries, e)
	}
	return entries
}

func letter(from, to, subject, body string) string {
	return "From: " + from + "\r\nTo: " + to + "\r\nSubject: " + subject + "\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <" + subject + "@test>\r\n\r\n" + body
}

const trickyBody = ".\r\n..\r\n.leading dot\r\nFrom the start\r\n\t tabs and trailing blanks \t \r\n\xe4\xf6\xfc 8 bit\r\n" +
	"a line of 990 octets: \r\n\r\nlast line\r\n"

func TestLetterFromNorthToSouth(t *testing.T) {
	p := newPost(t)
	p.start("north")
	p.start("south")
	body := strings.Replace(trickyBody, "octets: ", "octets: "+strings.Repeat("x", 960), 1)
	if err := p.send("alice@north.test", letter("alice@north.test", "bob@south.test", "tricky", body), "bob@south.test"); err != nil {
		t.Fatal(err)
	}
	got := p.wait("bob@south.test", 1)[0]
	head, gotBody, _ := bytes.Cut(got, []byte("\r\n\r\n"))
	if string(gotBody) != body {
		t.Errorf("the body was changed: %q", gotBody)
	}
	m, err := mail.ReadMessage(bytes.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	h := m.Header
	if n := len(h["Received"]); n != 2 {
		t.Errorf("%d Received fields:\n%s", n, head)
	}
	if n := len(h["Authentication-Results"]); n != 1 {
		t.Errorf("%d Authentication-Results fields:\n%s", n, head)
	}
	for _, want := range []string{"mail.south.test;", "dkim=pass", "spf=pass", "dmarc=pass"} {
		if !strings.Contains(h.Get("Authentication-Results"), want) {
			t.Errorf("no %s in %s", want, h.Get("Authentication-Results"))
		}
	}
	if h.Get("Return-Path") != "<alice@north.test>" || h.Get("Delivered-To") != "bob@south.test" {
		t.Errorf("Return-Path or Delivered-To in\n%s", head)
	}
	if n := len(h["Dkim-Signature"]); n != 2 {
		t.Errorf("%d DKIM-Signature fields, not one for each key:\n%s", n, head)
	}
	p.empty("north")
	p.empty("south")
}

func TestOnceEach(t *testing.T) {
	p := newPost(t)
	p.start("north")
	p.start("south")
	to := []string{"bob@south.test", "carol@north.test", "dave@south.test", "BOB@south.test", "alice@north.test"}
	if err := p.send("alice@north.test", letter("alice@north.test", "all@south.test", "once", "to all\r\n"), to...); err != nil {
		t.Fatal(err)
	}
	p.empty("north")
	p.empty("south")
	for _, who := range []string{"bob@south.test", "carol@north.test", "dave@south.test", "alice@north.test"} {
		p.wait(who, 1)
	}
}

func TestUnknownRecipientComesBackAsDSN(t *testing.T) {
	p := newPost(t)
	p.start("north")
	p.start("south")
	if err := p.send("alice@north.test", letter("alice@north.test", "nobody@south.test", "lost", "?\r\n"), "nobody@south.test", "bob@south.test"); err != nil {
		t.Fatal(err)
	}
	p.wait("bob@south.test", 1)
	dsn := p.wait("alice@north.test", 1)[0]
	m, err := mail.ReadMessage(bytes.NewReader(dsn))
	if err != nil {
		t.Fatal(err)
	}
	if ct := m.Header.Get("Content-Type"); !strings.HasPrefix(ct, "multipart/report") || !strings.Contains(ct, "report-type=delivery-status") {
		t.Errorf("Content-Type: %s", ct)
	}
	if m.Header.Get("Return-Path") != "<>" {
		t.Errorf("Return-Path: %s", m.Header.Get("Return-Path"))
	}
	for _, want := range []string{
		"Final-Recipient: rfc822; nobody@south.test", "Action: failed", "Status: 5.1.1", "Diagnostic-Code: smtp; 550 5.1.1", "Remote-MTA: dns; mail.south.test", "Message-Id: <lost@test>",
	} {
		if !bytes.Contains(bytes.ToLower(dsn), []byte(strings.ToLower(want))) {
			t.Errorf("no %q in\n%s", want, dsn)
		}
	}
	if n := len(m.Header["Dkim-Signature"]); n != 2 {
		t.Errorf("%d signatures on the notice", n)
	}
	if bytes.Contains(dsn, []byte("Final-Recipient: rfc822; bob@south.test")) {
		t.Error("the notice speaks of a recipient who got the letter")
	}
}

// Who asks for it hears of a success, from the host that filed the letter, with what was sent along to recognise it by.
func TestNoticeOfSuccess(t *testing.T) {
	p := newPost(t)
	p.start("north")
	p.start("south")
	c, err := smtp.DialStartTLS(p.addr("north", 587), p.tls("north"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Auth(sasl.NewPlainClient("", "alice@north.test", p.password)); err != nil {
		t.Fatal(err)
	}
	if err := c.Mail("alice@north.test", &smtp.MailOptions{EnvelopeID: "my+id", Return: smtp.DSNReturnHeaders}); err != nil {
		t.Fatal(err)
	}
	for to, notify := range map[string]smtp.DSNNotify{"bob@south.test": smtp.DSNNotifySuccess, "nobody@south.test": smtp.DSNNotifyNever} {
		err := c.Rcpt(to, &smtp.RcptOptions{Notify: []smtp.DSNNotify{notify}, OriginalRecipientType: smtp.DSNAddressTypeRFC822, OriginalRecipient: "first+" + to})
		if err != nil {
			t.Fatal(err)
		}
	}
	w, err := c.Data()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, letter("alice@north.test", "bob@south.test", "confirm", "secret body\r\n"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	notice := string(p.wait("alice@north.test", 1)[0])
	for _, want := range []string{
		"Reporting-Mta: dns; mail.south.test", "Original-Envelope-Id: my+id", "Action: delivered", "Final-Recipient: rfc822; bob@south.test",
		"Original-Recipient: rfc822; first+bob@south.test", "text/rfc822-headers", "Subject: confirm",
	} {
		if !strings.Contains(strings.ToLower(notice), strings.ToLower(want)) {
			t.Errorf("no %q in\n%s", want, notice)
		}
	}
	if strings.Contains(notice, "secret body") {
		t.Error("RET=HDRS was asked for, and the body came back")
	}
	p.empty("north")
	p.wait("alice@north.test", 1) // and nothing of nobody, who was never to be heard of
}

func TestRemoteIsDownForAWhile(t *testing.T) {
	p := newPost(t)
	p.start("north")
	p.start("south")
	p.stop("south")
	if err := p.send("alice@north.test", letter("alice@north.test", "bob@south.test", "later", "patience\r\n"), "bob@south.test"); err != nil {
		t.Fatal(err)
	}
	testkit.Until(t, "a second attempt", func() bool {
		q := p.queue("north")
		return len(q) == 1 && q[0].Recipients[0].Attempts >= 2
	})
	if r := p.queue("north")[0].Recipients[0]; !strings.Contains(r.LastReply, "refused") || r.Due.IsZero() {
		t.Errorf("%+v", r)
	}
	again := &post{t: t, stops: p.stops, dev: p.dev}
	again.houses = p.houses[:1:1]
	if err := again.openHouse(context.Background(), devHouses()[1], devHouses()[0]); err != nil {
		t.Fatal(err)
	}
	again.start("south")
	again.wait("bob@south.test", 1)
}

// A letter that was answered is there after the house was stopped in an orderly way, wherever it was.
func TestEverythingIsThereAfterARestart(t *testing.T) {
	p := newPost(t)
	p.start("south")
	if err := p.send("bob@south.test", letter("bob@south.test", "alice@north.test", "one", "to a house that is down\r\n"), "alice@north.test", "dave@south.test"); err != nil {
		t.Fatal(err)
	}
	p.wait("dave@south.test", 1)
	p.stop("south")
	again := &post{t: t, stops: p.stops, dev: p.dev}
	again.houses = p.houses[:1:1]
	if err := again.openHouse(context.Background(), devHouses()[1], devHouses()[0]); err != nil {
		t.Fatal(err)
	}
	again.start("south")
	again.wait("dave@south.test", 1)
	again.start("north")
	again.wait("alice@north.test", 1)
}

func TestSubmissionIsForOwnAddressesOnly(t *testing.T) {
	p := newPost(t)
	p.start("north")
	for _, c := range []struct{ from, header, to string }{
		{"alice@north.test", "carol@north.test", "bob@south.test"},
		{"alice@north.test", "alice@south.test", "bob@south.test"},
		{"alice@north.test", "<carol@north.test> <alice@north.test>", "bob@south.test"},
	} {
		err := p.send(c.from, letter(c.header, c.to, "forged", "\r\n"), c.to)
		var refused *smtp.SMTPError
		if !errors.As(err, &refused) || refused.Code != 550 || !strings.Contains(refused.Message, strings.Trim(strings.Fields(c.header)[0], "<>")) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	c, err := smtp.Dial(p.addr("north", 25))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.SendMail("alice@north.test", []string{"bob@south.test"}, strings.NewReader("x\r\n"))
	var refused *smtp.SMTPError
	if !errors.As(err, &refused) || refused.Code != 550 {
		t.Errorf("an open relay: %v", err)
	}
}

// What the MX gets from a stranger who claims our results is not believed, and forgeries that DMARC rejects are refused.
func TestForgeries(t *testing.T) {
	p := newPost(t)
	p.start("south")
	if err := p.zone.Add("stranger.test. TXT \"v=spf1 -all\"\n_dmarc.stranger.test. TXT \"v=DMARC1; p=reject\"\n"); err != nil {
		t.Fatal(err)
	}
	deliver := func(from, letter string) error {
		c, err := smtp.Dial(p.addr("south", 25))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.SendMail(from, []string{"bob@south.test"}, strings.NewReader(letter))
	}
	err := deliver("x@stranger.test", letter("x@stranger.test", "bob@south.test", "forged", "\r\n"))
	var refused *smtp.SMTPError
	if !errors.As(err, &refused) || refused.Code != 550 {
		t.Errorf("a forgery: %v", err)
	}
	claim := "Return-Path: <root@bank.test>\r\nAuthentication-Results: mail.south.test; dkim=pass header.d=bank.test\r\nReturn-Path:\r\n <x@bank.test>\r\n"
	if err := deliver("x@unknown.test", claim+letter("x@unknown.test", "bob@south.test", "claim", "\r\n")); err != nil {
		t.Fatal(err)
	}
	got := p.wait("bob@south.test", 1)[0]
	if n := bytes.Count(got, []byte("Return-Path:")); n != 1 || bytes.Contains(got, []byte("bank.test")) {
		t.Errorf("what a stranger claims was kept:\n%s", got)
	}
}
