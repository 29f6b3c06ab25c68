package imapd

import (
	"context"
	"errors"

	"posthouse/imapd/wire"
	"posthouse/mail"
	"posthouse/mailbox"
)

// quota is QUOTA: RFC 9208. Each account is a quota root; its limits are set elsewhere.
func quota() extension {
	return extension{
		name: "QUOTA", rfc: "RFC 9208",
		commands: []command{
			{name: "GETQUOTA", rfc: "RFC 9208 §4.1.1", in: loggedIn, parse: parseGetQuota},
			{name: "GETQUOTAROOT", rfc: "RFC 9208 §4.1.2", in: loggedIn, parse: parseGetQuotaRoot},
		},
	}
}

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

// parseGetQuotaRoot: a mailbox of the user's own need not be there.
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
		err = s.write(func(b []byte) []byte {
			b = s.dialect.appendName(append(b, "* QUOTAROOT "...), name)
			return append(wire.AppendString(append(b, ' '), root), "\r\n"...)
		})
		if err != nil {
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
