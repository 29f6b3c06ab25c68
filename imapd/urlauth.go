package imapd

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"time"

	"posthouse/imapd/wire"
	"posthouse/mail"
	"posthouse/mailbox"
)

// urlAuth is URLAUTH: who owns a mailbox signs a URL of a message in it, which others may then fetch. The key of each mailbox is one of
// its entries, which no client can name.
func urlAuth() extension {
	return extension{
		name: "URLAUTH", rfc: "RFC 4467",
		commands: []command{
			{name: "GENURLAUTH", rfc: "RFC 4467 §7", in: loggedIn, parse: parseGenURLAuth},
			{name: "URLFETCH", rfc: "RFC 4467 §7", in: loggedIn, parse: parseURLFetch},
			{name: "RESETKEY", rfc: "RFC 4467 §7", in: loggedIn, parse: parseResetKey},
		},
		selected: func(b []byte, v *view) []byte { // §8
			if v.prefix != "" { // its owner has the key
				return b
			}
			return append(b, "* OK [URLMECH "+urlMechanism+"] URLs can be signed\r\n"...)
		},
	}
}

const (
	urlKeyEntry   = "/server/urlauth" // of a mailbox: its key
	urlKeySize    = 32                // octets
	urlMechanism  = "INTERNAL"        // the only one: RFC 4467 §2.4
	urlTokenBegin = "01"              // of a token of ours: an HMAC of the rump with SHA-256 follows
)

type genURLAuth struct{ urls []string }

func parseGenURLAuth(p *parser) (runner, error) {
	c := &genURLAuth{}
	for {
		var text, mechanism string
		if !(p.SP() && p.url(&c.urls, &text) && p.SP() && p.Label(&mechanism)) {
			return nil, p.Err()
		}
		if mechanism != urlMechanism {
			return nil, errURLMechanism
		}
		if p.AtEnd() {
			return c, nil
		}
	}
}

// url decodes one URL more.
func (p *parser) url(urls *[]string, text *string) bool {
	if len(*urls) >= maxURLs {
		return p.Refuse(errTooMany)
	}
	ok := p.AString(text)
	*urls = append(*urls, *text)
	return ok
}

// run signs all URLs or none. They must be of the user's own mailboxes, for only he has their keys, and not signed yet. A BAD is what RFC
// 4467 §7 asks for.
func (c *genURLAuth) run(ctx context.Context, s *session) (reply, error) {
	signed := make([]string, len(c.urls))
	for i, text := range c.urls {
		u, err := s.table.parseURL(text)
		if err != nil || u.grant.mechanism != "" || u.grant.access == "" || !s.isHost(u.host) || !s.isOwn(u.user) || !u.grant.isKnown() {
			return reply{}, errUnsignable
		}
		box, err := s.account.Box(ctx, u.mailbox)
		if err != nil || u.validity != 0 && u.validity != box.UIDValidity {
			return reply{}, errUnsignable
		}
		key, err := s.urlKey(ctx, box.ID)
		if err != nil {
			return reply{}, err
		}
		signed[i] = text + ":" + strings.ToLower(urlMechanism) + ":" + urlToken(key, text)
	}
	return reply{}, s.write(func(b []byte) []byte {
		b = append(b, "* GENURLAUTH"...)
		for _, text := range signed {
			b = wire.AppendString(append(b, ' '), text)
		}
		return append(b, "\r\n"...)
	})
}

// isHost tells whether a URL's server is this one.
func (s *session) isHost(host string) bool {
	name, _, _ := strings.Cut(host, ":")
	return strings.EqualFold(name, s.server.opts.Hostname)
}

// isOwn tells whether a URL's user is the session's.
func (s *session) isOwn(user string) bool {
	login, err := mail.ParseAddress(user)
	return err == nil && login.FoldLocal() == s.who.Login
}

// isKnown tells whether we know whom a URL is for: RFC 4467 §2.2. Of those who submit by URL, with "submit+", there are none here yet.
func (g *urlGrant) isKnown() bool {
	user, isUser := cutFold(g.access, "user+")
	_, submits := cutFold(g.access, "submit+")
	return isUser && user != "" || submits || strings.EqualFold(g.access, "authuser") || strings.EqualFold(g.access, "anonymous")
}

// admits tells whether a URL is for a user who has logged in, now.
func (g *urlGrant) admits(login mail.Address, now time.Time) bool {
	if !g.expire.IsZero() && !now.Before(g.expire) {
		return false
	}
	if user, only := cutFold(g.access, "user+"); only {
		a, err := mail.ParseAddress(user)
		return err == nil && a.FoldLocal() == login
	}
	return strings.EqualFold(g.access, "authuser") || strings.EqualFold(g.access, "anonymous")
}

// urlKey is the key of one of the user's mailboxes, made if there is none.
func (s *session) urlKey(ctx context.Context, box mailbox.BoxID) ([]byte, error) {
	key, err := urlKeyOf(ctx, s.account, box)
	if err != nil || key != nil {
		return key, err
	}
	return newURLKey(ctx, s.account, box)
}

func urlKeyOf(ctx context.Context, account mailbox.Account, box mailbox.BoxID) ([]byte, error) {
	all, err := account.Annotations(ctx, box, 0)
	for _, a := range all {
		if a.Entry == urlKeyEntry {
			return a.Value, err
		}
	}
	return nil, err
}

func newURLKey(ctx context.Context, account mailbox.Account, box mailbox.BoxID) ([]byte, error) {
	key := make([]byte, urlKeySize)
	rand.Read(key)
	_, err := account.Apply(ctx, mailbox.SetAnnotation{Box: box, Entry: urlKeyEntry, Value: key})
	return key, err
}

