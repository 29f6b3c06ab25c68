package imapd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"posthouse/mail"
	"posthouse/mail/mailtest"
	"posthouse/mailbox"
)

// gated is a store whose bodies are not read before each reader is let in.
type gated struct {
	mailbox.Store
	in      chan struct{} // lets one in
	waiting atomic.Int64  // readers
	broken  bool          // who is let in panics
}

type gatedAccount struct {
	mailbox.Account
	gate   *gated
	closed atomic.Bool
}

func (g *gated) Account(ctx context.Context, id mail.AccountID) (mailbox.Account, error) {
	a, err := g.Store.Account(ctx, id)
	return &gatedAccount{Account: a, gate: g}, err
}

func (g *gated) AccountAs(ctx context.Context, id, user mail.AccountID) (mailbox.Account, error) {
	a, err := g.Store.AccountAs(ctx, id, user)
	return &gatedAccount{Account: a, gate: g}, err
}

func (a *gatedAccount) Facts(ctx context.Context, want mailbox.FactSet, blobs iter.Seq[mailbox.BlobID]) iter.Seq2[*mailbox.Facts, error] {
	if want&mailbox.WantParts == 0 {
		return a.Account.Facts(ctx, want, blobs)
	}
	a.gate.waiting.Add(1)
	select {
	case <-a.gate.in:
	case <-ctx.Done():
	}
	a.gate.waiting.Add(-1)
	switch {
	case a.gate.broken:
		panic("on purpose")
	case a.closed.Load():
		return func(yield func(*mailbox.Facts, error) bool) { yield(nil, mailbox.ErrClosed) }
	}
	return a.Account.Facts(ctx, want, blobs)
}

func (a *gatedAccount) Close() error {
	a.closed.Store(true)
	return a.Account.Close()
}

// besideGame is a server in a bubble of synctest, with three messages in bob's INBOX.
type besideGame struct {
	t      *testing.T
	o      Options
	server *Server
	gate   *gated
	ended  atomic.Int64 // sessions
}

func playBeside(t *testing.T, play func(*testing.T, *besideGame)) {
	t.Helper()
	mustHouse(t) // which outlives the bubble
	synctest.Test(t, func(t *testing.T) {
		g := &besideGame{t: t, o: testOptionsOf(t, unindexed())}
		g.o.Log = slog.New(slog.DiscardHandler)
		g.gate = &gated{Store: g.o.Store, in: make(chan struct{})}
		g.o.Store = g.gate
		grant(t, &g.o, "dave@south.test INBOX bob@south.test lr")
		g.o.Observe.Ended = func() { g.ended.Add(1) }
		g.server = NewServer(g.o)
		defer func() { // also after a failure
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			g.server.Shutdown(ctx) //nolint:errcheck // it cuts off
		}()
		c := g.client()
		for i := range 3 {
			c.send(fmt.Sprintf("p APPEND INBOX {%d+}\r\n%s\r\n", len(benchMessage(i)), benchMessage(i)))
			c.until("p OK")
		}
		c.send("q LOGOUT\r\n")
		c.until("q OK")
		play(t, g)
	})
}

// letIn lets one search read.
func (g *besideGame) letIn() {
	g.t.Helper()
	synctest.Wait()
	select {
	case g.gate.in <- struct{}{}:
	default:
		g.t.Fatal("nobody reads")
	}
}

// client is logged in and has INBOX selected.
func (g *besideGame) client() *heardClient {
	g.t.Helper()
	ours, theirs := net.Pipe()
	g.server.hub.Admit(theirs)
	c := &heardClient{t: g.t, conn: ours}
	go c.hear()
	c.send("l LOGIN bob@south.test posthouse\r\ns SELECT INBOX\r\n")
	c.until("s OK")
	return c
}

// heardClient hears all that comes, at once: so that nobody waits to be heard.
type heardClient struct {
	t    *testing.T
	conn net.Conn

	mu    sync.Mutex
	all   bytes.Buffer
	ended bool
}

