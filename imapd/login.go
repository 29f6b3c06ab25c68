package imapd

import (
	"context"
	"errors"

	"posthouse/directory/sasl"
)

type loginCommand struct{ login, password string }

func parseLogin(p *parser) (runner, error) {
	c := &loginCommand{}
	if !(p.SP() && p.AString(&c.login) && p.SP() && p.AString(&c.password) && p.End()) {
		return nil, p.Err()
	}
	return c, nil
}

func (c *loginCommand) run(ctx context.Context, s *session) (reply, error) {
	x, err := s.server.opts.Auth.Password(ctx, s.channel(), c.login, c.password)
	switch {
	case errors.Is(err, sasl.ErrUnprotected):
		return reply{}, err
	case err != nil:
		return reply{}, s.refused("LOGIN", x.Name, err)
	}
	return s.admitted(ctx, "LOGIN", x)
}
