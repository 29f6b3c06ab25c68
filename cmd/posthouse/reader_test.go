package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// reader is an IMAP client for measuring: it reads answers and keeps nothing of them.
type reader struct {
	conn net.Conn
	in   *bufio.Reader
	tag  int
}

const readerTime = 5 * time.Minute // for an answer

func dialReader(addr, user, secret string) (*reader, error) {
	return dialReaderFrom(nil, addr, user, secret)
}

// dialReaderFrom has an address of its own, if there are more than one may have.
func dialReaderFrom(from net.IP, addr, user, secret string) (*reader, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	r := &reader{conn: conn, in: bufio.NewReaderSize(prompt{conn}, 64<<10)}
	if _, err = r.line(); err == nil {
		_, err = r.do("LOGIN %s %s", user, secret)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return r, nil
}

func (r *reader) close() { r.conn.Close() }

// line reads a line and the literals in it, and is its text without them, until the next is read.
func (r *reader) line() ([]byte, error) {
	var text []byte
	for {
		l, err := r.in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			text = append(text, l...)
			continue
		}
		if err != nil {
			return nil, err
		}
		n, literal := literalAt(l)
		if !literal && text == nil {
			return l, nil
		}
		if text = append(text, l...); !literal {
			return text, nil
		}
		if _, err := r.in.Discard(n); err != nil {
			return nil, err
		}
	}
}

// literalAt is the size of the literal that follows a line.
func literalAt(l []byte) (int, bool) {
	l = bytes.TrimSuffix(l, []byte("\r\n"))
	if at := bytes.LastIndexByte(l, '{'); at >= 0 && l[len(l)-1] == '}' {
		n, err := strconv.Atoi(string(l[at+1 : len(l)-1]))
		return n, err == nil
	}
	return 0, false
}

// do runs a command and tells how long it took.
func (r *reader) do(command string, args ...any) (time.Duration, error) {
	r.tag++
	tag := "a" + strconv.Itoa(r.tag)
	r.conn.SetDeadline(time.Now().Add(readerTime)) //nolint:errcheck // it is a TCP connection
	begin := time.Now()
	if _, err := fmt.Fprintf(r.conn, tag+" "+command+"\r\n", args...); err != nil {
		return 0, err
	}
	err := r.until(tag)
	return time.Since(begin), err
}

// prompt has the kernel acknowledge at once what it reads: a server that leaves small writes to be gathered would wait 40 ms for that, and
// what is measured is how fast servers are.
type prompt struct{ net.Conn }

func (c prompt) Read(p []byte) (int, error) {
	const quickAck = 12 // TCP_QUICKACK of tcp(7), which does not last
	if raw, err := c.Conn.(*net.TCPConn).SyscallConn(); err == nil && runtime.GOOS == "linux" {
		raw.Control(func(fd uintptr) { //nolint:errcheck // without it, it is measured all the same
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, quickAck, 1) //nolint:errcheck // likewise
		})
	}
	return c.Conn.Read(p)
}

// until reads up to the tagged answer.
func (r *reader) until(tag string) error {
	for {
		l, err := r.line()
		if err != nil {
			return err
		}
		if answer, ok := bytes.CutPrefix(l, []byte(tag+" ")); ok {
			if !bytes.HasPrefix(answer, []byte("OK")) {
				return errors.New(string(bytes.TrimSpace(answer)))
			}
			return nil
		}
	}
}

// append files a message in a box, after whose name a date may stand.
func (r *reader) append(box string, message []byte) error {
	r.tag++
	tag := "a" + strconv.Itoa(r.tag)
	r.conn.SetDeadline(time.Now().Add(readerTime)) //nolint:errcheck // it is a TCP connection
	head := fmt.Appendf(nil, "%s APPEND %s {%d+}\r\n", tag, box, len(message))
	if _, err := r.conn.Write(append(append(head, message...), "\r\n"...)); err != nil {
		return err
	}
	return r.until(tag)
}

// idle begins to wait; hear waits for the line with these words.
func (r *reader) idle() error {
	if _, err := io.WriteString(r.conn, "i IDLE\r\n"); err != nil {
		return err
	}
	return r.hear("+ ")
}

func (r *reader) hear(words string) error {
	r.conn.SetReadDeadline(time.Now().Add(readerTime)) //nolint:errcheck // it is a TCP connection
	for {
		l, err := r.line()
		if err != nil {
			return err
		}
		if bytes.Contains(l, []byte(words)) {
			return nil
		}
	}
}

// vocabulary is three thousand words; the first are the most frequent ones.
var vocabulary = func() []string {
	r := rand.New(rand.NewPCG(1, 2))
	syllables := strings.Fields("ba do fen gri hu jo kel la mor nu pa qui ros sta tel u ver wo xi yar zen")
	words := strings.Fields("the of to and a in is it you that meeting report invoice please attached tomorrow")
	for len(words) < 3000 {
		word := ""
		for range 2 + r.IntN(3) {
			word += syllables[r.IntN(len(syllables))]
		}
		words = append(words, word)
	}
	return words
}()

