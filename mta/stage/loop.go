package stage

import (
	"context"

	"posthouse/mail"
	"posthouse/mail/smtp"
)

// Loop refuses a message that one of its recipients had delivered before: it says so in a Delivered-To field, which whoever files a
// message writes. Its way leads round, by forwarding that its Received fields do not count yet.
type Loop struct{}

// Name is Stage.
func (Loop) Name() string { return "loop" }

var goesRound = smtp.Reply{Code: 554, Enhanced: smtp.Enhanced{5, 4, 6}, Text: "the message was delivered here before: it goes round"} // RFC 3463 §3.5

// Judge is DataStage.
func (Loop) Judge(_ context.Context, m *Message) Verdict {
	for _, delivered := range m.Header.deliveredTo {
		a, err := mail.ParseAddress(delivered)
		if err != nil {
			continue
		}
		for _, to := range m.Envelope.To {
			if to.Address == a || to.Address == a.FoldLocal() {
				return Verdict{Result: "loop", Detail: a.String()}.answered(goesRound)
			}
		}
	}
	return Verdict{}
}
