package delivery

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"posthouse/crypto/password"
	"posthouse/directory"
	"posthouse/internal/dns"
	"posthouse/mail"
	"posthouse/mail/mailtest"
	"posthouse/mailbox"
	"posthouse/spool"
)

// house is a whole one but for its doors: spool, directory and mailboxes are real, other hosts are sinks in memory.
type house struct {
	*testing.T
	mover     *Mover
	spool     spool.Spool
	directory *directory.SQLite
	store     *mailbox.SQLite
	network   network
	stop      context.CancelFunc
	ended     chan error
}

const zone = `
south.test. MX 10 mail.south.test.
mail.south.test. A 192.0.2.1
slow.test. A 192.0.2.2
null.test. MX 0 .
`

// inHouse runs f in a house that moves mail, with time of its own.
func inHouse(t *testing.T, o Options, f func(h *house)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := &house{T: t, network: network{"192.0.2.1:25": {}}}
		h.open(dir, o)
		h.run()
		f(h)
		h.close()
	})
}

func (h *house) open(dir string, o Options) {
	z, err := dns.ParseZone(zone)
	h.check(err)
	h.directory, err = directory.Open(dir+"/directory.db", directory.Options{Cost: password.Cost{Time: 1, Memory: 8, Iterations: 4096}})
	h.check(err)
	h.store, err = mailbox.OpenSQLite(mailbox.Options{Dir: dir + "/accounts"})
	h.check(err)
	h.check(h.directory.AddDomain(h.Context(), directory.Domain{Name: "north.test"}))
	for _, name := range []string{"alice", "carol"} {
		_, err := h.directory.AddAccount(h.Context(), mailtest.Address(name+"@north.test"), "posthouse")
		h.check(err)
	}
	o.Hostname, o.Directory, o.Store, o.Resolver = "mail.north.test", h.directory, h.store, z
	o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		return h.network.dial(ctx, network, address)
	}
	h.mover, err = New(o)
	h.check(err)
	h.spool, err = spool.OpenSQLite(spool.Options{Dir: dir + "/spool", Destination: h.mover.Destination})
	h.check(err)
}

func (h *house) run() {
	var ctx context.Context
	ctx, h.stop = context.WithCancel(context.Background())
	h.ended = make(chan error, 1)
	go func() { h.ended <- h.mover.Run(ctx, h.spool) }()
}

func (h *house) close() {
	h.Helper()
	h.stop()
	h.check(<-h.ended)
	for _, s := range h.network {
		s.serving.Wait()
	}
	h.check(errors.Join(h.spool.Close(), h.store.Close(), h.directory.Close()))
}

func (h *house) check(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

const text = "Subject: hello\r\nMessage-ID: <1@north.test>\r\n\r\nThe body.\r\n"

// send commits a message; change makes another of it.
func (h *house) send(change func(*mail.Envelope), to ...string) mail.ID {
	h.Helper()
	env := mail.Envelope{From: mailtest.Address("alice@north.test"), MessageID: "1@north.test"}
	for _, s := range to {
		env.To = append(env.To, mail.Recipient{Address: mailtest.Address(s)})
	}
	if change != nil {
		change(&env)
	}
	d, err := h.spool.Create(h.Context(), env)
	h.check(err)
	_, err = io.WriteString(d, text)
	h.check(err)
	id, err := d.Commit(h.Context())
	h.check(err)
	return id
}

// queue is what is in the queue, dead or not.
func (h *house) queue() (entries []spool.Entry) {
	h.Helper()
	for e, err := range h.spool.List(h.Context(), spool.Filter{States: []spool.State{spool.Ready, spool.Leased, spool.Held, spool.Dead, spool.Done}}) {
		h.check(err)
		entries = append(entries, e)
	}
	return entries
}

// inbox is what is in the inbox of an account.
func (h *house) inbox(login string) (messages []string) {
	h.Helper()
	ctx := h.Context()
	who, err := h.directory.Account(ctx, mailtest.Address(login))
	h.check(err)
	a, err := h.store.Account(ctx, who.ID)
	h.check(err)
	defer a.Close()
	box, err := a.Box(ctx, mailbox.Inbox)
	h.check(err)
	s, err := a.Snapshot(ctx, box.ID)
	h.check(err)
	for _, m := range s.All() {
		c, err := a.Open(ctx, m.Blob)
		h.check(err)
		var b bytes.Buffer
		_, err = io.Copy(&b, io.NewSectionReader(c, 0, c.Size()))
		h.check(errors.Join(err, c.Close()))
		messages = append(messages, b.String())
	}
	return messages
}

// has checks that a text has parts.
func (h *house) has(text string, parts ...string) {
	h.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			h.Errorf("no %q in\n%s", p, text)
		}
	}
}

// alias makes an address stand for others.
func (h *house) alias(address string, targets ...string) {
	h.Helper()
	for _, target := range targets {
		h.check(h.directory.AddAlias(h.Context(), directory.Alias{Address: mailtest.Address(address), Target: mailtest.Address(target)}))
	}
}

// TestSignedAgain: a converted message is signed for the domain that it was signed for before, and a stranger's not at all.
func TestSignedAgain(t *testing.T) {
	m := &Mover{opts: Options{Sign: func(domain string, _ io.ReaderAt, _ int64) ([]byte, error) { return []byte(domain), nil }}}
	for want, env := range map[string]mail.Envelope{
		"author.test": {From: mailtest.Address("bob@sender.test"), Verdicts: []mail.Verdict{{Stage: "originator", Result: "pass"}, {Stage: mail.SignStage, Result: mail.Signed, Detail: "author.test"}}},
		"":            {From: mailtest.Address("bob@author.test"), Verdicts: []mail.Verdict{{Stage: mail.SignStage, Result: "none", Detail: "author.test has no key here"}}},
	} {
		if got, err := m.signAgain(&env, strings.NewReader(""), 0); err != nil || string(got) != want {
			t.Errorf("%q, want %q (%v)", got, want, err)
		}
	}
}
