package imapd

import (
	"context"

	"github.com/emersion/go-imap/v2"

	"posthouse/mailbox"
)

// lsubCommand is LSUB: RFC 3501 §6.3.9. It tells of subscriptions, and of levels above them.
type lsubCommand struct{ reference, pattern string }

func parseLsub(p *parser) (runner, error) {
	c := &lsubCommand{}
	if !(p.SP() && p.AString(&c.reference) && p.SP() && p.ListMailbox(&c.pattern) && p.End()) {
		return nil, p.Err()
	}
	return c, nil
}

func (c *lsubCommand) run(ctx context.Context, s *session) (reply, error) {
	subscriptions, err := s.account.Subscriptions(ctx)
	if err != nil {
		return reply{}, err
	}
	tree := make(nameTree)
	for _, name := range subscriptions {
		tree.at(name).subscribed = true
	}
	names := tree.sorted()
	patterns := s.dialect.patterns(c.reference, []string{c.pattern})
	for _, l := range names {
		l.matches = matchAny(patterns, l.name)
	}
	for _, l := range names { // "foo" is told, as \Noselect, if "%" matches it and not the "foo/bar" below it.
		for above := l.parent; l.subscribed && !l.matches && above != nil; above = above.parent {
			above.childInfo = true
		}
	}
	return reply{}, s.write(func(b []byte) []byte {
		for _, l := range names {
			if l.matches && (l.subscribed || l.childInfo) {
				b = l.appendLsub(b, s.dialect)
			}
		}
		return b
	})
}

func (l *listed) appendLsub(b []byte, d dialect) []byte {
	b = append(b, "* LSUB ("...)
	if !l.subscribed {
		b = append(b, imap.MailboxAttrNoSelect...)
	}
	b = append(b, `) "`+mailbox.Separator+`" `...)
	return append(d.appendName(b, l.name), "\r\n"...)
}