func (c *heardClient) hear() {
	b := make([]byte, 4096)
	for {
		n, err := c.conn.Read(b)
		c.mu.Lock()
		c.all.Write(b[:n])
		c.ended = err != nil
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (c *heardClient) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatal(err)
	}
}

// heard is what has come since it was asked last, when nothing more can come by itself.
func (c *heardClient) heard() string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.all.Reset()
	return c.all.String()
}

func (c *heardClient) until(prefix string) {
	c.t.Helper()
	if all := c.heard(); !strings.Contains(all, "\n"+prefix) && !strings.HasPrefix(all, prefix) {
		c.t.Fatalf("no %q in %q", prefix, all)
	}
}

// expect is what has come, and nothing else.
func (c *heardClient) expect(lines ...string) {
	c.t.Helper()
	want := strings.Join(append(slices.Clone(lines), ""), "\r\n")
	if got := c.heard(); got != want {
		c.t.Fatalf("heard\n%s, want\n%s", got, want)
	}
}

func (c *heardClient) expectEnd() {
	c.t.Helper()
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.t.Error("the session has not ended")
	}
}

// RFC 9051 §5.5: what does not depend on a search is answered while it reads bodies, and the search as soon as it is done, though its
// client says nothing more.
func TestCommandsBesideSearch(t *testing.T) {
	playBeside(t, func(t *testing.T, g *besideGame) {
		c := g.client()
		c.send("a SEARCH BODY hello\r\nb FETCH 2 UID\r\nc UID FETCH 3 UID\r\nd STATUS Sent (MESSAGES)\r\ne NOOP\r\nf SEARCH RETURN (COUNT) ALL\r\n")
		c.expect("* 2 FETCH (UID 2)", "b OK FETCH completed", "* 3 FETCH (UID 3)", "c OK FETCH completed",
			"* STATUS Sent (MESSAGES 0)", "d OK STATUS completed", "e OK NOOP completed",
			`* ESEARCH (TAG "f") COUNT 3`, "f OK SEARCH completed")
		g.letIn()
		c.expect("* SEARCH 1 2 3", "a OK SEARCH completed")
	})
}

// searched is the answer to the search that most of these tests begin with.
func searched(tag string) []string { return []string{"* SEARCH 1 2 3", tag + " OK SEARCH completed"} }

// begin begins a search that reads bodies.
func (c *heardClient) begin(command string) {
	c.t.Helper()
	c.send(command + "\r\n")
	c.expect()
}

// RFC 9051 §5.5: what changes something, or goes by what a search leaves behind, waits; what comes after it too.
func TestCommandsThatWaitForSearch(t *testing.T) {
	for _, command := range []string{
		"STORE 1 +FLAGS.SILENT (x)", "UID STORE 1 +FLAGS.SILENT (x)", "COPY 1 Sent", "MOVE 1 Sent", "EXPUNGE", "UID EXPUNGE 1", "CLOSE", "UNSELECT",
		"SELECT INBOX", "EXAMINE Sent", "CREATE x", "APPEND INBOX {3+}\r\nabc", "IDLE\r\nDONE", "NOTIFY NONE", "ENABLE UIDONLY", "UNAUTHENTICATE",
		"SEARCH ALL", "UID SEARCH ALL", "SORT (DATE) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL", "LOGOUT",
	} {
		t.Run(command, func(t *testing.T) {
			playBeside(t, func(t *testing.T, g *besideGame) {
				c := g.client()
				c.begin("a SEARCH BODY hello")
				c.send("b " + command + "\r\nc NOOP\r\n")
				c.expect()
				g.letIn()
				all := c.heard()
				rest, found := strings.CutPrefix(all, strings.Join(append(searched("a"), ""), "\r\n"))
				if !found || !strings.Contains(rest, "\r\nb OK") && !strings.HasPrefix(rest, "b OK") {
					t.Errorf("heard\n%s", all)
				}
			})
		})
	}
}

