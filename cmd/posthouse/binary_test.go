package main

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"testing"
)

// TestBinaryLetter: what is submitted in binary travels in binary (RFC 3030 §3), with its signature and what was asked for it, and lies in
// the mailbox as lines.
func TestBinaryLetter(t *testing.T) {
	p := newPost(t)
	p.start("north")
	p.start("south")
	plain, err := net.Dial("tcp", p.addr("north", 587))
	if err != nil {
		t.Fatal(err)
	}
	c := textproto.NewConn(plain)
	defer func() { c.Close() }()
	say := func(code int, format string, args ...any) {
		t.Helper()
		if format != "" {
			if _, err := c.Cmd(format, args...); err != nil {
				t.Fatal(err)
			}
		}
		if _, text, err := c.ReadResponse(code); err != nil {
			t.Fatalf("%s: %v %s", format, err, text)
		}
	}
	say(220, "")
	say(250, "EHLO client.test")
	say(220, "STARTTLS")
	c = textproto.NewConn(tls.Client(plain, p.tls("north")))
	body := []byte("\x00\x01\n\r\xff.\n.\r\n")
	say(250, "EHLO client.test")
	say(235, "AUTH PLAIN %s", base64.StdEncoding.EncodeToString([]byte("\x00alice@north.test\x00"+p.password)))
	say(250, "MAIL FROM:<alice@north.test> BODY=BINARYMIME BY=600;R MT-PRIORITY=2")
	say(250, "RCPT TO:<bob@south.test>")
	head := strings.ReplaceAll("From: alice@north.test\nSubject: binary\nMIME-Version: 1.0\nContent-Type: image/x\nContent-Transfer-Encoding: binary\n\n", "\n", "\r\n")
	if _, err := fmt.Fprintf(c.W, "BDAT %d LAST\r\n%s%s", len(head)+len(body), head, body); err != nil {
		t.Fatal(err)
	}
	if err := c.W.Flush(); err != nil {
		t.Fatal(err)
	}
	say(250, "")
	got := p.wait("bob@south.test", 1)[0]
	if want := "\r\n\r\n" + base64.StdEncoding.EncodeToString(body) + "\r\n"; !bytes.HasSuffix(got, []byte(want)) || !bytes.Contains(got, []byte("dkim=pass")) {
		t.Errorf("%s", got)
	}
	p.empty("north")
}
