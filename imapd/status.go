package imapd

import (
	"context"

	"posthouse/imapd/wire"
	"posthouse/mailbox"
)

// statusItem is a data item of STATUS.
type statusItem struct {
	name  string
	value func([]byte, *mailbox.Box) []byte // appends it
}

func (i statusItem) label() string { return i.name }

// count is an item that is a number.
func count(name string, n func(*mailbox.Box) int64) statusItem {
	return statusItem{name, func(b []byte, box *mailbox.Box) []byte { return wire.AppendNumber(b, n(box)) }}
}

// statusItems are those of RFC 3501 §6.3.10. No message is recent.
func statusItems() []statusItem {
	return []statusItem{
		count("MESSAGES", func(b *mailbox.Box) int64 { return b.Messages }),
		count("RECENT", func(*mailbox.Box) int64 { return 0 }),
		count("UIDNEXT", func(b *mailbox.Box) int64 { return int64(b.UIDNext) }),
		count("UIDVALIDITY", func(b *mailbox.Box) int64 { return int64(b.UIDValidity) }),
		count("UNSEEN", func(b *mailbox.Box) int64 { return b.Unseen }),
	}
}

// deletedItem came with IMAP4rev2: RFC 9051 §6.3.11.
func deletedItem() statusItem {
	return count("DELETED", func(b *mailbox.Box) int64 { return b.Deleted })
}

func statusSize() extension {
	return extension{
		name: "STATUS=SIZE", rfc: "RFC 8438",
		status: []statusItem{count("SIZE", func(b *mailbox.Box) int64 { return b.Size })},
	}
}

type statusCommand struct {
	name  string
	items []statusItem
}

func parseStatus(p *parser) (runner, error) {
	c := &statusCommand{}
	if !(p.SP() && p.AString(&c.name) && p.SP() && p.statusItems(&c.items) && p.End()) {
		return nil, p.Err()
	}
	return c, nil
}

// statusItems decodes a list of items; one that is there already changes nothing.
func (p *parser) statusItems(items *[]statusItem) bool {
	have := make(map[string]bool)
	return p.List1(func() bool {
		var name string
		if !p.Label(&name) {
			return false
		}
		item, known := p.table.status[name]
		if known && !have[name] {
			*items = append(*items, item)
			have[name] = true
		}
		return known || p.Refuse(errItem)
	})
}

func (c *statusCommand) run(ctx context.Context, s *session) (reply, error) {
	at, err := s.place(ctx, c.name, toRead)
	if err != nil {
		return reply{}, err
	}
	if at.NoSelect {
		return reply{}, mailbox.ErrNoBox
	}
	box := at.shown()
	return reply{}, s.write(func(b []byte) []byte { return s.dialect.appendStatus(b, &box, c.items) })
}

// appendStatus writes the response of RFC 9051 §7.3.3.
func (d dialect) appendStatus(b []byte, box *mailbox.Box, items []statusItem) []byte {
	b = d.appendName(append(b, "* STATUS "...), box.Name)
	separator := " ("
	for _, i := range items {
		b = append(append(b, separator...), i.name...)
		b = i.value(append(b, ' '), box)
		separator = " "
	}
	return append(b, ")\r\n"...)
}
