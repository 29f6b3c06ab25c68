package imapd

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"posthouse/imapd/wire"
	"posthouse/internal/testkit"
)

// peer is a client that keeps account of what it is told.
type peer struct {
	*client
	model clientModel
	n     int
}

// do sends a command and hears its answer; it returns the tagged reply.
func (p *peer) do(command string, expunge bool) string {
	p.t.Helper()
	p.n++
	tag := fmt.Sprintf("t%d ", p.n)
	p.send(tag + command + "\r\n")
	for {
		line := p.line()
		switch {
		case line == "":
			p.t.Fatalf("%s: the end", command)
		case strings.HasPrefix(line, tag):
			return strings.TrimPrefix(line, tag)
		case strings.HasPrefix(line, "* OK ["), strings.HasPrefix(line, "* SEARCH"):
		default:
			p.model.hear(line+"\r\n", expunge)
		}
	}
}

// random is a command that a client may send, and whether EXPUNGE may come in answer.
func (p *peer) random(r *rand.Rand) (command string, expunge bool) {
	if n := len(p.model.messages); n > 0 {
		set := fmt.Sprintf("%d:%d", 1+r.IntN(n), 1+r.IntN(n))
		flags := []string{`\Seen`, `\Flagged`, `\Deleted`, "work", "home"}[r.IntN(5)]
		switch r.IntN(9) {
		case 0:
			return "STORE " + set + " +FLAGS (" + flags + ")", false
		case 1:
			return "STORE " + set + " -FLAGS (" + flags + ")", false
		case 2:
			return "FETCH " + set + " (UID FLAGS)", false
		case 3:
			return "UID FETCH 1:* (UID FLAGS)", true
		case 4:
			return "EXPUNGE", true
		case 5:
			return fmt.Sprintf("COPY %d INBOX", 1+r.IntN(n)), true
		case 6:
			return fmt.Sprintf("MOVE %d INBOX", 1+r.IntN(n)), true
		case 7:
			return "SEARCH SEEN", false
		}
	}
	if r.IntN(2) == 0 {
		return "NOOP", true
	}
	return "APPEND INBOX {5+}\r\nabc\r\n", true
}

// Several sessions do what they like to one mailbox at the same time. Each is told what keeps its numbers right, and in the end all
// know what the store has.
func TestSessionsTogether(t *testing.T) {
	o := testOptions(t)
	o.Log = nil
	_, addr := start(t, o)
	peers := make([]*peer, 4)
	for i := range peers {
		peers[i] = &peer{client: dial(t, addr), model: clientModel{t: t}}
		if i == 0 { // Accounts are made at their first login.
			peers[i].login()
			continue
		}
		peers[i].login()
	}
	var wg sync.WaitGroup
	for i, p := range peers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 7))
			for range 150 {
				command, expunge := p.random(r)
				if reply := p.do(command, expunge); strings.HasPrefix(reply, "BAD") {
					t.Errorf("%s: %s", command, reply)
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for _, p := range peers {
		p.do("NOOP", true)
		p.do("FETCH 1:* (UID FLAGS)", false)
		for i, m := range p.model.messages {
			if m != peers[0].model.messages[i] || len(p.model.messages) != len(peers[0].model.messages) || m.uid == 0 {
				t.Fatalf("message %d is %v to one and %v to another", i+1, m, peers[0].model.messages[i])
			}
		}
	}
}

// A client that reads slowly is in nobody's way.
func TestSlowReaderHoldsNothing(t *testing.T) {
	o := testOptions(t)
	_, addr := start(t, o)
	slow, quick := dial(t, addr).login(), dial(t, addr).login()
	const size = 1 << 20
	for i := range 24 {
		quick.send(fmt.Sprintf("a%d APPEND INBOX {%d+}\r\n%s\r\n", i, size, strings.Repeat("0123456789abcde\n", size/16)))
		quick.until(fmt.Sprintf("a%d OK", i))
	}
	slow.send("a NOOP\r\nb FETCH 1:* BODY.PEEK[]\r\n") // and it reads nothing, of more than any socket's buffer
	quick.send("c STORE 1:* +FLAGS.SILENT (\\Seen)\r\nd APPEND INBOX {3+}\r\nabc\r\ne COPY 25 Sent\r\n")
	quick.until("e OK")
	quick.send("f STORE 2:25 +FLAGS.SILENT (\\Deleted)\r\ng EXPUNGE\r\n")
	quick.until("g OK")
	slow.until("a OK")
	slow.until("* 1 FETCH (BODY[]") // what was flagged meanwhile may be told before
	if n, err := io.CopyN(io.Discard, slow.r, size); err != nil || n != size {
		t.Fatal(n, err)
	}
	if end := slow.line(); end != ")" {
		t.Errorf("%q after the literal", end)
	}
	if end := slow.until("b "); !strings.HasPrefix(end, "b OK") && !strings.HasPrefix(end, "b NO [EXPUNGEISSUED]") {
		t.Error(end)
	}
	slow.send("h NOOP\r\n")
	slow.until("h OK")
}

// countingWriter counts writes.
type countingWriter struct{ writes int }

func (w *countingWriter) Write(p []byte) (int, error) {
	w.writes++
	return len(p), nil
}

// Answers are gathered until all input is used up or 64 KiB are full.
func TestFewWrites(t *testing.T) {
	server, err := fuzzServer()
	if err != nil {
		t.Fatal(err)
	}
	input := "p1 LOGIN few x\r\n" + strings.Repeat("a NOOP\r\n", 5) + strings.Repeat("b LIST \"\" *\r\n", 500)
	var out countingWriter
	conn := &testkit.Conn{In: strings.NewReader(input), Out: &out}
	runScript(server, conn)
	size, reads := int(conn.Taken), len(input)/wire.BufferSize+2
	if most := size>>16 + reads; size < 100_000 || out.writes > most {
		t.Errorf("%d writes of %d octets, at most %d", out.writes, size, most)
	}
	if err := server.opts.Store.Remove(t.Context(), "few"); err != nil {
		t.Fatal(err)
	}
}

// What others expunged keeps its number until that can be told; once its content is gone, a FETCH of it says so, and answers for the
// others. RFC 5530 §3 EXPUNGEISSUED.
func TestContentOfExpungedMessages(t *testing.T) {
	_, addr := start(t, testOptions(t))
	a, b := dial(t, addr).login(), dial(t, addr).login()
	a.send("p APPEND INBOX {3+}\r\nabc {3+}\r\ndef\r\ns SELECT INBOX\r\n")
	a.until("s OK")
	b.send("s SELECT INBOX\r\nd STORE 1 +FLAGS.SILENT (\\Deleted)\r\ne EXPUNGE\r\n")
	b.until("e OK")
	testkit.Until(t, "the content is gone", func() bool {
		a.send("f FETCH 1:2 BODY.PEEK[]\r\n")
		a.until("* 2 FETCH")
		return strings.HasPrefix(a.until("f "), "f NO [EXPUNGEISSUED]")
	})
	a.send("n NOOP\r\n")
	a.until("* 1 EXPUNGE")
	a.until("n OK")
}
