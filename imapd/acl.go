package imapd

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/xdg-go/stringprep"

	"posthouse/directory"
	"posthouse/imapd/wire"
	"posthouse/mail"
	"posthouse/mailbox"
)

// acl is ACL: RFC 4314. The owner of a mailbox has all rights, always. Others have what is granted to them and to anyone, but for what is
// taken from one of them; what anyone has is for whoever runs the server to say.
func acl() extension {
	return extension{
		name: "ACL", rfc: "RFC 4314",
		words: func(*session) []string { return []string{"ACL", "RIGHTS=" + newRights} },
		commands: []command{
			{name: "SETACL", rfc: "RFC 4314 §3.1", in: loggedIn, parse: parseSetACL},
			{name: "DELETEACL", rfc: "RFC 4314 §3.2", in: loggedIn, parse: parseDeleteACL},
			{name: "GETACL", rfc: "RFC 4314 §3.3", in: loggedIn, beside: true, parse: parseGetACL},
			{name: "LISTRIGHTS", rfc: "RFC 4314 §3.4", in: loggedIn, beside: true, parse: parseListRights},
			{name: "MYRIGHTS", rfc: "RFC 4314 §3.5", in: loggedIn, beside: true, parse: parseMyRights},
		},
	}
}

// newRights are those that RFC 2086 had not: RFC 4314 §2.2.
const newRights = "kxte"

// listMyRights is LIST-MYRIGHTS: RFC 8440.
func listMyRights() extension {
	return extension{
		name: "LIST-MYRIGHTS", rfc: "RFC 8440", needs: "ACL",
		lists: []listOption{{name: "MYRIGHTS", returns: func(_ *parser, c *listCommand) bool { c.rights = true; return true }}},
	}
}

// grantee is whom an identifier means.
type grantee struct {
	who   string         // as the mailbox keeps it
	id    mail.AccountID // whose rights they are; empty: anyone's
	takes bool           // the rights are taken away: RFC 4314 §2
}

const (
	negative = "-"
	anyone   = mailbox.Anyone
)

// grantee is whom an identifier means: a login name, or anyone, with a "-" before or not.
func (s *session) grantee(ctx context.Context, identifier string) (g grantee, err error) {
	name, takes := strings.CutPrefix(identifier, negative)
	name, err = stringprep.SASLprep.Prepare(name)
	if err != nil || name == "" { // RFC 4314 §3
		return g, errIdentifier
	}
	if s.server.opts.Sharing == nil {
		return g, errNobody
	}
	if name == anyone {
		return grantee{who: identifier, takes: takes}, nil
	}
	login, err := mail.ParseAddress(name)
	if err != nil {
		return g, errNobody
	}
	account, err := s.server.opts.Sharing.Account(ctx, login)
	switch {
	case errors.Is(err, directory.ErrNoAccount) || err == nil && account.Shared:
		return g, errNobody
	case err != nil:
		return g, err
	}
	g = grantee{who: string(account.ID), id: account.ID, takes: takes}
	if takes {
		g.who = negative + g.who
	}
	return g, nil
}

type setACL struct {
	box, identifier string
	op              mailbox.FlagOp
	rights          mailbox.Rights
}

func parseSetACL(p *parser) (runner, error) {
	c := &setACL{op: mailbox.ReplaceFlags}
	var rights string
	if !(p.SP() && p.AString(&c.box) && p.SP() && p.AString(&c.identifier) && p.SP() && p.AString(&rights) && p.End()) {
		return nil, p.Err()
	}
	if letters, adds := strings.CutPrefix(rights, "+"); adds {
		rights, c.op = letters, mailbox.AddFlags
	} else if letters, takes := strings.CutPrefix(rights, "-"); takes {
		rights, c.op = letters, mailbox.RemoveFlags
	}
	var ok bool
	if c.rights, ok = mailbox.ParseRights(rights); !ok {
		return nil, errRights
	}
	return c, nil
}

func parseDeleteACL(p *parser) (runner, error) {
	c := &setACL{op: mailbox.ReplaceFlags}
	if !(p.SP() && p.AString(&c.box) && p.SP() && p.AString(&c.identifier) && p.End()) {
		return nil, p.Err()
	}
	return c, nil
}

// run is SETACL and DELETEACL.
func (c *setACL) run(ctx context.Context, s *session) (reply, error) {
	at, err := s.place(ctx, c.box, toAdminister)
	if err != nil {
		return reply{}, err
	}
	g, err := s.grantee(ctx, c.identifier)
	switch {
	case err != nil:
		return reply{}, err
	case g.id == at.owner: // who has all rights
		if g.takes || c.op == mailbox.RemoveFlags || c.op == mailbox.ReplaceFlags && c.rights != mailbox.AllRights {
			err = errOwner
		}
		return reply{}, err
	case g.id == "" && (g.takes || c.op != mailbox.ReplaceFlags || c.rights != 0): // the operator only, but for ending it
		return reply{}, errNoPerm
	}
	sharer := mailbox.Sharer{Account: at.account, Owner: at.owner, Hints: s.server.opts.Sharing}
	return reply{}, sharer.Set(ctx, mailbox.SetRights{Box: at.ID, Who: g.who, Op: c.op, Rights: c.rights})
}

