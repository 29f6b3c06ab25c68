package imapd

import (
	"context"

	"posthouse/imapd/wire"
	"posthouse/mailbox"
)

// quota is QUOTA: RFC 9208. There is one quota root, of the account; its limits are set elsewhere.
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

// quotaRoot is the name of the only one.
const quotaRoot = ""

// quotaUnit is what STORAGE is counted in, in octets: RFC 9208 §5.1.
const quotaUnit = 1024

func parseGetQuota(p *parser) (runner, error) {
	var root string
	if !p.SP() || !p.AString(&root) || !p.End() {
		return nil, p.Err()
	}
	return runnerFunc(func(ctx context.Context, s *session) (reply, error) {
		if root != quotaRoot {
			return reply{}, errQuotaRoot
		}
		return reply{}, s.tellQuota(ctx)
	}), nil
}

// parseGetQuotaRoot: the mailbox need not be there.
func parseGetQuotaRoot(p *parser) (runner, error) {
	var raw string
	if !p.SP() || !p.AString(&raw) || !p.End() {
		return nil, p.Err()
	}
	return runnerFunc(func(ctx context.Context, s *session) (reply, error) {
		name, err := s.dialect.name(raw)
		if err == nil {
			err = s.write(func(b []byte) []byte {
				b = s.dialect.appendName(append(b, "* QUOTAROOT "...), name)
				return append(wire.AppendString(append(b, ' '), quotaRoot), "\r\n"...)
			})
		}
		if err != nil {
			return reply{}, err
		}
		return reply{}, s.tellQuota(ctx)
	}), nil
}

// tellQuota writes the response of RFC 9208 §4.2.1: the resources that have a limit.
func (s *session) tellQuota(ctx context.Context) error {
	usage, err := s.account.Usage(ctx)
	if err != nil {
		return err
	}
	return s.write(func(b []byte) []byte {
		b = append(wire.AppendString(append(b, "* QUOTA "...), quotaRoot), " ("...)
		separator := ""
		for _, r := range []struct {
			name       string
			used, most int64
		}{
			{"STORAGE", (usage.Octets + quotaUnit - 1) / quotaUnit, (s.who.Quota.Octets + quotaUnit - 1) / quotaUnit},
			{"MESSAGE", usage.Messages, s.who.Quota.Messages},
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
