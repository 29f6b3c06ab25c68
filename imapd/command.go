package imapd

import (
	"context"
	"strings"

	"posthouse/imapd/wire"
)

// command is one row of the table of commands.
type command struct {
	name  string // "MOVE"; "UID MOVE"
	rfc   string // "RFC 6851 §3.1"
	in    states
	seqs  seqUse
	parse func(*parser) (runner, error)
	// numbered commands take message sequence numbers.
	numbered bool
	// beside: it may run while earlier commands are under way, since it changes nothing that they go by, and tells nothing that they
	// change. All others wait for these: RFC 9051 §5.5.
	beside bool
}

// runner is a parsed command. run writes untagged responses to s.out and leaves the rest to the session.
type runner interface {
	run(ctx context.Context, s *session) (reply, error)
}

// runnerFunc is a command without arguments.
type runnerFunc func(ctx context.Context, s *session) (reply, error)

func (f runnerFunc) run(ctx context.Context, s *session) (reply, error) { return f(ctx, s) }

// alone is the parser of a command without arguments.
func alone(f runnerFunc) func(*parser) (runner, error) {
	return func(p *parser) (runner, error) {
		if !p.End() {
			return nil, p.Err()
		}
		return f, nil
	}
}

// states is a set of the states of RFC 9051 §3.
type states uint8

const (
	notAuthenticated states = 1 << iota
	authenticated
	selected

	anyState = notAuthenticated | authenticated | selected
	loggedIn = authenticated | selected
)

// seqUse is what a command has to do with messages, which decides when the client may be told of changes by others.
type seqUse uint8

const (
	// apart: it names no messages. Everything is told at its end.
	apart seqUse = iota
	// byNumbers: it is FETCH, STORE or SEARCH. EXPUNGE is not told before its end, nor at it: RFC 9051 §7.5.1.
	byNumbers
	// renumbers: it names messages, and allows EXPUNGE. That is told at its end, when its arguments have meant what they did.
	renumbers
)

// parser is what commands are parsed from: the grammar's elements, and the table that extensions add to.
type parser struct {
	*wire.Decoder
	table *table
}

// name decodes a command's name: one word, or UID and another.
func (p *parser) name(s *string) bool {
	if !p.Label(s) {
		return false
	}
	if *s != "UID" {
		return true
	}
	var second string
	ok := p.SP() && p.Label(&second)
	*s += " " + second
	return ok
}

// numbering is what the numbers of a command are.
type numbering uint8

const (
	bySequence numbering = iota
	byUID
)

// both are the rows of a command that has a UID variant.
func both(c command, parse func(*parser, numbering) (runner, error)) []command {
	c.parse = func(p *parser) (runner, error) { return parse(p, bySequence) }
	uid := c
	c.numbered = true
	uid.name = "UID " + c.name
	uid.seqs = renumbers // RFC 9051 §7.5.1, Note: UID FETCH, UID STORE and UID SEARCH allow EXPUNGE.
	uid.parse = func(p *parser) (runner, error) { return parse(p, byUID) }
	return []command{c, uid}
}

// completed is the text of an OK reply.
func (c *command) completed() string {
	return strings.TrimPrefix(c.name, "UID ") + " completed"
}
