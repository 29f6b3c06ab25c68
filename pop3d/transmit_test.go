package pop3d

import (
	"bufio"
	"bytes"
	"io"
	"net/textproto"
	"strings"
	"testing"
)

// Whatever octets a message has, and however they come in pieces: what is sent is its lines, each ended by CRLF and stuffed, and then a
// line with a dot, which is nowhere before; a client has the octets that LIST counts.
func FuzzTransmit(f *testing.F) {
	for _, s := range []string{"", "a", "a\r\n", "a\n", ".\r\n", "\n.\n", "\r\n.\r\n+OK\r\n", "a\r", "\r\r\n.\n\r.", "Subject: x\r\n\r\n.a\r\n..\r\nb"} {
		f.Add(s, 3, 1)
	}
	f.Fuzz(func(t *testing.T, text string, piece, lines int) {
		piece, lines = max(1, piece%50), max(0, lines%10)
		var whole, top bytes.Buffer
		write := func(w io.Writer) error {
			for rest := text; rest != ""; {
				n := min(piece, len(rest))
				if _, err := io.WriteString(w, rest[:n]); err != nil {
					return err
				}
				rest = rest[n:]
			}
			return nil
		}
		if err := transmit(&whole, wholeMessage, write); err != nil {
			t.Fatal(err)
		}
		sent, ended := strings.CutSuffix(whole.String(), ".\r\n")
		if !ended || strings.HasPrefix(sent, ".\r\n") || strings.Contains(sent, "\n.\r\n") || strings.Contains(sent, "\n.\n") || sent != "" && !strings.HasSuffix(sent, "\r\n") {
			t.Fatalf("%q is sent %q", text, whole.String())
		}
		unstuffed := strings.ReplaceAll("\n"+sent, "\n.", "\n")[1:]
		if want := plainLines(text); unstuffed != want {
			t.Fatalf("%q is had as %q, want %q", text, unstuffed, want)
		}
		if err := transmit(&top, lines, write); err != nil {
			t.Fatal(err)
		}
		head, _ := strings.CutSuffix(top.String(), ".\r\n")
		if !strings.HasPrefix(sent, head) {
			t.Fatalf("the top of %q is %q", sent, head)
		}
		header, body, divided := strings.Cut("\r\n"+sent, "\r\n\r\n")
		want := sent
		if divided {
			some := strings.SplitAfter(body, "\n")
			want = (header + "\r\n\r\n" + strings.Join(some[:min(lines, len(some))], ""))[2:]
		}
		if head != want {
			t.Fatalf("the top of %q is %q, want %q", sent, head, want)
		}
		if _, err := io.ReadAll(textproto.NewReader(bufio.NewReader(&whole)).DotReader()); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	})
}

// plainLines is a text with every line ended by CRLF, the last one too: a bare LF becomes one.
func plainLines(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if text[i] == '\n' && (i == 0 || text[i-1] != '\r') {
			b.WriteByte('\r')
		}
		b.WriteByte(text[i])
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		b.WriteString("\r\n")
	}
	return b.String()
}