// RFC 9051 §6.4.4.4: "$" is what the search before found, which therefore is waited for.
func TestSearchThatSavesIsWaitedFor(t *testing.T) {
	playBeside(t, func(t *testing.T, g *besideGame) {
		c := g.client()
		c.begin("a UID SEARCH RETURN (SAVE) TEXT \"number 2\"\r\nb UID FETCH $ (UID)")
		g.letIn()
		c.expect("a OK SEARCH completed", "* 3 FETCH (UID 3)", "b OK FETCH completed")
	})
}

// Searches whose answers say what they are answers to run side by side, up to a bound.
func TestSearchesSideBySide(t *testing.T) {
	playBeside(t, func(t *testing.T, g *besideGame) {
		c := g.client()
		want := []string{"* 1 FETCH (UID 1)", "f OK FETCH completed"}
		for i := range maxErrands {
			c.begin(fmt.Sprintf("a%d SEARCH RETURN (COUNT) BODY hello", i))
		}
		c.send("f FETCH 1 UID\r\n")
		c.expect(want...)
		c.begin("last UID SORT RETURN (COUNT) (SUBJECT) UTF-8 BODY hello\r\nf FETCH 1 UID")
		g.letIn()
		all := c.heard()
		if strings.Count(all, " COUNT 3\r\n") != 1 || !strings.HasSuffix(all, strings.Join(append(want, ""), "\r\n")) {
			t.Errorf("heard\n%s", all)
		}
		for range maxErrands {
			g.letIn()
		}
		if all = c.heard(); strings.Count(all, " COUNT 3\r\n") != maxErrands || !strings.Contains(all, "last OK SORT completed") {
			t.Errorf("heard\n%s", all)
		}
	})
}

// What SORT and THREAD make of what they find.
func TestSortAndThreadBeside(t *testing.T) {
	playBeside(t, func(t *testing.T, g *besideGame) {
		c := g.client()
		for command, want := range map[string]string{
			"SORT (REVERSE SUBJECT) UTF-8 BODY hello":         "* SORT 3 2 1",
			"UID THREAD ORDEREDSUBJECT UTF-8 TEXT \"number\"": "* THREAD (1)(2)(3)",
		} {
			c.begin("a " + command)
			c.send("b NOOP\r\n")
			c.expect("b OK NOOP completed")
			g.letIn()
			if all := c.heard(); !strings.HasPrefix(all, want+"\r\na OK") {
				t.Errorf("%s: %s", command, all)
			}
		}
	})
}

// RFC 9051 §5.5, §7.5.1: while a search has sequence numbers no EXPUNGE is told, whatever other commands allow; it tells the numbers that
// the client knows, though some of these messages are gone.
func TestSearchHoldsExpungeBack(t *testing.T) {
	for _, prefix := range []string{"", "UID "} {
		t.Run(prefix, func(t *testing.T) {
			playBeside(t, func(t *testing.T, g *besideGame) {
				c, other := g.client(), g.client()
				c.begin("a " + prefix + "SEARCH TEXT \"number 2\"")
				other.send("d STORE 1 +FLAGS.SILENT (\\Deleted)\r\ne EXPUNGE\r\n")
				other.until("e OK")
				c.send("b NOOP\r\nc UID FETCH 3 UID\r\nd CHECK\r\n")
				c.expect("b OK NOOP completed", "* 3 FETCH (UID 3)", "c OK FETCH completed", "d OK CHECK completed")
				g.letIn()
				if prefix == "" {
					c.expect("* SEARCH 3", "a OK SEARCH completed")
					c.send("f NOOP\r\n")
					c.expect("* 1 EXPUNGE", "f OK NOOP completed")
				} else {
					c.expect("* SEARCH 3", "* 1 EXPUNGE", "a OK SEARCH completed")
				}
			})
		})
	}
}