// prose is text in lines, its words as frequent as in a language.
func prose(r *rand.Rand, size int) []byte {
	z := rand.NewZipf(r, 1.1, 3, uint64(len(vocabulary)-1))
	var b bytes.Buffer
	for width := 0; b.Len() < size; {
		word := vocabulary[z.Uint64()]
		if width += len(word) + 1; width > 72 {
			b.WriteString("\r\n")
			width = len(word) + 1
		}
		b.WriteString(word + " ")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

func encoded(r *rand.Rand, size int) []byte {
	raw := make([]byte, size*3/4)
	for i := range raw {
		raw[i] = byte(r.Uint32())
	}
	var b bytes.Buffer
	for len(raw) > 0 {
		n := min(57, len(raw))
		b.WriteString(base64.StdEncoding.EncodeToString(raw[:n]) + "\r\n")
		raw = raw[n:]
	}
	return b.Bytes()
}

// What a message of the mailbox that is measured has in its text or subject, now and then.
const (
	rareWord    = "archaeopteryx" // one in 500, in the text
	rareSubject = "kingfisher"    // one in 1,000, in the subject
)

// sentAt is when the i-th message was sent, in 2024 or early in 2025.
func sentAt(i int) time.Time {
	return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(i*37%600_000) * time.Minute)
}

// realLetter is the i-th message of a mailbox like a person's: half are plain, most others have an alternative in HTML, one in five an
// attachment; the median is 8 KiB, one in a thousand has a few MiB.
func realLetter(i int) []byte {
	r := rand.New(rand.NewPCG(uint64(i), 3))
	at := sentAt(i).Format(time.RFC1123Z)
	host := fmt.Sprintf("host%d.sender.test", r.IntN(200))
	var b bytes.Buffer
	fmt.Fprintf(&b, "Return-Path: <p%d@%s>\r\nReceived: from mx.%s (mx.%s [192.0.2.%d])\r\n\tby mail.house.test with ESMTPS id %08x;\r\n\t%s\r\n",
		r.IntN(5000), host, host, host, r.IntN(250), r.Uint32(), at)
	fmt.Fprintf(&b, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=%s; s=k1;\r\n\th=from:to:subject:date; bh=%s\r\n\tb=%s", host, encoded(r, 40), encoded(r, 300))
	subject := strings.TrimSpace(string(prose(r, 10+r.IntN(40))))
	if i%3 == 0 {
		subject = "Re: " + subject
	}
	if i%1000 == 17 {
		subject += " " + rareSubject
	}
	fmt.Fprintf(&b, "From: Person %d <p%d@%s>\r\nTo: Alice <alice@house.test>\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%d.%08x@%s>\r\n",
		r.IntN(5000), r.IntN(5000), host, strings.ReplaceAll(subject, "\r\n", "\r\n "), at, i, r.Uint32(), host)
	if i%3 == 0 && i > 9 {
		fmt.Fprintf(&b, "In-Reply-To: <%d.parent@%s>\r\nReferences: <%d.root@%s>\r\n <%d.parent@%s>\r\n", i-3, host, i-9, host, i-3, host)
	}
	b.WriteString("MIME-Version: 1.0\r\n")
	text := prose(r, min(1500+int(r.ExpFloat64()*3500), 60_000))
	if i%500 == 33 {
		text = append(text, "I saw an "+rareWord+" today.\r\n"...)
	}
	html := append(append([]byte("<html><body>\r\n<p>"), text...), "</p></body></html>\r\n"...)
	switch {
	case i%1000 == 500:
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: text/plain\r\n\r\n%s--m\r\nContent-Type: video/mp4; name=film.mp4\r\n"+
			"Content-Disposition: attachment; filename=film.mp4\r\nContent-Transfer-Encoding: base64\r\n\r\n%s--m--\r\n", text, encoded(r, 1<<20+r.IntN(3<<20)))
	case i%10 < 5:
		fmt.Fprintf(&b, "Content-Type: text/plain; charset=utf-8\r\n\r\n%s", text)
	case i%10 < 8:
		fmt.Fprintf(&b, "Content-Type: multipart/alternative; boundary=a\r\n\r\n--a\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s--a\r\nContent-Type: text/html; charset=utf-8\r\n\r\n%s--a--\r\n", text, html)
	default:
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n--a\r\nContent-Type: text/plain\r\n\r\n%s--a\r\n"+
			"Content-Type: text/html\r\n\r\n%s--a--\r\n--m\r\nContent-Type: application/pdf; name=paper%d.pdf\r\nContent-Disposition: attachment; filename=paper%d.pdf\r\n"+
			"Content-Transfer-Encoding: base64\r\n\r\n%s--m--\r\n", text, html, i, i, encoded(r, 5000+r.IntN(40_000)))
	}
	return b.Bytes()
}
