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
	at, err := s.place(ctx, c.name, toDelete)
	if err != nil {
		return reply{}, err
	}
	if _, err := at.account.Apply(ctx, mailbox.DeleteBox{Name: at.Name}); err != nil {
		return reply{}, err
	}
	if s.selectedIs(&at) {
		s.view = nil
		if err := s.write(s.dialect.appendClosed); err != nil {
			return reply{}, err
		}
	}
	return reply{}, s.ownNames(ctx, at.prefix+at.Name)
}
