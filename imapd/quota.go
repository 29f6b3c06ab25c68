package imapd

import (
	"context"
	"errors"
	"math"

	"posthouse/directory"
	"posthouse/imapd/wire"
	"posthouse/mail"
	"posthouse/mailbox"
)

// quota is QUOTA: RFC 9208. Each account is a quota root; its limits are set elsewhere.
func quota() extension {
	return extension{
		name: "QUOTA", rfc: "RFC 9208",
		commands: []command{
			{name: "GETQUOTA", rfc: "RFC 9208 §4.1.1", in: loggedIn, beside: true, parse: parseGetQuota},
			{name: "GETQUOTAROOT", rfc: "RFC 9208 §4.1.2", in: loggedIn, beside: true, parse: parseGetQuotaRoot},
		},
	}
}

// quotaSet is QUOTASET, for accounts that administer.
func quotaSet() extension {
	return extension{
		name: "QUOTASET", rfc: "RFC 9208", needs: "QUOTA",
		offered:  (*session).administers,
		commands: []command{{name: "SETQUOTA", rfc: "RFC 9208 §4.1.3", in: loggedIn, parse: parseSetQuota}},
	}
}

func (s *session) administers() bool { return s.who.Role == directory.Administrator }

// quotaStorage and quotaMessage are the resources: RFC 9208 §5.
func quotaStorage() extension {
	return extension{
		name: "QUOTA=RES-STORAGE", rfc: "RFC 9208", needs: "QUOTA",
		status: []statusItem{deletedItem(), count("DELETED-STORAGE", func(b *mailbox.Box) int64 { return b.DeletedSize })}, // §4.1.4
	}
}

func quotaMessage() extension {
	return extension{name: "QUOTA=RES-MESSAGE", rfc: "RFC 9208", needs: "QUOTA"}
}

// quotaRoot is the name of the user's own. Another's is his login name.
const quotaRoot = ""

// quotaUnit is what STORAGE is counted in, in octets: RFC 9208 §5.1.
const quotaUnit = 1024

func parseGetQuota(p *parser) (runner, error) {
	var root string
	if !p.SP() || !p.AString(&root) || !p.End() {
		return nil, p.Err()
	}
	return runnerFunc(func(ctx context.Context, s *session) (reply, error) {
		at, err := s.quotaRoot(ctx, root)
		if err != nil {
			return reply{}, err
		}
		return reply{}, s.tellQuota(ctx, root, &at)
	}), nil
}

// quotaRoot is a place below a quota root. Another's is for those who may read one of its mailboxes, and so learn how much there is.
func (s *session) quotaRoot(ctx context.Context, root string) (place, error) {
	if root == quotaRoot {
		return place{account: s.account, quota: s.who.Quota}, nil
	}
	login, err := mail.ParseAddress(root)
	if err != nil {
		return place{}, errQuotaRoot
	}
	if s.administers() {
		return s.anyRoot(ctx, login.FoldLocal())
	}
	for _, namespace := range []string{otherUsers, sharedFolders} {
		f, err := s.foreignAccount(ctx, foreignName{namespace, login.FoldLocal(), mailbox.Inbox})
		if errors.Is(err, mailbox.ErrNoBox) {
			continue
		}
		if err != nil {
			return place{}, err
		}
		boxes, err := f.mailbox.Boxes(ctx)
		if err != nil {
			return place{}, err
		}
		for _, box := range boxes {
			if at := f.place(box, s.who.ID); toRead.check(at.rights) == nil {
				return at, nil
			}
		}
	}
	return place{}, errQuotaRoot
}

// anyRoot is the quota root of any account, for who administers.
func (s *session) anyRoot(ctx context.Context, login mail.Address) (place, error) {
	if s.server.opts.Sharing == nil {
		return place{}, errQuotaRoot
	}
	owner, err := s.server.opts.Sharing.Account(ctx, login)
	if errors.Is(err, directory.ErrNoAccount) {
		return place{}, errQuotaRoot
	}
	if err != nil {
		return place{}, err
	}
	if owner.ID == s.who.ID {
		return place{account: s.account, quota: owner.Quota}, nil
	}
	f, err := s.openForeign(ctx, owner)
	if err != nil {
		return place{}, err
	}
	return place{account: f.mailbox, quota: owner.Quota}, nil
}

