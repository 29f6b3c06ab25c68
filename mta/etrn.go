package mta

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"posthouse/mail"
	"posthouse/mail/smtp"
	"posthouse/spool"
)

// remoteQueue is ETRN: RFC 1985. A server that was away asks for its mail, which goes where it would go anyway.
func remoteQueue() extension {
	return extension{
		name: "ETRN",
		rfc:  "RFC 1985",
		bit:  smtp.RemoteQueue,
		offered: func(s *session) bool {
			may := func(p netip.Prefix) bool { return p.Contains(s.remote.Addr()) }
			return len(s.server.opts.Queues) > 0 && (s.account.ID != "" || slices.ContainsFunc(s.server.opts.QueuesFor, may))
		},
		verbs: []verb{{"ETRN", "RFC 1985 §5", needsHello | isJunk, etrn}},
	}
}

// maxStarted is how many messages one ETRN has tried.
const maxStarted = 10_000

// startQueue makes what waits for addresses due, and tells for how many recipients. What its sender wants held is (RFC 4865).
func (s *session) startQueue(ctx context.Context, to string) (n int, err error) {
	waiting := spool.Filter{To: to, States: []spool.State{spool.Ready}, Limit: maxStarted}
	var due []mail.ID
	held := false
	for e, err := range s.server.opts.Spool.List(ctx, waiting) {
		if err != nil {
			return 0, err
		}
		if e.NotBefore.After(time.Now()) {
			held = true
		} else {
			due = append(due, e.ID)
		}
	}
	if !held { // nearly always: all of them in one go
		return s.server.opts.Spool.Change(ctx, waiting, spool.RetryNow)
	}
	for _, id := range due {
		waiting.ID = id
		changed, err := s.server.opts.Spool.Change(ctx, waiting, spool.RetryNow)
		if err != nil {
			return n, err
		}
		n += changed
	}
	return n, nil
}

// etrn has what waits for a node tried now: RFC 1985 §5.1. An "@" before the name has those below it too (§5.3).
func etrn(ctx context.Context, s *session, args []byte) answer {
	if s.tx != nil {
		return say(replyInMail)
	}
	name, below := strings.CutPrefix(string(args), "@")
	node, err := mail.ParseDomain(name)
	if err != nil || strings.HasPrefix(node, "[") { // nor is there a queue with a name ("#")
		return say(replyTo(smtp.ErrSyntax))
	}
	if !slices.Contains(s.server.opts.Queues, node) {
		return say(replyNotThatNode)
	}
	patterns := []string{"*@" + node}
	if below {
		patterns = append(patterns, "*@*."+node)
	}
	n := 0
	for _, to := range patterns {
		started, err := s.startQueue(ctx, to)
		if err != nil {
			s.log.Warn("a queue was not started", "node", node, "err", err)
			return say(replyNoQueue)
		}
		n += started
	}
	s.log.Info("queue started", "node", node, "below", below, "recipients", n)
	if n == 0 {
		return say(reply(251, smtp.Enhanced{2, 0, 0}, "no messages waiting for node "+node))
	}
	return say(reply(253, smtp.Enhanced{2, 0, 0}, fmt.Sprintf("%d pending messages for node %s started", n, node)))
}