// With UIDONLY there are no numbers that could be wrong: RFC 9586.
func TestSearchByUIDOnlyHoldsNothingBack(t *testing.T) {
	playBeside(t, func(t *testing.T, g *besideGame) {
		c, other := g.client(), g.client()
		c.send("u ENABLE UIDONLY\r\n")
		c.until("u OK")
		c.begin("a UID SORT RETURN (ALL) (REVERSE SUBJECT) UTF-8 OR TEXT \"number 1\" TEXT \"number 2\"")
		other.send("d STORE 1 +FLAGS.SILENT (\\Deleted)\r\ne EXPUNGE\r\n")
		other.until("e OK")
		c.send("b NOOP\r\n")
		c.expect("* VANISHED 1", "b OK NOOP completed")
		g.letIn()
		c.expect(`* ESEARCH (TAG "a") UID ALL 3,2`, "a OK SORT completed")
	})
}

// RFC 5465 §3.1: a client that listens hears of new messages while it searches, and of expunged ones when that is over.
func TestNotifyBesideSearch(t *testing.T) {
	playBeside(t, func(t *testing.T, g *besideGame) {
		c, other := g.client(), g.client()
		c.send("n NOTIFY SET (selected (MessageNew MessageExpunge))\r\n")
		c.until("n OK")
		c.begin("a SEARCH TEXT \"number 2\"")
		other.send("d STORE 1 +FLAGS.SILENT (\\Deleted)\r\ne EXPUNGE\r\nf APPEND INBOX {3+}\r\nabc\r\n")
		other.until("f OK")
		c.expect("* 4 EXISTS")
		g.letIn()
		if all := c.heard(); !strings.HasPrefix(all, "* SEARCH 3\r\na OK SEARCH completed\r\n") {
			t.Errorf("heard\n%s", all)
		}
		c.send("g NOOP\r\n")
		c.until("g OK")
	})
}

// RFC 9585: the client hears of a search by its own tag, whether it says nothing or has other commands wait.
func TestProgressOfSearchBeside(t *testing.T) {
	playBeside(t, func(t *testing.T, g *besideGame) {
		c := g.client()
		c.begin("a SEARCH BODY hello")
		time.Sleep(progressInterval)
		const line = `* OK [INPROGRESS ("a" 0 3)] Still at it`
		c.expect(line)
		c.send("b NOOP\r\n")
		c.expect("b OK NOOP completed")
		c.begin("c STORE 1 +FLAGS.SILENT (x)")
		time.Sleep(2 * progressInterval)
		c.expect(line, line)
		g.letIn()
		c.until("c OK")
	})
}

// What metrics count is the time that the client waits.
func TestSearchBesideIsMeasuredAsAWhole(t *testing.T) {
	var mu sync.Mutex
	took := map[string]time.Duration{}
	playBeside(t, func(t *testing.T, g *besideGame) {
		g.server.opts.Observe.Command = func(name, status string, d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			took[name+" "+status] = d
		}
		c := g.client()
		c.begin("a SEARCH BODY hello")
		time.Sleep(5 * time.Second)
		c.send("b NOOP\r\n")
		c.until("b OK")
		g.letIn()
		c.until("a OK")
	})
	if took["SEARCH OK"] != 5*time.Second || took["NOOP OK"] != 0 {
		t.Error(took)
	}
}

// A search for a client that has gone is given up.
func TestSearchOfALostClientEnds(t *testing.T) {
	playBeside(t, func(t *testing.T, g *besideGame) {
		c := g.client()
		c.begin("a SEARCH BODY hello")
		before := g.ended.Load()
		c.conn.Close()
		if synctest.Wait(); g.ended.Load() != before+1 {
			t.Error("the session goes on")
		}
	})
}

