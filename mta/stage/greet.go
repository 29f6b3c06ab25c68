package stage

import (
	"context"
	"time"

	"posthouse/mail/smtp"
)

// Greet lets a client wait a moment for its greeting. One that talks before it is no mail server, which must wait (RFC 5321 §3.1): it sends
// what it has learnt by heart, and would not notice a refusal.
type Greet struct {
	Delay  time.Duration
	Action Action // on those that do not wait
}

// Name is Stage.
func (Greet) Name() string { return "greet" }

var tooEarly = smtp.Reply{Code: 554, Enhanced: smtp.Enhanced{5, 5, 1}, Text: "you talk before you are greeted"}

// Connect is ConnectStage.
func (s Greet) Connect(_ context.Context, c *Client) Verdict {
	if c.TalksFirst == nil || !c.TalksFirst(s.Delay) {
		return Verdict{}
	}
	return Verdict{Result: "early"}.by(s.Action, tooEarly)
}
