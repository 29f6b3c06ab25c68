package imapd

import (
	"context"

	"posthouse/mailbox"
)

type deleteCommand struct{ name string }

func parseDelete(p *parser) (runner, error) {
	c := &deleteCommand{}
	if !p.SP() || !p.AString(&c.name) || !p.End() {
		return nil, p.Err()
	}
	return c, nil
}

// run deselects the mailbox if it is the selected one; sessions of others end when they look for changes.
func (c *deleteCommand) run(ctx context.Context, s *session) (reply, error) {
	box, err := s.box(ctx, c.name)
	if err != nil {
		return reply{}, err
	}
	if _, err := s.account.Apply(ctx, mailbox.DeleteBox{Name: box.Name}); err != nil {
		return reply{}, err
	}
	if s.view != nil && s.view.box == box.ID {
		s.view = nil
		return reply{}, s.write(s.dialect.appendClosed)
	}
	return reply{}, nil
}
