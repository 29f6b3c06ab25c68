package delivery

import (
	"time"

	"posthouse/delivery/hop"
	"posthouse/mail"
	"posthouse/mail/smtp"
)

// isTimed tells whether the sender said by when the message is to be delivered: RFC 2852.
func (t *tried) isTimed() bool { return t.env.By != nil }

// isTooLate tells whether the message is to be returned by now, and not to be tried any more: RFC 2852 §4.1.3.
func (t *tried) isTooLate(now time.Time) bool {
	return t.isTimed() && !t.env.By.Notify && !now.Before(t.env.By.Time)
}

// expired is the result of a message whose time has passed before it could be tried.
func expired() hop.Result {
	return hop.Result{Status: hop.Permanent, Reply: smtp.Reply{Code: 554, Enhanced: smtp.Enhanced{5, 4, 7}, Text: "the time to deliver it has passed"}}
}

// lastTime is when we give up, which is no later than a sender asked for who wants the message back.
func (t *tried) lastTime(until time.Time) time.Time {
	if t.isTimed() && !t.env.By.Notify && t.env.By.Time.Before(until) {
		return t.env.By.Time
	}
	return until
}

// warnTime is when the sender hears of a delay: when it asked to, if it did, and then of nothing before.
func (t *tried) warnTime(warn time.Time) time.Time {
	if t.isTimed() && t.env.By.Notify {
		return t.env.By.Time
	}
	return warn
}

// wantsTrace tells whether the sender hears that the message was relayed: it asked for the trace of it, or to be told by when, and the
// host knows nothing of that (RFC 2852 §4.1.4). NOTIFY=NEVER goes before both.
func (t *tried) wantsTrace() bool {
	return t.isTimed() && t.Notify != mail.NotifyNever && (t.env.By.Trace || t.env.By.Notify && t.result.Untimed)
}
