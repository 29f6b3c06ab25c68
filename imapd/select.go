package imapd

import "context"

type selectCommand struct {
	name     string
	readOnly bool
	modSeqs  bool    // CONDSTORE
	resync   *resync // QRESYNC; nil: none
}

func parseSelect(p *parser) (runner, error)  { return p.selectCommand(&selectCommand{}) }
func parseExamine(p *parser) (runner, error) { return p.selectCommand(&selectCommand{readOnly: true}) }

func (p *parser) selectCommand(c *selectCommand) (runner, error) {
	if !p.SP() || !p.AString(&c.name) || !p.selectParams(c) || !p.End() {
		return nil, p.Err()
	}
	return c, nil
}

// selectParams decodes the parameters of RFC 4466 §2.2, if there are any.
func (p *parser) selectParams(c *selectCommand) bool {
	return p.AtEnd() || p.SP() && p.List1(func() bool {
		var name string
		if !p.Label(&name) {
			return false
		}
		param, known := p.table.selects[name]
		if !known {
			return p.Refuse(errOption)
		}
		return param.parse(p, c)
	})
}

func (c *selectCommand) run(ctx context.Context, s *session) (reply, error) {
	if s.view != nil { // Whatever comes of this command: RFC 9051 §6.3.2.
		s.view = nil
		if err := s.write(s.dialect.appendClosed); err != nil {
			return reply{}, err
		}
	}
	if c.resync != nil && !s.client.vanished { // RFC 7162 §3.2.5
		return reply{}, errQResync
	}
	at, err := s.place(ctx, c.name, toRead)
	if err != nil {
		return reply{}, err
	}
	now, err := at.account.Snapshot(ctx, at.ID)
	if err != nil {
		return reply{}, err
	}
	s.view = newView(&at, now, &s.client)
	s.view.readOnly = c.readOnly
	s.client.modSeqs = s.client.modSeqs || c.modSeqs
	err = s.write(func(b []byte) []byte {
		b = s.dialect.appendSelected(b, s.view, at.asked)
		for _, e := range s.table.extensions {
			if e.selected != nil {
				b = e.selected(b, s.view)
			}
		}
		return b
	})
	if err == nil && c.resync != nil {
		err = c.resync.run(ctx, s)
	}
	if err != nil {
		return reply{}, err
	}
	if c.readOnly || s.view.rights&toChange == 0 {
		return done("READ-ONLY"), nil
	}
	return done("READ-WRITE"), nil
}

// unselect is CLOSE without its expunging.
func unselect() extension {
	return extension{
		name: "UNSELECT", rfc: "RFC 3691",
		commands: []command{{name: "UNSELECT", rfc: "RFC 9051 §6.4.2", in: selected, parse: alone(runUnselect)}},
	}
}

func runUnselect(_ context.Context, s *session) (reply, error) {
	s.view = nil
	return reply{}, nil
}
