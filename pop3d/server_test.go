package pop3d

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"posthouse/directory"
	"posthouse/internal/link"
	"posthouse/internal/testkit"
	"posthouse/mail"
	"posthouse/mail/mailtest"
	"posthouse/mailbox"
)

// client is one by hand.
type client struct {
	t testing.TB
	*textproto.Conn
	raw net.Conn
}

func newClient(t testing.TB, conn net.Conn) *client {
	c := &client{t, textproto.NewConn(conn), conn}
	t.Cleanup(func() { c.Close() })
	c.expect("+OK")
	return c
}

func dial(t testing.TB, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return newClient(t, conn)
}

func (c *client) send(line string) {
	c.t.Helper()
	if err := c.PrintfLine("%s", line); err != nil {
		c.t.Fatal(err)
	}
}

// expect reads a line that begins so.
func (c *client) expect(begin string) string {
	c.t.Helper()
	line, err := c.ReadLine()
	if err != nil || !strings.HasPrefix(line, begin) {
		c.t.Fatalf("%q, %v; want %s", line, err, begin)
	}
	return line
}

// do sends a command and expects an answer that begins so.
func (c *client) do(line, begin string) string {
	c.t.Helper()
	c.send(line)
	return c.expect(begin)
}

func (c *client) login(name string) *client {
	c.t.Helper()
	c.do("USER "+name+"@south.test", "+OK")
	c.do("PASS posthouse", "+OK")
	return c
}

// retr is a message as a client has it.
func (c *client) retr(n int) string {
	c.t.Helper()
	c.do(fmt.Sprintf("RETR %d", n), "+OK")
	text, err := io.ReadAll(c.DotReader())
	if err != nil {
		c.t.Fatal(err)
	}
	return string(text)
}

func (c *client) expectEnd() {
	c.t.Helper()
	if line, err := c.ReadLine(); err == nil {
		c.t.Fatalf("%q; want the end", line)
	}
}

// seen are the flags of INBOX: S for Seen, - for not.
func seen(t testing.TB, account mailbox.Account) string {
	t.Helper()
	var b strings.Builder
	for _, m := range inbox(t, account).All() {
		if m.Flags&mailbox.Seen != 0 {
			b.WriteString("S")
		} else {
			b.WriteString("-")
		}
		if m.Flags&mailbox.Deleted != 0 {
			b.WriteString("D")
		}
	}
	return b.String()
}

func fill(t testing.TB, account mailbox.Account, n int) {
	t.Helper()
	for i := range n {
		file(t, account, fmt.Sprintf("Subject: %d\r\n\r\ntext %[1]d\r\n", i+1), "")
	}
}

// What RETR sent is Seen when the session has ended, however it ended; not what TOP sent, nor what was not sent whole.
func TestReadIsSeen(t *testing.T) {
	h := newHouse(t)
	account := h.account("bob")
	fill(t, account, 5)
	_, addr := h.start()
	c := dial(t, addr).login("bob")
	c.retr(1)
	c.retr(2)
	c.do("TOP 3 100", "+OK")
	io.Copy(io.Discard, c.DotReader())
	c.do("DELE 2", "+OK")
	c.do("RSET", "+OK")
	c.do("DELE 4", "+OK")
	if got := seen(t, account); got != "-----" {
		t.Error("before the end:", got)
	}
	c.do("QUIT", "+OK")
	if got := seen(t, account); got != "SS--" {
		t.Error("after QUIT:", got)
	}
	c = dial(t, addr).login("bob")
	c.retr(3)
	c.do("DELE 4", "+OK")
	c.Close()
	testkit.Until(t, "it is seen", func() bool { return seen(t, account) == "SSS-" })
}

// UPDATE removes what was marked, and nothing else: not what others marked as deleted, and not what came meanwhile.
func TestUpdateIsOfTheSession(t *testing.T) {
	h := newHouse(t)
	account := h.account("bob")
	fill(t, account, 4)
	_, addr := h.start()
	c := dial(t, addr).login("bob")
	box := inbox(t, account).Box.ID
	two := mailbox.NewUIDSet(mailbox.UIDRange{First: 2, Last: 2})
	if _, err := account.Apply(t.Context(), mailbox.SetFlags{Box: box, UIDs: two, Marks: mailbox.Marks{System: mailbox.Deleted}}); err != nil {
		t.Fatal(err)
	}
	fill(t, account, 1)
	c.do("DELE 1", "+OK")
	c.do("DELE 4", "+OK")
	c.do("QUIT", "+OK")
	if got := seen(t, account); got != "-D--" {
		t.Error(got)
	}
	c = dial(t, addr).login("bob") // what IMAP marked is there until it is expunged
	c.do("STAT", "+OK 3 ")
}

