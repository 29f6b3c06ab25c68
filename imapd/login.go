package imapd

import "context"

type loginCommand struct{ login, password string }

func parseLogin(p *parser) (runner, error) {
	c := &loginCommand{}
	if !(p.SP() && p.AString(&c.login) && p.SP() && p.AString(&c.password) && p.End()) {
		return nil, p.Err()
	}
	return c, nil
}

func (c *loginCommand) run(ctx context.Context, s *session) (reply, error) {
	if !s.mayLogIn() {
		return reply{}, errLoginDisabled
	}
	v := &verdict{directory: s.server.opts.Directory}
	v.password(ctx, "", c.login, c.password) //nolint:errcheck // v has it
	return s.authenticated(ctx, "LOGIN", v)
}
