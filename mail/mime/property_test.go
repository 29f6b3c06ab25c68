package mime

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

// checkStructure holds a message's structure against everything that must be true of any.
func checkStructure(t testing.TB, message []byte) {
	t.Helper()
	root := parse(message)
	checkPieces(t, message, root)
	if root.Header.Off != 0 || root.Body.End() != int64(len(message)) {
		t.Errorf("%+v, %+v of %d octets", root.Header, root.Body, len(message))
	}
	parts := 0
	checkPart(t, message, root, &parts)
	if parts > MaxParts {
		t.Errorf("%d parts", parts)
	}
	for name, err := range map[string]error{
		"envelope": matches(AppendEnvelope(nil, root.Envelope), (*grammar).envelope), "body": matches(AppendBody(nil, root), (*grammar).body),
		"bodystructure": matches(AppendBodyStructure(nil, root), (*grammar).bodyStructure),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	back, err := ParseParts(AppendParts(nil, root))
	if err != nil {
		t.Fatal(err)
	}
	dropEnvelopes(root)
	if !reflect.DeepEqual(back, root) {
		t.Errorf("%+v is read back as %+v", root, back)
	}
}

// checkPieces parses in pieces of several sizes.
func checkPieces(t testing.TB, message []byte, want *Part) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, uint64(len(message))))
	for _, size := range []int{1, 2, 3, 100, maxDelimiter, 1000} {
		p := NewParser()
		for rest := message; len(rest) > 0; {
			n := min(len(rest), 1+r.IntN(size))
			if k, err := p.Write(rest[:n]); k != n || err != nil {
				t.Fatal(k, err)
			}
			rest = rest[n:]
		}
		if got := p.Close(); !reflect.DeepEqual(got, want) {
			t.Fatalf("in pieces of up to %d octets: %s\nwhole: %s", size, AppendBodyStructure(nil, got), AppendBodyStructure(nil, want))
		}
	}
}

func checkPart(t testing.TB, message []byte, p *Part, parts *int) {
	t.Helper()
	*parts++
	if p.Header.Len < 0 || p.Body.Len < 0 || p.Body.Off != p.Header.End() {
		t.Errorf("header %+v, body %+v", p.Header, p.Body)
	}
	if n := bytes.Count(message[p.Body.Off:p.Body.End()], []byte("\n")); int64(n) != p.Lines {
		t.Errorf("%d line ends in %+v; want %d", p.Lines, p.Body, n)
	}
	if (p.Type == "multipart") != (len(p.Parts) > 0) || p.isMessage() != (p.Message != nil) || p.Type == "" || p.Subtype == "" {
		t.Errorf("%s/%s with %d parts and message %v", p.Type, p.Subtype, len(p.Parts), p.Message != nil)
	}
	inside := p.Parts
	if p.Message != nil {
		inside = []*Part{p.Message}
		if p.Message.Envelope == nil || p.Message.Header.Off != p.Body.Off || p.Message.Body.End() != p.Body.End() {
			t.Errorf("a message from %+v to %+v in %+v", p.Message.Header, p.Message.Body, p.Body)
		}
	}
	at := p.Body.Off
	for _, part := range inside {
		if part.Header.Off < at || part.Body.End() > p.Body.End() {
			t.Errorf("from %+v to %+v, after %d in %+v", part.Header, part.Body, at, p.Body)
		}
		at = part.Body.End()
		checkPart(t, message, part, parts)
	}
}

func dropEnvelopes(p *Part) {
	p.Envelope = nil
	if p.Message != nil {
		dropEnvelopes(p.Message)
	}
	for _, part := range p.Parts {
		dropEnvelopes(part)
	}
}

func TestProperties(t *testing.T) {
	for _, e := range examples(t) {
		t.Run(e.name, func(t *testing.T) { checkStructure(t, e.message) })
	}
	t.Run("letter", func(t *testing.T) { checkStructure(t, letter(20_000)) })
}