// RFC 9051 §7.1.5: whoever is told BYE has the answers to the commands under way before.
func TestSearchIsAnsweredBeforeBye(t *testing.T) {
	for name, end := range map[string]func(*besideGame){
		"shutdown":   func(g *besideGame) { go g.server.Shutdown(context.Background()) }, //nolint:errcheck // it has no end
		"disconnect": func(g *besideGame) { g.server.Disconnect(g.id("bob@south.test")) },
		"autologout": func(g *besideGame) { time.Sleep(g.server.opts.Limits.IdleTime) },
	} {
		t.Run(name, func(t *testing.T) {
			playBeside(t, func(t *testing.T, g *besideGame) {
				c := g.client()
				c.begin("a SEARCH BODY hello")
				end(g)
				if all := c.heard(); strings.Contains(all, "BYE") {
					t.Errorf("heard\n%s", all)
				}
				g.letIn()
				if all := c.heard(); !strings.Contains(all, strings.Join(append(searched("a"), "* BYE "), "\r\n")) {
					t.Errorf("heard\n%s", all)
				}
				c.expectEnd()
			})
		})
	}
}

// A shutdown that may wait no longer ends searches.
func TestShutdownEndsSearches(t *testing.T) {
	playBeside(t, func(t *testing.T, g *besideGame) {
		c := g.client()
		c.begin("a SEARCH BODY hello")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		c.expectEnd()
	})
}

// The end of the mailbox, and of the right to read it, ends the session and the search.
func TestSearchEndsWithItsMailbox(t *testing.T) {
	playBeside(t, func(t *testing.T, g *besideGame) {
		c, other := g.client(), g.client()
		c.send("c CREATE box\r\nd APPEND box {3+}\r\nabc\r\ns SELECT box\r\n")
		c.until("s OK")
		c.begin("a SEARCH BODY hello")
		other.send("d DELETE box\r\n")
		other.until("d OK")
		c.send("b NOOP\r\n")
		c.until("* BYE The selected mailbox was deleted")
		c.expectEnd()
		if n := g.gate.waiting.Load(); n != 0 {
			t.Errorf("%d searches go on", n)
		}
	})
}

// A panic in a search is the session's.
func TestPanicInSearch(t *testing.T) {
	playBeside(t, func(t *testing.T, g *besideGame) {
		g.gate.broken = true
		c := g.client()
		c.begin("a SEARCH BODY hello")
		g.letIn()
		c.expect("* BYE [SERVERBUG] Internal error")
		c.expectEnd()
	})
}

// Accounts of others stay open while they are searched, and mailboxes that are left are searched then.
func TestSearchOfOthersBeside(t *testing.T) {
	playBeside(t, func(t *testing.T, g *besideGame) {
		account, err := g.o.Store.Account(t.Context(), g.id("dave@south.test"))
		if err != nil {
			t.Fatal(err)
		}
		fill(t, account, 2)
		if err := account.Close(); err != nil {
			t.Fatal(err)
		}
		c := g.client()
		const daves = `"Other Users/dave@south.test/INBOX"`
		c.begin("a ESEARCH IN (mailboxes (" + daves + " Sent) selected) RETURN (COUNT) BODY hello")
		c.send("b STATUS " + daves + " (MESSAGES)\r\nc NOOP\r\n")
		c.expect("* STATUS "+daves+" (MESSAGES 2)", "b OK STATUS completed", "c OK NOOP completed")
		g.letIn()
		if all := c.heard(); !strings.HasPrefix(all, `* ESEARCH (TAG "a" MAILBOX `+daves) || !strings.HasSuffix(all, " UID COUNT 2\r\n") {
			t.Errorf("heard\n%s", all)
		}
		c.send("d NOOP\r\n")
		c.until("d OK")
		g.letIn()
		if all := c.heard(); !strings.HasSuffix(all, " UID COUNT 3\r\na OK ESEARCH completed\r\n") {
			t.Errorf("heard\n%s", all)
		}
	})
}

// id is the ID of an account.
func (g *besideGame) id(login string) mail.AccountID {
	g.t.Helper()
	a, err := g.o.Sharing.Account(g.t.Context(), mailtest.Address(login))
	if err != nil {
		g.t.Fatal(err)
	}
	return a.ID
}
