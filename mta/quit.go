package mta

import (
	"context"
	"errors"
)

// errQuit ends a session whose client asked for it.
var errQuit = errors.New("mta: the client quit")

// quit is QUIT: RFC 5321 §4.1.1.10.
func quit(context.Context, *session, []byte) answer {
	return answer{reply: replyBye, then: func(context.Context, *session) (answer, error) { return answer{}, errQuit }}
}