// TestRandomMessages puts together messages of the lines that matter.
func TestRandomMessages(t *testing.T) {
	lines := []string{"\r\n", "\n", "--a\r\n", "--b\r\n", "--a--\r\n", "--b--\n", "--a ", "--ab\r\n", "Content-Type: multipart/mixed; boundary=a\r\n",
		"Content-Type: multipart/digest; boundary=b\r\n", "Content-Type: message/rfc822\r\n", "Subject: x\r\n", "text", "text\r\n", "\r", "--",
		"Content-Type: multipart/alternative; boundary=ab\r\n", "To: a@b, c: d@e;\r\n", strings.Repeat("x", maxDelimiter), "\x00\xff"}
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		var b strings.Builder
		for range r.IntN(30) {
			b.WriteString(lines[r.IntN(len(lines))])
		}
		if checkStructure(t, []byte(b.String())); t.Failed() {
			t.Fatalf("%q", b.String())
		}
	}
}

// hostile are messages that grow with n, each by another thing.
var hostile = map[string]func(n int) string{
	"nested messages": func(n int) string { return strings.Repeat("Content-Type: message/rfc822\r\n\r\n", n) },
	"nested multiparts": func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
		}
		return b.String()
	},
	"same boundaries": func(n int) string {
		return strings.Repeat("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n", n)
	},
	"parameters": func(n int) string { return "Content-Type: text/plain" + strings.Repeat("; a=b", n) + "\r\n\r\n" },
	"sections": func(n int) string {
		var b strings.Builder
		b.WriteString("Content-Type: text/plain")
		for i := range n {
			fmt.Fprintf(&b, ";\r\n a*%d*=x", n-i)
		}
		return b.String() + "\r\n\r\n"
	},
	"header lines": func(n int) string { return strings.Repeat("X: y\r\n", n) + "\r\n" },
	"folded lines": func(n int) string { return "Subject: x\r\n" + strings.Repeat(" y\r\n", n) + "\r\n" },
	"delimiters": func(n int) string {
		return "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n", n)
	},
	"close delimiters": func(n int) string {
		return strings.Repeat("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n", 90) + strings.Repeat("--x\r\n", n)
	},
	"long boundaries": func(n int) string {
		var b strings.Builder
		long := strings.Repeat("b", MaxBoundary-3)
		for i := range 90 {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%s%d\r\n\r\n--%s%d\r\n", long, i, long, i)
		}
		return b.String() + "\r\n" + strings.Repeat("--"+long+"\r\n", n/20)
	},
	"addresses": func(n int) string { return "To: " + strings.Repeat("a@b,", n) + "\r\n\r\n" },
	"groups":    func(n int) string { return "To: " + strings.Repeat("a:", n) + "\r\n\r\n" },
	"angles":    func(n int) string { return "To: " + strings.Repeat("<", n) + "\r\n\r\n" },
	"comments": func(n int) string {
		return "To: " + strings.Repeat("(", n) + "\r\nContent-Type: " + strings.Repeat("(", n) + "\r\n\r\n"
	},
	"quotes":     func(n int) string { return "To: " + strings.Repeat(`"\`, n) + "\r\n\r\n" },
	"recipients": func(n int) string { return strings.Repeat("To: a@b\r\n", n) + "\r\n" },
	"languages":  func(n int) string { return "Content-Language: " + strings.Repeat("de,", n) + "\r\n\r\n" },
	"long line":  func(n int) string { return strings.Repeat("-", n) },
	"empty lines": func(n int) string {
		return "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("\n", n)
	},
}

// TestHostileMessages makes what is hostile four times as long: work that is linear grows by four, quadratic work by sixteen. What is
// left stays within limits.
func TestHostileMessages(t *testing.T) {
	const n, times, bound = 20_000, 4, 10
	for name, make := range hostile {
		t.Run(name, func(t *testing.T) {
			checkStructure(t, []byte(make(300)))
			small, large := []byte(make(n)), []byte(make(times*n))
			one, more := work(small), work(large)
			if more > bound*one {
				t.Errorf("%d octets take %v, %d take %v", len(small), one, len(large), more)
			}
			root := parse(large)
			structure := AppendBodyStructure(AppendEnvelope(nil, root.Envelope), root)
			if len(structure) > 4*MaxKept+200*MaxParts {
				t.Errorf("a structure of %d octets", len(structure))
			}
		})
	}
}

// work is the shortest time of several in which a message is parsed and its structure written; at least what the clock can tell.
func work(message []byte) time.Duration {
	shortest := time.Hour
	for range 7 {
		start := time.Now()
		root := parse(message)
		AppendBodyStructure(AppendEnvelope(nil, root.Envelope), root)
		shortest = min(shortest, time.Since(start))
	}
	return max(shortest, 50*time.Microsecond)
}
