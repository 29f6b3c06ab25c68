package smtp

import (
	"bufio"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Limits of a reply that we read; what we write stays below them.
const (
	MaxReplyLine  = 2048     // octets; RFC 5321 §4.5.3.1.5 promises 512, servers exceed it
	MaxReplyLines = 200      // RFC 5321 sets none
	MaxReply      = 16 << 10 // octets kept of one reply
)

// Enhanced is an enhanced status code, class.subject.detail: RFC 3463. The zero value is none.
type Enhanced [3]uint16

func (e Enhanced) String() string {
	return strconv.Itoa(int(e[0])) + "." + strconv.Itoa(int(e[1])) + "." + strconv.Itoa(int(e[2]))
}

// Reply is one reply of RFC 5321 §4.2, with its enhanced code if it has one (RFC 2034). Text holds its lines, separated by "\n".
type Reply struct {
	Code     int
	Enhanced Enhanced
	Text     string
}

// Positive, Temporary and Permanent tell 2yz and 3yz, 4yz, and 5yz.
func (r Reply) Positive() bool { return r.Code >= 200 && r.Code < 400 }

// Temporary tells a 4yz reply.
func (r Reply) Temporary() bool { return r.Code >= 400 && r.Code < 500 }

// Permanent tells a 5yz reply.
func (r Reply) Permanent() bool { return r.Code >= 500 && r.Code < 600 }

// String is the reply on one line, as logs, traces and delivery status notifications (RFC 3464 §2.3.6) show it.
func (r Reply) String() string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(r.Code))
	if r.Enhanced != (Enhanced{}) {
		b.WriteByte(' ')
		b.WriteString(r.Enhanced.String())
	}
	if r.Text != "" {
		b.WriteByte(' ')
		b.WriteString(strings.ReplaceAll(r.Text, "\n", " "))
	}
	return b.String()
}

// Append adds the reply's wire form to b, each line with its code, and with its enhanced code where it has one
// (RFC 2034 §4: never in greetings, answers to HELO and EHLO, and 3yz; those carry none).
func (r Reply) Append(b []byte) []byte {
	rest, more := r.Text, true
	for more {
		var line string
		line, rest, more = strings.Cut(rest, "\n")
		b = strconv.AppendInt(b, int64(r.Code), 10)
		if more {
			b = append(b, '-')
		} else {
			b = append(b, ' ')
		}
		if r.Enhanced != (Enhanced{}) {
			b = append(b, r.Enhanced.String()...)
			b = append(b, ' ')
		}
		b = append(b, line...)
		b = append(b, "\r\n"...)
	}
	return b
}

// ErrReply is what ReadReply's refusals wrap: the peer does not speak SMTP, or talks without end.
var ErrReply = errors.New("malformed SMTP reply")

// ReadReply reads one reply. A line or a reply beyond the limits is an error, after which the connection is of no use.
func ReadReply(r *bufio.Reader) (Reply, error) {
	var reply Reply
	var text strings.Builder
	for n := 1; ; n++ {
		line, err := readReplyLine(r)
		if err != nil {
			return Reply{}, err
		}
		code, last, rest, err := parseReplyLine(line)
		if err != nil {
			return Reply{}, err
		}
		if n > 1 && code != reply.Code {
			return Reply{}, fmt.Errorf("%w: code %d follows %d", ErrReply, code, reply.Code)
		}
		if n > MaxReplyLines || text.Len()+len(rest) > MaxReply {
			return Reply{}, fmt.Errorf("%w: it does not end", ErrReply)
		}
		reply.Code = code
		if e, after, ok := cutEnhanced(rest, code/100); ok && (n == 1 || e == reply.Enhanced) {
			reply.Enhanced, rest = e, after
		}
		if n > 1 {
			text.WriteByte('\n')
		}
		text.WriteString(rest)
		if last {
			reply.Text = text.String()
			return reply, nil
		}
	}
}

func readReplyLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > MaxReplyLine {
			return "", fmt.Errorf("%w: a line of over %d octets", ErrReply, MaxReplyLine)
		}
		if err == nil {
			return strings.TrimRight(string(line), "\r\n"), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return "", err
		}
	}
}

func parseReplyLine(line string) (code int, last bool, rest string, err error) {
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || !isDigit(line[1]) || !isDigit(line[2]) {
		return 0, false, "", fmt.Errorf("%w: %.100q", ErrReply, line)
	}
	code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	switch {
	case len(line) == 3: // RFC 5321 §4.2: the text may be missing, and its space with it
		return code, true, "", nil
	case line[3] == ' ' || line[3] == '-':
		return code, line[3] == ' ', clean(line[4:]), nil
	}
	return 0, false, "", fmt.Errorf("%w: %.100q", ErrReply, line)
}

// clean makes a stranger's words safe to show: controls become "?".
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// cutEnhanced takes an enhanced code of the class off the front of a reply's text.
func cutEnhanced(s string, class int) (e Enhanced, rest string, ok bool) {
	word, rest, _ := strings.Cut(s, " ")
	parts := strings.Split(word, ".")
	if len(parts) != len(e) {
		return Enhanced{}, s, false
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || len(p) > 3 {
			return Enhanced{}, s, false
		}
		e[i] = uint16(n)
	}
	if int(e[0]) != class {
		return Enhanced{}, s, false
	}
	return e, rest, true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
