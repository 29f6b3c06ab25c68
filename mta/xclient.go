package mta

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"posthouse/directory"
	"posthouse/mail"
	"posthouse/mail/smtp"
)

// proxied is what a proxy says of the client behind it.
type proxied struct {
	name     string // in DNS
	addr     netip.Addr
	port     uint16
	helo     string
	extended bool   // it said EHLO
	login    string // whom it is authenticated as, there
	ident    string // of the message, there
	source   string // "LOCAL" or "REMOTE"
	dest     string // where it connected to
}

// errAttribute is a value that cannot be what its name says.
var errAttribute = errors.New("mta: bad value of an attribute")

// clientAttributes read the values of XCLIENT and XFORWARD.
var clientAttributes = map[string]func(c *proxied, value string) error{
	"NAME":     func(c *proxied, v string) error { c.name = v; return nil },
	"ADDR":     (*proxied).readAddr,
	"PORT":     (*proxied).readPort,
	"PROTO":    (*proxied).readProtocol,
	"HELO":     (*proxied).readHello,
	"LOGIN":    func(c *proxied, v string) error { c.login = v; return nil },
	"IDENT":    func(c *proxied, v string) error { c.ident = v; return nil },
	"SOURCE":   func(c *proxied, v string) error { c.source = v; return nil },
	"DESTADDR": func(c *proxied, v string) error { c.dest = v; return nil },
	"DESTPORT": func(c *proxied, v string) error { c.dest += " " + v; return nil },
}

// What each command takes, in the order of the EHLO answer.
var (
	xclientNames  = []string{"NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT"}
	xforwardNames = []string{"NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE"}
)

func (c *proxied) readAddr(v string) error {
	if v6, ok := strings.CutPrefix(strings.ToUpper(v), "IPV6:"); ok {
		v = v6
	}
	addr, err := netip.ParseAddr(v)
	if err != nil || addr.Zone() != "" {
		return errAttribute
	}
	c.addr = addr.Unmap()
	return nil
}

func (c *proxied) readPort(v string) error {
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil {
		return errAttribute
	}
	c.port = uint16(n)
	return nil
}

func (c *proxied) readProtocol(v string) error {
	c.extended = strings.EqualFold(v, "ESMTP")
	if !c.extended && !strings.EqualFold(v, "SMTP") {
		return errAttribute
	}
	return nil
}

func (c *proxied) readHello(v string) (err error) {
	if c.helo, err = smtp.ParseHello([]byte(v)); err != nil {
		return errAttribute
	}
	return nil
}

// read takes the words of a command. What it does not name stays as it was; a client whose address the proxy does not know has none, and
// by no means the proxy's, which may be one that we trust.
func (c *proxied) read(args []byte, names []string) error {
	all, err := smtp.ParseAttributes(args, names)
	for _, a := range all {
		switch {
		case a.Known == smtp.Known:
			err = errors.Join(err, clientAttributes[a.Name](c, a.Value))
		case a.Name == "ADDR":
			c.addr, c.port = netip.Addr{}, 0
		}
	}
	return err
}

// fromProxy tells whether the other end of the connection may speak for others.
func (s *session) fromProxy() bool {
	return slices.ContainsFunc(s.server.opts.XClientFrom, func(p netip.Prefix) bool { return p.Contains(s.peer.Addr()) })
}

// isUnnamed tells a proxy that has not said yet for whom it is here: there is nobody to judge.
func (s *session) isUnnamed() bool { return s.remote == s.peer && s.fromProxy() }

// xclient is XCLIENT, as Postfix documents it in XCLIENT_README: the session is that of another client from here on.
func xclient() extension {
	return extension{
		name:    "XCLIENT",
		rfc:     "XCLIENT_README",
		bit:     smtp.XClient,
		offered: (*session).fromProxy,
		params:  func(*session) string { return strings.Join(xclientNames, " ") },
		verbs:   []verb{{"XCLIENT", "XCLIENT_README", 0, runXClient}},
	}
}

func runXClient(ctx context.Context, s *session, args []byte) answer {
	if s.tx != nil {
		return say(replyInMail)
	}
	c := proxied{addr: s.remote.Addr(), port: s.remote.Port(), extended: true}
	if err := c.read(args, xclientNames); err != nil {
		return say(replyTo(smtp.ErrSyntax))
	}
	account, err := s.loginOf(ctx, c.login)
	if err != nil {
		s.log.Info("XCLIENT names no account", "login", c.login, "err", err)
		return say(replyTo(err))
	}
	if r := s.becomes(netip.AddrPortFrom(c.addr, c.port)); r.Code != 0 {
		s.doing = "connections"
		s.log.Info("connection refused", "stage", s.doing, "client", c.addr, "reply", r.Text)
		return sayAll(r)
	}
	s.log.Info("client behind a proxy", "name", c.name, "helo", c.helo, "login", c.login, "destination", c.dest)
	s.endTransaction()
	s.hello = greeting{name: c.helo, extended: c.helo != "" && c.extended}
	s.becomesUser(account, "XCLIENT") // as Postfix calls it towards filters
	s.errors, s.junk, s.authFailures = 0, 0, 0
	s.connected, s.greeted, s.barred = findings{}, findings{}, time.Time{}
	s.client.HELO = c.helo
	a := s.welcome(ctx)
	if c.helo != "" && s.barred.IsZero() && s.judgeHello(ctx, c.helo).Code != 0 { // it must greet by itself, and hears what is wrong
		s.hello = greeting{}
	}
	return a
}

// loginOf is the account that a proxy has authenticated; a listener that knows no users passes over it.
func (s *session) loginOf(ctx context.Context, login string) (directory.Account, error) {
	if login == "" || !s.server.traits.submission {
		return noAccount, nil
	}
	a, err := mail.ParseAddress(login)
	if err != nil {
		return noAccount, smtp.ErrPath
	}
	account, err := s.server.opts.Directory.Account(ctx, a)
	if err == nil && !account.Disabled.IsZero() {
		err = directory.ErrDisabled
	}
	if err != nil {
		return noAccount, err
	}
	return account, nil
}

// becomes makes the session that of another client, whose limits it counts for; the reply refuses it.
func (s *session) becomes(remote netip.AddrPort) smtp.Reply {
	if r := s.server.opts.Clients.enter(remote.Addr(), time.Now()); r.Code != 0 {
		return r
	}
	before, old := s.remote, s.network()
	s.setRemote(remote)
	if !s.server.recount(old, s.network()) {
		s.setRemote(before)
		return replyBusyFrom
	}
	s.log = s.server.logOf(s)
	return smtp.Reply{}
}

// setRemote says who the client is.
func (s *session) setRemote(remote netip.AddrPort) {
	s.client.Close()
	s.remote, s.client.Remote, s.client.TalksFirst = remote, remote, s.talksFirst
	if s.server.opts.Clients.trusts(remote.Addr()) {
		s.client.TalksFirst = nil
	}
	s.trusted = slices.ContainsFunc(s.server.opts.RelayFrom, func(p netip.Prefix) bool { return p.Contains(remote.Addr()) })
}
