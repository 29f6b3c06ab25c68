package pop3d

import (
	"context"
	"strings"

	"posthouse/internal/link"
)

// capability is a line of CAPA with the commands that it stands for; without a name it is no line.
type capability struct {
	name     string
	rfc      string
	offered  func(*session) bool   // nil: always
	words    func(*session) string // its arguments; nil: none
	commands []command
}

// capabilities are all there are, in the order of CAPA. LOGIN-DELAY is not among them, since there is none, nor LANG (RFC 6856 §3), since
// there is one language, nor APOP (RFC 1939 §7), which needs passwords that are kept as they are. (It is a function, since a variable
// would be an initialization cycle.)
func capabilities() []capability {
	return []capability{
		{rfc: "RFC 1939", commands: []command{
			{name: "QUIT", rfc: "RFC 1939 §6", in: anyState, run: alone(runQuit)},
			{name: "STAT", rfc: "RFC 1939 §5", in: transaction, run: alone(runStat)},
			{name: "LIST", rfc: "RFC 1939 §5", in: transaction, run: runList},
			{name: "RETR", rfc: "RFC 1939 §5", in: transaction, run: runRetr},
			{name: "DELE", rfc: "RFC 1939 §5", in: transaction, run: runDele},
			{name: "NOOP", rfc: "RFC 1939 §5", in: transaction, run: alone(runNoop)},
			{name: "RSET", rfc: "RFC 1939 §5", in: transaction, run: alone(runRset)},
		}},
		{rfc: "RFC 2449", commands: []command{{name: "CAPA", rfc: "RFC 2449 §5", in: anyState, run: alone(runCapa)}}},
		{name: "TOP", rfc: "RFC 2449", commands: []command{{name: "TOP", rfc: "RFC 1939 §7", in: transaction, run: runTop}}},
		{name: "UIDL", rfc: "RFC 2449", commands: []command{{name: "UIDL", rfc: "RFC 1939 §7", in: transaction, run: runUIDL}}},
		{name: "USER", rfc: "RFC 2449", offered: (*session).mayLogIn, commands: []command{
			{name: "USER", rfc: "RFC 1939 §7", in: authorization, run: runUser},
			{name: "PASS", rfc: "RFC 1939 §7", in: authorization, run: runPass},
		}},
		{name: "SASL", rfc: "RFC 5034", offered: (*session).mayLogIn, words: mechanisms, commands: []command{
			{name: "AUTH", rfc: "RFC 5034 §4", in: authorization, long: true, run: runAuth},
		}},
		{name: "STLS", rfc: "RFC 2595", offered: (*session).mayStartTLS, commands: []command{
			{name: "STLS", rfc: "RFC 2595 §4", in: authorization, run: alone(runSTLS)},
		}},
		{name: "UTF8", rfc: "RFC 6856", words: func(*session) string { return "USER" }, commands: []command{
			{name: "UTF8", rfc: "RFC 6856 §2.1", in: authorization, run: alone(runUTF8)},
		}},
		{name: "RESP-CODES", rfc: "RFC 2449"},
		{name: "AUTH-RESP-CODE", rfc: "RFC 3206"},
		{name: "PIPELINING", rfc: "RFC 2449"},
		{name: "EXPIRE", rfc: "RFC 2449", words: func(*session) string { return "NEVER" }},
		{name: "IMPLEMENTATION", rfc: "RFC 2449", words: func(*session) string { return "Posthouse" }},
	}
}

// table is what the capabilities add up to.
type table struct {
	capabilities []capability
	commands     map[string]*command
}

func newTable(all []capability) *table {
	t := &table{capabilities: all, commands: make(map[string]*command)}
	for _, c := range all {
		for i := range c.commands {
			t.commands[c.commands[i].name] = &c.commands[i]
		}
	}
	return t
}

func runCapa(_ context.Context, s *session) (answer, error) {
	var lines strings.Builder
	for _, c := range s.server.table.capabilities {
		if c.name == "" || c.offered != nil && !c.offered(s) {
			continue
		}
		lines.WriteString(c.name)
		if c.words != nil {
			lines.WriteString(" " + c.words(s))
		}
		lines.WriteString("\r\n")
	}
	lines.WriteString(".\r\n")
	return answer{ok("Capabilities"), func(out *link.Writer) error { return out.WriteString(lines.String()) }}, nil
}
