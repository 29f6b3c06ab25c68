package smtp

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"posthouse/mail"
)

// Limits of what a client sends before its data, in octets.
const (
	MaxCommandLine = 2048  // with CRLF; RFC 5321 §4.5.3.1.4 says 512, and each extension adds to it
	MaxAuthLine    = 12288 // with CRLF; RFC 4954 §4
	maxHello       = 255   // RFC 5321 §4.5.3.1.2
	maxVerb        = 16    // longer than any
	maxEnvID       = 100   // RFC 3461 §4.4
	maxORCPT       = 500   // RFC 3461 §4.2
)

// Errors of a command's argument.
var (
	ErrSyntax           = errors.New("smtp: malformed argument")
	ErrPath             = errors.New("smtp: malformed path")
	ErrParameter        = errors.New("smtp: bad value of a parameter, or a second one")
	ErrUnknownParameter = errors.New("smtp: parameter that was not offered")
)

// Mail is the argument of MAIL: RFC 5321 §4.1.1.2.
type Mail struct {
	From   mail.Address // zero: the null reverse-path
	Size   int64        // RFC 1870 §6.1, as declared; 0: not declared
	Body   mail.Body    // RFC 6152 §2
	UTF8   bool         // RFC 6531 §3.4
	Auth   string       // RFC 4954 §5, decoded: a mailbox, "<>", or empty: not given
	Return mail.Return  // RFC 3461 §4.3
	EnvID  string       // RFC 3461 §4.4, decoded

	RequireTLS bool          // RFC 8689 §2
	By         By            // RFC 2852 §4; zero: not given
	HoldFor    time.Duration // RFC 4865, whole seconds; 0: not given
	HoldUntil  time.Time     // RFC 4865; zero: not given. One of the two
	Priority   mail.Priority // RFC 6710 §3; 0 as well if it is not given
}

// Rcpt is the argument of RCPT: RFC 5321 §4.1.1.3.
type Rcpt struct {
	To       mail.Address
	Notify   mail.Notify // RFC 3461 §4.1
	Original string      // ORCPT, RFC 3461 §4.2: "type;address", decoded
}

// CutVerb splits a command line without its CRLF into the verb, in upper case and at most 16 octets of it, and the argument without
// the white space around it (RFC 5321 §4.1.1: white space before CRLF is tolerated). The verb is written into buf.
func CutVerb(line []byte, buf *[maxVerb]byte) (verb, args []byte) {
	verb = line
	if i := bytes.IndexAny(line, " \t"); i >= 0 {
		verb, args = line[:i], bytes.Trim(line[i:], " \t")
	}
	n := copy(buf[:], verb)
	for i, c := range buf[:n] {
		if 'a' <= c && c <= 'z' {
			buf[i] = c - 'a' + 'A'
		}
	}
	return buf[:n], args
}

// ParseHello reads the argument of EHLO, HELO and LHLO: a domain or an address literal. Clients say many things there; what is asked
// is that it can stand in a Received field as one word.
func ParseHello(args []byte) (string, error) {
	if len(args) == 0 || len(args) > maxHello {
		return "", ErrSyntax
	}
	for _, c := range args {
		if !isAlnum(c) && strings.IndexByte("-._:[]+", c) < 0 {
			return "", ErrSyntax
		}
	}
	return string(args), nil
}

// ParseMail reads what follows "MAIL ": a reverse-path and the parameters of the extensions offered.
func ParseMail(args []byte, offered Extensions) (Mail, error) {
	path, rest, err := cutPath(args, "FROM:")
	if err != nil {
		return Mail{}, err
	}
	var m Mail
	if len(path) > 0 {
		if m.From, err = parsePath(path); err != nil {
			return Mail{}, err
		}
	}
	if len(rest) == 0 {
		return m, nil
	}
	return m.parseParams(rest, offered)
}

func (m Mail) parseParams(rest []byte, offered Extensions) (Mail, error) {
	if err := parseParams(rest, offered, target{mail: &m}); err != nil {
		return Mail{}, err
	}
	return m, nil
}

