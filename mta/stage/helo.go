package stage

import (
	"context"
	"net/netip"
	"strings"

	"posthouse/mail/smtp"
)

// HELO looks at the name that a client gives itself. What is certainly false has Action; what is only odd is tagged: RFC 5321 §4.1.4 has
// no mail refused because the name does not lead to the client, and §7.9 lets every site refuse what serves its operation.
type HELO struct {
	Hostname string // ours
	Action   Action // on a client that says it is us, or gives an address without brackets
}

// Name is Stage.
func (HELO) Name() string { return "helo" }

var falseName = smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{5, 7, 1}, Text: "that is not your name"}

// Hello is HelloStage.
func (s HELO) Hello(_ context.Context, c *Client) Verdict {
	result, certain := s.look(c)
	v := Verdict{Result: result, Detail: clean(c.HELO)}
	switch {
	case certain:
		return v.by(s.Action, falseName)
	case result != "pass":
		v.Action = Tag
	}
	return v
}

// look says what is wrong with a name, and whether it is certainly false.
func (s HELO) look(c *Client) (result string, certain bool) {
	name := strings.TrimSuffix(c.HELO, ".")
	if strings.EqualFold(name, s.Hostname) && !isOurs(c) {
		return "own-name", true
	}
	if _, err := netip.ParseAddr(name); err == nil { // RFC 5321 §4.1.3: a literal has brackets
		return "bare-address", true
	}
	if literal, ok := strings.CutPrefix(name, "["); ok {
		return s.lookLiteral(c, strings.TrimSuffix(literal, "]"))
	}
	if !strings.Contains(name, ".") { // RFC 5321 §2.3.5: only names that are fully qualified
		return "not-qualified", false
	}
	return "pass", false
}

// isOurs tells a program on this host, which may well be called what we are.
func isOurs(c *Client) bool { return c.Remote.Addr().IsLoopback() || c.Remote.Addr() == c.Local.Addr() }

func (HELO) lookLiteral(c *Client, literal string) (result string, certain bool) {
	if len(literal) > 5 && strings.EqualFold(literal[:5], "IPv6:") {
		literal = literal[5:]
	}
	addr, err := netip.ParseAddr(literal)
	addr = addr.Unmap()
	switch {
	case err == nil && addr == c.Remote.Addr():
		return "pass", false
	case err == nil && addr == c.Local.Addr() && !isOurs(c):
		return "own-address", true
	}
	return "other-address", false // behind a translator of addresses, say
}