// What another session removed keeps its number, and cannot be had any more.
func TestRemovedMeanwhile(t *testing.T) {
	h := newHouse(t)
	fill(t, h.account("bob"), 2)
	_, addr := h.start()
	c, other := dial(t, addr).login("bob"), dial(t, addr).login("bob")
	other.do("DELE 1", "+OK")
	other.do("QUIT", "+OK")
	testkit.Until(t, "the content is gone", func() bool {
		c.send("RETR 1")
		line, err := c.ReadLine()
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "+OK") {
			io.Copy(io.Discard, c.DotReader())
			return false
		}
		return line == "-ERR The message was removed meanwhile"
	})
	c.do("STAT", "+OK 2 ")
	if got := c.retr(2); got != "Subject: 2\n\ntext 2\n" {
		t.Errorf("%q", got)
	}
	c.do("DELE 1", "+OK")
	c.do("QUIT", "+OK")
}

// A client that reads slowly is in nobody's way.
func TestSlowReaderHoldsNothing(t *testing.T) {
	h := newHouse(t)
	account := h.account("bob")
	big := "Subject: big\r\n\r\n" + strings.Repeat("0123456789abcde\r\n", 1<<20)
	file(t, account, big, "")
	fill(t, account, 1)
	_, addr := h.start()
	slow := dial(t, addr).login("bob")
	slow.do("RETR 1", "+OK") // and it reads nothing, of more than any socket's buffer
	quick := dial(t, addr).login("bob")
	quick.retr(2)
	quick.do("DELE 1", "+OK")
	quick.do("DELE 2", "+OK")
	quick.do("QUIT", "+OK")
	if n, err := io.Copy(io.Discard, slow.DotReader()); err != nil || n != int64(len(big)-strings.Count(big, "\r")) {
		t.Errorf("%d octets, %v", n, err)
	}
	slow.do("QUIT", "+OK")
}

// failing is a store whose accounts fail to change.
type failing struct{ mailbox.Store }

type failingAccount struct{ mailbox.Account }

func (s failing) Account(ctx context.Context, id mail.AccountID) (mailbox.Account, error) {
	a, err := s.Store.Account(ctx, id)
	return failingAccount{a}, err
}

func (failingAccount) Apply(context.Context, ...mailbox.Mutation) (mailbox.Applied, error) {
	return mailbox.Applied{}, mailbox.ErrFull
}

// brokenAccount has contents that cannot be read to their end.
type brokenAccount struct{ mailbox.Account }

type brokenContent struct{ mail.Content }

func (a brokenAccount) Open(ctx context.Context, id mailbox.BlobID) (mail.Content, error) {
	c, err := a.Account.Open(ctx, id)
	return brokenContent{c}, err
}

func (c brokenContent) ReadAt(p []byte, off int64) (int, error) {
	if off > 200_000 {
		return 0, mailbox.ErrCorrupt
	}
	return c.Content.ReadAt(p, off)
}

// RFC 1939 §6: what could not be removed is not said to be.
func TestQuitThatFails(t *testing.T) {
	h := newHouse(t)
	h.Log = nil
	fill(t, h.account("bob"), 2)
	h.Store = failing{h.Store}
	_, addr := h.start()
	c := dial(t, addr).login("bob")
	c.do("DELE 1", "+OK")
	c.do("QUIT", "-ERR [SYS/TEMP] ")
	c.expectEnd()
	dial(t, addr).login("bob").do("QUIT", "+OK") // there was nothing to do
}

