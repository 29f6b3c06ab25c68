package pop3d

import (
	"context"
	"strconv"
)

func runStat(_ context.Context, s *session) (answer, error) {
	return say(ok(strconv.Itoa(s.drop.count) + " " + strconv.FormatInt(s.drop.octets, 10)))
}

func runList(_ context.Context, s *session, args string) (answer, error) {
	return listing(s, args, func(b []byte, position int) []byte { return strconv.AppendInt(b, s.drop.size(position), 10) })
}

func runUIDL(ctx context.Context, s *session, args string) (answer, error) {
	if err := s.drop.loadUIDLs(ctx); err != nil {
		return answer{}, err
	}
	return listing(s, args, s.drop.appendUIDL)
}

func runDele(_ context.Context, s *session, args string) (answer, error) {
	n, err := numbers(args, 1)
	if err != nil {
		return answer{}, err
	}
	position, err := s.drop.position(n[0])
	if err != nil {
		return answer{}, err
	}
	s.drop.delete(position)
	return say(ok("Marked"))
}

func runNoop(context.Context, *session) (answer, error) { return say(ok("Here")) }

// runRset is RSET. What was read stays read.
func runRset(_ context.Context, s *session) (answer, error) {
	s.drop.begin()
	return say(ok(s.drop.summary()))
}

// runQuit is QUIT. Whatever comes of it, the session ends: RFC 1939 §6.
func runQuit(ctx context.Context, s *session) (answer, error) {
	s.ended = true
	if s.drop != nil {
		if err := s.drop.update(ctx); err != nil {
			s.log.Error("deleted messages were not removed", "err", err)
			return answer{}, errNotRemoved
		}
		s.server.hub.LeaveUser(s.link) // the client may come again before this session has ended
	}
	return say(ok("Bye"))
}
