package mta

import "context"

// rset is RSET: RFC 5321 §4.1.1.5. The greeting and the user stay.
func rset(_ context.Context, s *session, _ []byte) answer {
	s.endTransaction()
	return say(replyOK)
}