// ParseRcpt reads what follows "RCPT ": a forward-path and the parameters of the extensions offered. "<postmaster>", in any case and
// without a domain, becomes the address given (RFC 5321 §4.5.1).
func ParseRcpt(args []byte, offered Extensions, postmaster mail.Address) (Rcpt, error) {
	path, rest, err := cutPath(args, "TO:")
	if err != nil {
		return Rcpt{}, err
	}
	var r Rcpt
	if bytes.EqualFold(path, []byte("postmaster")) {
		r.To = postmaster
	} else if r.To, err = parsePath(path); err != nil {
		return Rcpt{}, err
	}
	if len(rest) == 0 {
		return r, nil
	}
	return r.parseParams(rest, offered)
}

func (r Rcpt) parseParams(rest []byte, offered Extensions) (Rcpt, error) {
	if err := parseParams(rest, offered, target{rcpt: &r}); err != nil {
		return Rcpt{}, err
	}
	return r, nil
}

// Append adds the argument to b, with the parameters that the peer offers to take.
func (m Mail) Append(b []byte, offered Extensions) []byte {
	b = append(b, "FROM:<"...)
	b = append(b, m.From.String()...)
	b = append(b, '>')
	for i := range params {
		if p := &params[i]; p.showMail != nil && offered.Has(p.extension) {
			b = appendParam(b, p.name, p.showMail(m))
		}
	}
	return b
}

// Append adds the argument to b, with the parameters that the peer offers to take.
func (r Rcpt) Append(b []byte, offered Extensions) []byte {
	b = append(b, "TO:<"...)
	b = append(b, r.To.String()...)
	b = append(b, '>')
	for i := range params {
		if p := &params[i]; p.showRcpt != nil && offered.Has(p.extension) {
			b = appendParam(b, p.name, p.showRcpt(r))
		}
	}
	return b
}

// ParseChunk reads the argument of BDAT: RFC 3030 §2.
func ParseChunk(args []byte) (size int64, last bool, err error) {
	number, end, more := strings.Cut(string(args), " ")
	if more && !strings.EqualFold(strings.TrimLeft(end, " "), "LAST") {
		return 0, false, fmt.Errorf("%w: BDAT takes a size and LAST", ErrSyntax)
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil || !isDigit(number[0]) {
		return 0, false, fmt.Errorf("%w: BDAT wants a size", ErrSyntax)
	}
	return int64(n), more, nil
}

// cutPath takes the keyword and the path off the front; the path comes without its brackets. White space after the colon is against
// RFC 5321 §3.3, but old clients send it.
func cutPath(args []byte, keyword string) (path, rest []byte, err error) {
	if len(args) < len(keyword) || !bytes.EqualFold(args[:len(keyword)], []byte(keyword)) {
		return nil, nil, fmt.Errorf("%w: no %s", ErrSyntax, keyword)
	}
	rest = bytes.TrimLeft(args[len(keyword):], " ")
	end := pathEnd(rest)
	if end < 0 || end+1 < len(rest) && rest[end+1] != ' ' {
		return nil, nil, fmt.Errorf("%w: no <address>", ErrSyntax)
	}
	return rest[1:end], rest[end+1:], nil
}

// pathEnd is the index of the ">" that ends a path; -1 if s is none. A quoted local part may hold any of its characters.
func pathEnd(s []byte) int {
	if len(s) == 0 || s[0] != '<' {
		return -1
	}
	quoted := false
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == '>' && !quoted:
			return i
		}
	}
	return -1
}

// parsePath reads a mailbox; a source route before it is checked and dropped (RFC 5321 §4.1.1.3, App. C).
func parsePath(path []byte) (mail.Address, error) {
	s := string(path)
	if strings.HasPrefix(s, "@") {
		route, mailbox, ok := strings.Cut(s, ":")
		if !ok {
			return mail.Address{}, fmt.Errorf("%w: a source route without its end", ErrPath)
		}
		for hop := range strings.SplitSeq(route, ",") {
			domain, ok := strings.CutPrefix(hop, "@")
			if _, err := mail.ParseDomain(domain); !ok || err != nil {
				return mail.Address{}, fmt.Errorf("%w: a bad source route", ErrPath)
			}
		}
		s = mailbox
	}
	a, err := mail.ParseAddress(s)
	if err != nil {
		return mail.Address{}, fmt.Errorf("%w: %w", ErrPath, err)
	}
	return a, nil
}

func isAlnum(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
