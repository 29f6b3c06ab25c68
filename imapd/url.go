package imapd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"posthouse/imapd/wire"
	"posthouse/mail/mime"
	"posthouse/mailbox"
)

// messageURL is an IMAP URL of a message or a part of one: RFC 5092 §6. One without a server is relative to the session's.
type messageURL struct {
	user, host string // decoded
	mailbox    string // in UTF-8; empty: the selected one
	validity   uint32 // UIDVALIDITY; 0: any
	uid        mailbox.UID
	item       sectionItem
	grant      urlGrant
}

// urlGrant is what a URL of RFC 4467 says of who may fetch it.
type urlGrant struct {
	rump      string // all that is signed: the URL up to the mechanism
	expire    time.Time
	access    string // "authuser", "user+alice@north.test", …; empty: it has no URLAUTH
	mechanism string // in capitals; empty: it is not signed yet
	token     string
}

var errURL = errors.New("imapd: not a URL of a message")

// parseURL decodes a URL. Names of its parameters are compared without case.
func (t *table) parseURL(text string) (*messageURL, error) {
	if len(text) > maxURL || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, errURL
	}
	u := &messageURL{}
	rest, err := u.parseServer(text)
	if err != nil {
		return nil, err
	}
	rest, err = u.parseGrant(text, rest)
	if err != nil {
		return nil, err
	}
	parts := strings.Split(rest, "/;") // no "/;" is in a name that is encoded: RFC 5092 §11
	name, _, _ := strings.Cut(parts[0], "?")
	if u.host == "" && strings.HasPrefix(name, ";") { // relative to the selected mailbox: RFC 4469 §3
		parts, name = slices.Insert(parts, 1, name[1:]), ""
	}
	if name != parts[0] && name != "" || strings.Contains(name, "//") {
		return nil, errURL // it is a search, or of another scheme
	}
	if err := u.parseMailbox(strings.TrimPrefix(name, "/")); err != nil {
		return nil, err
	}
	return u, u.parseMessage(t, parts[1:])
}

// parseServer decodes the server of an absolute URL, and returns what follows.
func (u *messageURL) parseServer(text string) (rest string, err error) {
	rest, absolute := cutFold(text, "imap://")
	if !absolute {
		return text, nil
	}
	server, path, _ := strings.Cut(rest, "/")
	user, host, found := strings.Cut(server, "@")
	if !found {
		user, host = "", server
	}
	user, _, _ = strings.Cut(user, ";") // ";AUTH=": how to log in, for whom has to
	if u.user, err = url.PathUnescape(user); err != nil || host == "" {
		return "", errURL
	}
	u.host = host
	return "/" + path, nil
}

// parseGrant takes the parts of RFC 4467 off the end of a URL.
func (u *messageURL) parseGrant(text, rest string) (string, error) {
	at := indexFold(rest, ";URLAUTH=")
	if at < 0 {
		return rest, nil
	}
	g := &u.grant
	g.rump = text
	access, signature, signed := strings.Cut(rest[at+len(";URLAUTH="):], ":")
	if signed {
		g.rump = text[:len(text)-len(signature)-1]
		g.mechanism, g.token, signed = strings.Cut(signature, ":")
		if g.mechanism = strings.ToUpper(g.mechanism); !signed || g.mechanism == "" || g.token == "" {
			return "", errURL
		}
	}
	var err error
	if g.access, err = url.PathUnescape(access); err != nil || g.access == "" {
		return "", errURL
	}
	rest = rest[:at]
	if at := indexFold(rest, ";EXPIRE="); at >= 0 {
		if g.expire, err = time.Parse(time.RFC3339, strings.ToUpper(rest[at+len(";EXPIRE="):])); err != nil {
			return "", errURL
		}
		rest = rest[:at]
	}
	return rest, nil
}

func (u *messageURL) parseMailbox(text string) error {
	name, parameter, found := strings.Cut(text, ";")
	if found {
		value, known := cutFold(parameter, "UIDVALIDITY=")
		n, err := strconv.ParseUint(value, 10, 32)
		if !known || err != nil || n == 0 {
			return errURL
		}
		u.validity = uint32(n)
	}
	var err error
	if u.mailbox, err = url.PathUnescape(name); err != nil || !utf8.ValidString(u.mailbox) || u.mailbox == "" && u.host != "" {
		return errURL
	}
	return nil
}