// urlToken signs the rump of a URL.
func urlToken(key []byte, rump string) string {
	h := hmac.New(sha256.New, key)
	io.WriteString(h, rump) //nolint:errcheck // a hash has no errors
	return urlTokenBegin + hex.EncodeToString(h.Sum(nil))
}

type urlFetch struct{ urls []string }

func parseURLFetch(p *parser) (runner, error) {
	c := &urlFetch{}
	for !p.AtEnd() || c.urls == nil {
		var text string
		if !p.SP() || !p.url(&c.urls, &text) {
			return nil, p.Err()
		}
	}
	return c, nil
}

// run gives the octets of each URL, or NIL whatever is wrong with it: RFC 4467 §7.
func (c *urlFetch) run(ctx context.Context, s *session) (reply, error) {
	if err := s.out.WriteString("* URLFETCH"); err != nil {
		return reply{}, err
	}
	for _, text := range c.urls {
		b := wire.AppendString(append(s.out.Available(), ' '), text)
		if err := s.out.Advance(append(b, ' ')); err != nil {
			return reply{}, err
		}
		if err := s.sendURL(ctx, text); err != nil {
			s.cut(err)
			return reply{}, err
		}
	}
	return reply{}, s.out.WriteString("\r\n")
}

// sendURL writes what a URL points to.
func (s *session) sendURL(ctx context.Context, text string) (err error) {
	found, release, err := s.fetchURL(ctx, text)
	if err != nil {
		if !isNoURL(err) {
			s.log.Error("a URL cannot be fetched", "err", err)
		}
		return s.out.WriteString("NIL")
	}
	defer func() { err = errors.Join(err, found.Close(), release()) }()
	if err := s.out.Advance(wire.AppendLiteral(s.out.Available(), found.size)); err != nil {
		return err
	}
	_, err = io.Copy(s.out, found)
	return err
}

// isNoURL tells errors that only say that there is nothing there, or not for this user.
func isNoURL(err error) bool {
	for _, usual := range []error{errURL, mailbox.ErrNoBox, mailbox.ErrNoBlob, mailbox.ErrBoxName} {
		if errors.Is(err, usual) {
			return true
		}
	}
	return false
}

// fetchURL opens what a URL points to, if its owner signed it for this user. The owner's account is open until release.
func (s *session) fetchURL(ctx context.Context, text string) (found *pointed, release func() error, err error) {
	u, err := s.table.parseURL(text)
	if err != nil || u.grant.mechanism != urlMechanism || !s.isHost(u.host) || !u.grant.admits(s.who.Login, time.Now()) {
		return nil, nil, errURL
	}
	owner, err := s.ownerOf(ctx, u.user)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, owner.Close())
		}
	}()
	box, err := owner.Box(ctx, u.mailbox)
	if err != nil {
		return nil, nil, err
	}
	key, err := urlKeyOf(ctx, owner, box.ID)
	if err != nil {
		return nil, nil, err
	}
	if key == nil || !hmac.Equal([]byte(urlToken(key, u.grant.rump)), []byte(strings.ToLower(u.grant.token))) {
		return nil, nil, errURL
	}
	found, err = u.open(ctx, owner, box.ID)
	return found, owner.Close, err
}

// ownerOf opens the account of a URL's user.
func (s *session) ownerOf(ctx context.Context, user string) (mailbox.Account, error) {
	login, err := mail.ParseAddress(user)
	if err != nil {
		return nil, errURL
	}
	id := s.who.ID
	if login = login.FoldLocal(); login != s.who.Login {
		if s.server.opts.Sharing == nil {
			return nil, errURL
		}
		who, err := s.server.opts.Sharing.Account(ctx, login)
		if err != nil || !who.Disabled.IsZero() {
			return nil, errURL
		}
		id = who.ID
	}
	return s.server.opts.Store.Account(ctx, id)
}

type resetKey struct {
	all bool
	box string
}

func parseResetKey(p *parser) (runner, error) {
	c := &resetKey{all: p.AtEnd()}
	if c.all {
		return c, nil
	}
	if !p.SP() || !p.AString(&c.box) {
		return nil, p.Err()
	}
	for !p.AtEnd() {
		var mechanism string
		if !p.SP() || !p.Label(&mechanism) {
			return nil, p.Err()
		}
		if mechanism != urlMechanism {
			return nil, errURLMechanism
		}
	}
	return c, nil
}

// run makes all URLs of a mailbox, or of all, worthless that were signed until now.
func (c *resetKey) run(ctx context.Context, s *session) (reply, error) {
	if c.all {
		return reply{}, s.forgetURLKeys(ctx)
	}
	name, err := s.dialect.name(c.box)
	if err != nil {
		return reply{}, err
	}
	box, err := s.account.Box(ctx, name)
	if err != nil {
		return reply{}, err
	}
	if _, err := newURLKey(ctx, s.account, box.ID); err != nil {
		return reply{}, err
	}
	return done("URLMECH " + urlMechanism), nil
}

func (s *session) forgetURLKeys(ctx context.Context) error {
	boxes, _, err := s.account.Annotated(ctx, 0)
	if err != nil {
		return err
	}
	var changes []mailbox.Mutation
	for _, box := range boxes {
		key, err := urlKeyOf(ctx, s.account, box)
		if err != nil {
			return err
		}
		if key != nil {
			changes = append(changes, mailbox.SetAnnotation{Box: box, Entry: urlKeyEntry})
		}
	}
	if changes == nil {
		return nil
	}
	_, err = s.account.Apply(ctx, changes...)
	return err
}
