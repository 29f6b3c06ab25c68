package dkim

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"posthouse/mail"
)

// tags is a parsed tag-list: RFC 6376 §3.2.
type tags map[string]string

var errTags = errors.New("malformed tag list")

func parseTags(s string) (tags, error) {
	t := tags{}
	for spec := range strings.SplitSeq(strings.TrimRight(s, "; \t\r\n"), ";") {
		name, value, ok := strings.Cut(spec, "=")
		name = trim(name)
		if _, twice := t[name]; !ok || name == "" || twice {
			return nil, errTags
		}
		t[name] = trim(value)
	}
	return t, nil
}

func trim(s string) string { return strings.Trim(s, " \t\r\n") }

// squeeze takes all white space out, as it may be folded into base 64.
func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n", r) {
			return -1
		}
		return r
	}, s)
}

// list splits a colon-separated value.
func list(s string) (items []string) {
	for item := range strings.SplitSeq(s, ":") {
		items = append(items, trim(item))
	}
	return items
}

// signature is a parsed DKIM-Signature field.
type signature struct {
	Signature
	field        field
	header, body canon
	headers      []string
	sig, bodySum []byte
	length       int64  // l=; -1: the whole body
	identity     string // the domain of i=
}

// parseSignature reads a DKIM-Signature field: RFC 6376 §3.5. Its error is the reason for PermError.
func parseSignature(f field, now time.Time) (signature, error) {
	s := signature{field: f, length: -1}
	_, value, _ := bytes.Cut(f.raw, []byte(":"))
	t, err := parseTags(string(value))
	if err != nil {
		return s, err
	}
	s.Algorithm, s.Selector = strings.ToLower(t["a"]), trim(t["s"])
	s.B = squeeze(t["b"])
	s.B = s.B[:min(len(s.B), 8)]
	for _, name := range []string{"v", "a", "b", "bh", "d", "h", "s"} {
		if t[name] == "" {
			return s, fmt.Errorf("no %s= tag", name)
		}
	}
	if t["v"] != "1" {
		return s, errors.New("unknown version")
	}
	if s.Domain, err = mail.ParseDomain(t["d"]); err != nil {
		return s, errors.New("d= is not a domain")
	}
	if _, err := mail.ParseDomain(s.Selector); err != nil {
		return s, errors.New("s= is not a selector")
	}
	for _, step := range []func(tags) error{s.parseIdentity, s.parseCanons, s.parseHeaders, s.parseSums, s.parseLength} {
		if err := step(t); err != nil {
			return s, err
		}
	}
	return s, s.checkTimes(t, now)
}

// parseIdentity reads i=: its domain is d= or below it.
func (s *signature) parseIdentity(t tags) error {
	i, ok := t["i"]
	if !ok {
		s.identity = s.Domain
		return nil
	}
	domain, err := mail.ParseDomain(i[strings.LastIndexByte(i, '@')+1:])
	if err != nil || domain != s.Domain && !strings.HasSuffix(domain, "."+s.Domain) {
		return errors.New("i= is not within d=")
	}
	s.identity = domain
	return nil
}

func (s *signature) parseCanons(t tags) error {
	c, ok := t["c"]
	if !ok {
		return nil // simple/simple
	}
	header, body, both := strings.Cut(strings.ToLower(c), "/")
	var okHeader, okBody bool
	s.header, okHeader = parseCanon(header)
	s.body, okBody = parseCanon(body)
	if !okHeader || both && !okBody {
		return errors.New("unknown canonicalization")
	}
	return nil
}

func (s *signature) parseHeaders(t tags) error {
	s.headers = list(t["h"])
	for _, name := range s.headers {
		if strings.EqualFold(name, "From") { // RFC 6376 §5.4
			return nil
		}
	}
	return errors.New("no signature over From")
}

func (s *signature) parseSums(t tags) (err error) {
	if s.sig, err = base64.StdEncoding.DecodeString(squeeze(t["b"])); err != nil {
		return errors.New("b= is not base64")
	}
	if s.bodySum, err = base64.StdEncoding.DecodeString(squeeze(t["bh"])); err != nil {
		return errors.New("bh= is not base64")
	}
	if q, ok := t["q"]; ok && !strings.Contains(q, "dns/txt") {
		return errors.New("unknown query method")
	}
	return nil
}

func (s *signature) parseLength(t tags) error {
	l, ok := t["l"]
	if !ok {
		return nil
	}
	n, err := strconv.ParseInt(l, 10, 64)
	if err != nil || n < 0 {
		return errors.New("l= is not a length")
	}
	s.length = n
	return nil
}

func (s *signature) checkTimes(t tags, now time.Time) error {
	x, ok := t["x"]
	if !ok {
		return nil
	}
	expires, err := strconv.ParseInt(x, 10, 64)
	if err != nil {
		return errors.New("x= is not a time")
	}
	if now.Unix() > expires {
		return errors.New("the signature has expired")
	}
	return nil
}

// withoutB is the DKIM-Signature field with the value of b= taken out and without its final CRLF: RFC 6376 §3.7.
func withoutB(f field) field {
	raw := bytes.TrimSuffix(f.raw, []byte("\r\n"))
	colon := bytes.IndexByte(raw, ':') + 1
	out := append([]byte(nil), raw[:colon]...)
	for i, spec := range bytes.Split(raw[colon:], []byte(";")) {
		if i > 0 {
			out = append(out, ';')
		}
		if name, _, ok := bytes.Cut(spec, []byte("=")); ok && trim(string(name)) == "b" {
			out = append(append(out, name...), '=')
			continue
		}
		out = append(out, spec...)
	}
	return field{f.name, out}
}