// parseMessage decodes "UID=20", "SECTION=1.2" and "PARTIAL=0.1024", in this order.
func (u *messageURL) parseMessage(t *table, parts []string) error {
	var value string
	next := func(name string) (found bool) {
		if len(parts) == 0 {
			return false
		}
		if value, found = cutFold(parts[0], name); found {
			parts = parts[1:]
		}
		return found
	}
	if !next("UID=") {
		return errURL
	}
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil || n == 0 {
		return errURL
	}
	u.uid = mailbox.UID(n)
	if next("SECTION=") {
		if u.item.section, err = t.parseSection(value); err != nil {
			return err
		}
	}
	if next("PARTIAL=") {
		if u.item.partial, err = parsePartial(value); err != nil {
			return err
		}
	}
	if len(parts) > 0 {
		return errURL
	}
	return nil
}

// parseSection reads a section as FETCH does.
func (t *table) parseSection(encoded string) (s section, err error) {
	text, err := url.PathUnescape(encoded)
	if err != nil || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r >= 0x7f }) {
		return s, errURL
	}
	d := wire.NewDecoder(strings.NewReader(text + "]\r\n"))
	d.Limits = wire.Limits{Line: maxURL + 3, Discard: maxURL + 3, Depth: 2}
	p := &parser{d, t}
	if err := d.Next(); err != nil || text == "" || !p.section(&s) || !p.End() {
		return s, errURL
	}
	return s, nil
}

// parsePartial decodes a partial-range of RFC 5092 §11: an offset and, if it does not go to the end, a length.
func parsePartial(text string) (partial, error) {
	from, count, bounded := strings.Cut(text, ".")
	first, err := strconv.ParseUint(from, 10, 63)
	n := uint64(1<<63 - 1)
	if err == nil && bounded {
		n, err = strconv.ParseUint(count, 10, 63)
	}
	if err != nil || n == 0 {
		return partial{}, errURL
	}
	return partial{asked: true, first: int64(first), count: int64(n)}, nil
}

// cutFold is strings.CutPrefix without regard to case.
func cutFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// indexFold is the last place of a text in ASCII, without regard to case.
func indexFold(s, text string) int { return strings.LastIndex(strings.ToUpper(s), text) }

// pointed is what a URL points to, open.
type pointed struct {
	io.Reader
	io.Closer
	size int64
}

// open opens what the URL names in an account. If there is no such thing it is errURL.
func (u *messageURL) open(ctx context.Context, account mailbox.Account, box mailbox.BoxID) (*pointed, error) {
	snapshot, err := account.Snapshot(ctx, box)
	if err != nil {
		return nil, err
	}
	pos, found := snapshot.Find(u.uid)
	if !found || u.validity != 0 && u.validity != snapshot.Box.UIDValidity {
		return nil, errURL
	}
	blob := snapshot.At(pos).Blob
	content, err := account.Open(ctx, blob)
	if err != nil {
		return nil, err
	}
	l := &pointed{Closer: content}
	if l.Reader, l.size, err = u.item.reader(ctx, &opened{content, account, blob}); err != nil {
		return nil, errors.Join(err, content.Close())
	}
	return l, nil
}

// reader is what FETCH would answer with, and its size.
func (i *sectionItem) reader(ctx context.Context, m *opened) (io.Reader, int64, error) {
	if !i.ofTop() && !i.whole() {
		if err := m.parts(ctx, i.find); err != nil {
			return nil, 0, err
		}
		if !i.found {
			return nil, 0, errURL
		}
	}
	if err := i.prepare(ctx, m); err != nil {
		return nil, 0, err
	}
	var from io.ReaderAt = m
	span := i.span
	if i.fields != nil {
		from, span = bytes.NewReader(i.kept), mime.Span{Len: int64(len(i.kept))}
	}
	part := i.of(span.Len)
	return io.NewSectionReader(from, span.Off+part.Off, part.Len), part.Len, nil
}
