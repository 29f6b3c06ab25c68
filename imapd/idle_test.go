package imapd

import (
	"bytes"
	"net"
	"runtime"
	"strings"
	"testing"

	"posthouse/internal/testkit"
)

// idleConn calls idling when the client is told that it idles.
type idleConn struct {
	net.Conn
	idling func()
}

func (c *idleConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if bytes.Contains(p, []byte("+ Idling")) {
		c.idling()
	}
	return n, err
}

type idleListener struct {
	net.Listener
	idling func()
}

func (l *idleListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &idleConn{conn, l.idling}, nil
}

// A session that waits has given up the stack of the commands before.
func TestIdleHasASmallStack(t *testing.T) {
	_, addr := start(t, testOptions(t))
	c := dial(t, addr).login()
	c.send("s SELECT INBOX\r\ni IDLE\r\n")
	c.until("+ Idling")
	testkit.Until(t, "it waits", func() bool {
		stacks := make([]byte, 1<<20)
		waits := false
		for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			waits = waits || strings.Contains(stack, "imapd.(*idler).rest(") && !strings.Contains(stack, "imapd.(*session).serve(")
		}
		return waits
	})
	c.send("DONE\r\n")
	c.until("i OK")
}

// A mailbox that is deleted just when IDLE begins ends the session at once, though its wait for the client may not have begun; a
// client that says nothing more does not keep it.
func TestIdleEndsWithItsMailbox(t *testing.T) {
	o := testOptions(t)
	s := NewServer(o)
	l := testkit.Listen(t)
	addr := l.Addr().String()
	var deleter *client
	testkit.Serve(t, s, &idleListener{l, func() {
		deleter.send("d DELETE box\r\n")
		deleter.until("d OK")
	}})
	deleter = dial(t, addr).login()
	for range 100 {
		deleter.send("c CREATE box\r\n")
		deleter.until("c OK")
		idle := dial(t, addr)
		idle.send("l LOGIN bob@south.test posthouse\r\ns SELECT box\r\n")
		idle.until("s OK")
		idle.send("a IDLE\r\n")
		if line := idle.until("* "); !strings.HasPrefix(line, "* BYE") {
			t.Fatal(line)
		}
		idle.expectEnd()
		idle.conn.Close()
	}
}
