package imapd

import "context"

// appendCapabilities writes what is offered in this state: RFC 9051 §7.2.2.
func (s *session) appendCapabilities(b []byte) []byte {
	b = append(b, "CAPABILITY"...)
	for _, e := range s.table.extensions {
		if e.offered != nil && !e.offered(s) {
			continue
		}
		for _, word := range e.said(s) {
			b = append(b, ' ')
			b = append(b, word...)
		}
	}
	return b
}

// said is how CAPABILITY names the extension.
func (e *extension) said(s *session) []string {
	if e.words != nil {
		return e.words(s)
	}
	return []string{e.name}
}

func runCapability(_ context.Context, s *session) (reply, error) {
	return reply{}, s.write(func(b []byte) []byte {
		return append(s.appendCapabilities(append(b, "* "...)), "\r\n"...)
	})
}

// runNoop does nothing; every command's end tells what has changed.
func runNoop(context.Context, *session) (reply, error) { return reply{}, nil }

func runLogout(_ context.Context, s *session) (reply, error) {
	s.view = nil
	s.bye("Logging out")
	return reply{}, nil
}

// literalPlus has no commands: its literals are read by package wire.
func literalPlus() extension { return extension{name: "LITERAL+", rfc: "RFC 7888"} }

func (s *session) beforeLogin() bool { return s.account == nil }