// parseGetACL: the owner is among those that the list names, and all are told in the order of their names.
func parseGetACL(p *parser) (runner, error) {
	return p.aboutRights(toAdminister, func(ctx context.Context, s *session, at *place) error {
		var list []mailbox.Grant
		for _, g := range append([]mailbox.Grant{{Who: string(at.owner), Rights: mailbox.AllRights}}, at.ACL...) {
			name, err := s.identifier(ctx, g.Who)
			if err != nil {
				return err
			}
			if name != "" { // else nobody logs in as that, or not any more
				list = append(list, mailbox.Grant{Who: name, Rights: g.Rights})
			}
		}
		slices.SortFunc(list, func(a, b mailbox.Grant) int { return strings.Compare(a.Who, b.Who) })
		return s.write(func(b []byte) []byte {
			b = s.dialect.appendName(append(b, "* ACL "...), at.shown().Name)
			for _, g := range list {
				b = appendRights(append(b, ' '), g.Who, g.Rights)
			}
			return append(b, "\r\n"...)
		})
	})
}

// appendRights writes an identifier with its rights.
func appendRights(b []byte, identifier string, r mailbox.Rights) []byte {
	return wire.AppendAString(append(wire.AppendAString(b, identifier), ' '), rightsText(r))
}

// identifier is how a client names whom a mailbox knows; empty: nobody, or nobody who logs in.
func (s *session) identifier(ctx context.Context, who string) (string, error) {
	name, takes := strings.CutPrefix(who, negative)
	if name == anyone || s.server.opts.Sharing == nil {
		return who, nil
	}
	a, err := s.server.opts.Sharing.AccountByID(ctx, mail.AccountID(name))
	switch {
	case errors.Is(err, directory.ErrNoAccount) || err == nil && a.Shared:
		return "", nil
	case err != nil:
		return "", err
	case takes:
		return negative + a.Login.String(), nil
	}
	return a.Login.String(), nil
}

// aboutRights parses a command that tells something of a mailbox's rights.
func (p *parser) aboutRights(takes needs, tell func(ctx context.Context, s *session, at *place) error) (runner, error) {
	var raw string
	if !p.SP() || !p.AString(&raw) || !p.End() {
		return nil, p.Err()
	}
	return runnerFunc(func(ctx context.Context, s *session) (reply, error) {
		at, err := s.place(ctx, raw, takes)
		if err == nil && at.NoSelect {
			err = mailbox.ErrNoBox
		}
		if err == nil {
			err = tell(ctx, s, &at)
		}
		return reply{}, err
	}), nil
}

func parseMyRights(p *parser) (runner, error) {
	return p.aboutRights(toKnow, func(_ context.Context, s *session, at *place) error {
		return s.write(func(b []byte) []byte { return s.dialect.appendMyRights(b, at.shown().Name, at.rights) })
	})
}

// appendMyRights writes the response of RFC 4314 §3.8.
func (d dialect) appendMyRights(b []byte, name string, r mailbox.Rights) []byte {
	b = append(d.appendName(append(b, "* MYRIGHTS "...), name), ' ')
	return append(wire.AppendAString(b, rightsText(r)), "\r\n"...)
}

func parseListRights(p *parser) (runner, error) {
	var raw, identifier string
	if !(p.SP() && p.AString(&raw) && p.SP() && p.AString(&identifier) && p.End()) {
		return nil, p.Err()
	}
	return runnerFunc(func(ctx context.Context, s *session) (reply, error) {
		at, err := s.place(ctx, raw, toAdminister)
		if err != nil {
			return reply{}, err
		}
		g, err := s.grantee(ctx, identifier)
		if err != nil {
			return reply{}, err
		}
		return reply{}, s.write(func(b []byte) []byte {
			b = append(s.dialect.appendName(append(b, "* LISTRIGHTS "...), at.shown().Name), ' ')
			b = append(wire.AppendAString(b, identifier), ' ') // as the client wrote it: §3.4
			return append(appendGrantable(b, g, at.owner), "\r\n"...)
		})
	}), nil
}

// appendGrantable writes which rights somebody always has, and which can be granted, none of them tied to another: RFC 4314 §3.7.
func appendGrantable(b []byte, g grantee, owner mail.AccountID) []byte {
	if g.id == owner {
		return wire.AppendAString(b, rightsText(mailbox.AllRights))
	}
	b = wire.AppendAString(b, "")
	if g.id == "" { // by the operator only
		return b
	}
	for _, letter := range rightsText(mailbox.AllRights) {
		b = append(append(b, ' '), byte(letter))
	}
	return b
}