type setQuota struct {
	root  string
	quota directory.Quota
}

// parseSetQuota: what the list does not name has no limit.
func parseSetQuota(p *parser) (runner, error) {
	c := &setQuota{}
	if !(p.SP() && p.AString(&c.root) && p.SP() && p.List(func() bool { return p.resource(&c.quota) }) && p.End()) {
		return nil, p.Err()
	}
	return c, nil
}

// resource decodes a setquota-resource. There is no limit of nothing: that is disabling the account.
func (p *parser) resource(q *directory.Quota) bool {
	var name string
	var limit int64
	if !(p.Label(&name) && p.SP() && p.Number64(&limit)) {
		return false
	}
	switch {
	case limit == 0, limit > math.MaxInt64/quotaUnit:
		return p.Refuse(errQuotaLimit)
	case name == "STORAGE":
		q.Octets = limit * quotaUnit
	case name == "MESSAGE":
		q.Messages = limit
	default:
		return p.Refuse(errResource)
	}
	return true
}

// run changes the quota of an account, or of the user's own. Sessions that are open take it up at their next login.
func (c *setQuota) run(ctx context.Context, s *session) (reply, error) {
	if !s.administers() {
		return reply{}, errNoPerm
	}
	login := s.who.Login
	if c.root != quotaRoot {
		parsed, err := mail.ParseAddress(c.root)
		if err != nil {
			return reply{}, errQuotaRoot
		}
		login = parsed.FoldLocal()
	}
	at, err := s.anyRoot(ctx, login)
	if err != nil {
		return reply{}, err
	}
	if err := s.server.opts.Sharing.SetQuota(ctx, login, c.quota); err != nil {
		return reply{}, err
	}
	if at.quota = c.quota; login == s.who.Login {
		s.who.Quota = c.quota
	}
	return reply{}, s.tellQuota(ctx, c.root, &at)
}

// parseGetQuotaRoot: a mailbox of the user's own need not be there. One of an account without limits has no quota root, as RFC 9208 §3.2 allows:
// Thunderbird takes a QUOTA with an empty list for broken (RFC 9208 §7 has none), and hangs up on a mailbox without messages.
func parseGetQuotaRoot(p *parser) (runner, error) {
	var raw string
	if !p.SP() || !p.AString(&raw) || !p.End() {
		return nil, p.Err()
	}
	return runnerFunc(func(ctx context.Context, s *session) (reply, error) {
		name, err := s.dialect.name(raw)
		if err != nil {
			return reply{}, err
		}
		root, at := quotaRoot, place{account: s.account, quota: s.who.Quota}
		if f, foreign := parseForeign(name); foreign {
			if at, err = s.foreignPlace(ctx, f, name, toRead); err != nil {
				return reply{}, err
			}
			root, name = f.owner.String(), at.shown().Name
		}
		limited := at.quota != directory.Quota{}
		err = s.write(func(b []byte) []byte {
			if b = s.dialect.appendName(append(b, "* QUOTAROOT "...), name); limited {
				b = wire.AppendString(append(b, ' '), root)
			}
			return append(b, "\r\n"...)
		})
		if err != nil || !limited {
			return reply{}, err
		}
		return reply{}, s.tellQuota(ctx, root, &at)
	}), nil
}

// tellQuota writes the response of RFC 9208 §4.2.1: the resources that have a limit.
func (s *session) tellQuota(ctx context.Context, root string, at *place) error {
	usage, err := at.account.Usage(ctx)
	if err != nil {
		return err
	}
	return s.write(func(b []byte) []byte {
		b = append(wire.AppendString(append(b, "* QUOTA "...), root), " ("...)
		separator := ""
		for _, r := range []struct {
			name       string
			used, most int64
		}{
			{"STORAGE", (usage.Octets + quotaUnit - 1) / quotaUnit, (at.quota.Octets + quotaUnit - 1) / quotaUnit},
			{"MESSAGE", usage.Messages, at.quota.Messages},
		} {
			if r.most > 0 {
				b = append(append(append(b, separator...), r.name...), ' ')
				b = wire.AppendNumber(append(wire.AppendNumber(b, r.used), ' '), r.most)
				separator = " "
			}
		}
		return append(b, ")\r\n"...)
	})
}
