package mta

import "context"

// noop is NOOP: RFC 5321 §4.1.1.9. An argument is ignored.
func noop(context.Context, *session, []byte) answer { return say(replyOK) }
