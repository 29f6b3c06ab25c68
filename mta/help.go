package mta

import "context"

// help is HELP: RFC 5321 §4.1.1.8.
func help(context.Context, *session, []byte) answer { return say(replyHelp) }