// A message that breaks off in the middle does not look whole.
func TestBrokenMessage(t *testing.T) {
	h := newHouse(t)
	account := h.account("bob")
	file(t, account, "Subject: x\r\n\r\n"+strings.Repeat("line\r\n", 100_000), "")
	h.Log = nil
	s := NewServer(h.Options)
	ours, theirs := net.Pipe()
	l, err := s.hub.Enter(theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer s.hub.Leave(l)
	session := newSession(s, l)
	if session.drop, err = openMaildrop(t.Context(), brokenAccount{account}); err != nil {
		t.Fatal(err)
	}
	go session.serve(t.Context())
	c := newClient(t, ours)
	c.do("RETR 1", "+OK")
	if _, err := io.Copy(io.Discard, c.DotReader()); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

// pipe serves one connection in memory, inside a bubble of synctest; it is over when the session is.
func pipe(t testing.TB, o Options) (c *client, ended <-chan struct{}) {
	t.Helper()
	done := make(chan struct{})
	o.Log, o.Observe.Ended = nil, func() { close(done) }
	ours, theirs := net.Pipe()
	NewServer(o).hub.Admit(theirs)
	return newClient(t, ours), done
}

// RFC 1939 §3: after ten minutes the session ends, and nothing is said or removed; and two minutes are for logging in.
func TestAutologout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		c, ended := pipe(t, Options{})
		c.expectEnd()
		<-ended
		if took := time.Since(began); took != 2*time.Minute {
			t.Errorf("a session of nobody's took %v", took)
		}
	})
	if d := (Limits{}).withDefaults(); d.IdleTime < 10*time.Minute {
		t.Errorf("autologout after %v", d.IdleTime)
	}
	h := newHouse(t)
	account := h.account("bob")
	fill(t, account, 1)
	h.Limits.IdleTime = 200 * time.Millisecond
	_, addr := h.start()
	c := dial(t, addr).login("bob")
	c.do("DELE 1", "+OK")
	c.expectEnd()
	if got := seen(t, account); got != "-" {
		t.Error(got)
	}
}

func TestShutdownAndDisconnect(t *testing.T) {
	h := newHouse(t)
	s, addr := h.start()
	bob, dave := dial(t, addr).login("bob"), dial(t, addr).login("dave")
	who, err := h.directory.Account(t.Context(), mailtest.Address("bob@south.test"))
	if err != nil {
		t.Fatal(err)
	}
	s.Disconnect(who.ID)
	bob.expect("-ERR [SYS/TEMP] Closing; try again later")
	bob.expectEnd()
	dave.do("NOOP", "+OK")
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	dave.expect("-ERR [SYS/TEMP] Closing; try again later")
	dave.expectEnd()
}

// An app password for POP3 lets in here, one for IMAP does not; the session ends with the password.
func TestAppPasswords(t *testing.T) {
	h := newHouse(t)
	_, addr := h.start()
	bob := mailtest.Address("bob@south.test")
	for scope, want := range map[directory.Scope]string{directory.ScopeIMAP | directory.ScopeSMTP: "-ERR [AUTH]", directory.ScopePOP3: "+OK"} {
		p, err := h.directory.AddAppPassword(t.Context(), bob, directory.AppPassword{Scope: scope, Expires: time.Now().Add(2 * time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, addr)
		c.do("USER bob@south.test", "+OK")
		if c.do("PASS "+p.Password, want); want == "+OK" {
			c.expectEnd()
		}
	}
}

// Guesses are delayed, and after some of them the right password is not looked at either: RFC 3206 §4, for another one would not help.
func TestGuesses(t *testing.T) {
	h := newHouse(t)
	h.Limits.LoginDelay = 1
	outcomes := make(chan string, 100)
	h.Observe = link.Observer{Authenticated: func(mechanism string, err error) { outcomes <- fmt.Sprint(mechanism, err == nil) }}
	_, addr := h.start()
	for range 4 {
		c := dial(t, addr)
		for range maxFailedLogins - 1 {
			c.do("USER dave@south.test", "+OK")
			c.do("PASS "+rand.Text(), "-ERR ")
		}
		c.do("AUTH PLAIN", "+ ")
		c.do("*", "-ERR Authentication canceled")
		c.do("AUTH PLAIN", "+ ")
		c.Close()
	}
	c := dial(t, addr)
	c.do("USER dave@south.test", "+OK")
	c.do("PASS posthouse", "-ERR [SYS/TEMP] Too many failures; try again later")
	c.login("bob")
	c.do("QUIT", "+OK")
	close(outcomes)
	got := ""
	for outcome := range outcomes {
		got += outcome + " "
	}
	if got != strings.Repeat("USERfalse ", 13)+"USERtrue " {
		t.Error(got)
	}
}
