package remote

import (
	"strconv"
	"strings"
	"time"

	"posthouse/mail"
	"posthouse/mail/smtp"
)

// limits are what a host says it takes: RFC 9422. Zero: it did not say.
type limits struct {
	mails   int // messages over one connection
	rcpts   int // recipients of one message
	domains int // domains of recipients over one connection
}

// parseLimits reads the parameter of LIMITS. What is not known, or no number, is passed over.
func parseLimits(args string) (l limits) {
	for word := range strings.FieldsSeq(args) {
		name, value, _ := strings.Cut(word, "=")
		n, err := strconv.ParseUint(value, 10, 31)
		if err != nil {
			continue
		}
		switch strings.ToUpper(name) {
		case "MAILMAX":
			l.mails = int(n)
		case "RCPTMAX":
			l.rcpts = int(n)
		case "RCPTDOMAINMAX":
			l.domains = int(n)
		}
	}
	return l
}

// isFull tells whether the host takes no more messages over the connection, or none for any other domain.
func (c *conn) isFull() bool {
	return c.limits.mails > 0 && c.uses >= c.limits.mails || c.limits.domains > 0 && len(c.domains) >= c.limits.domains
}

// batch are the recipients that the next transaction is for: none if the host takes no more messages over the connection.
func (d *delivery) batch(c *conn, todo []int) (batch, rest []int) {
	most := maxRecipients
	if c.limits.rcpts > 0 {
		most = min(most, c.limits.rcpts)
	}
	if c.limits.mails > 0 && c.uses >= c.limits.mails {
		return nil, todo
	}
	if c.limits.domains == 0 {
		n := min(len(todo), most)
		return todo[:n], todo[n:]
	}
	for _, i := range todo {
		if len(batch) < most && c.takesDomain(d.task.Recipients[i].Address.Domain()) {
			batch = append(batch, i)
		} else {
			rest = append(rest, i)
		}
	}
	return batch, rest
}

// takesDomain counts a domain among those of the connection, if there is room for it.
func (c *conn) takesDomain(domain string) bool {
	if _, ok := c.domains[domain]; ok {
		return true
	}
	if len(c.domains) >= c.limits.domains {
		return false
	}
	if c.domains == nil {
		c.domains = make(map[string]struct{})
	}
	c.domains[domain] = struct{}{}
	return true
}

// maxSeconds is the largest by-time that can be said, either way: RFC 2852 §4.
const maxSeconds = 999_999_999

// timeLeft is what is left of the time a message may take, for the next host: RFC 2852 §4.1.4.
func timeLeft(by *mail.DeliverBy) smtp.By {
	if by == nil {
		return smtp.By{}
	}
	left := smtp.By{Seconds: int64(time.Until(by.Time) / time.Second), Mode: smtp.ByReturn, Trace: by.Trace}
	if by.Notify {
		left.Mode = smtp.ByNotify
	}
	left.Seconds = max(-maxSeconds, min(left.Seconds, maxSeconds))
	return left
}

// notify is what a recipient's sender is to hear of from a host that knows nothing of when the message was to come: of delays, too
// (RFC 2852 §4.1.4.2).
func (x *exchange) notify(n mail.Notify) mail.Notify {
	by := x.task.Envelope.By
	switch {
	case by == nil || !by.Notify || n == mail.NotifyNever || x.conn.offered.Has(smtp.DeliverBy):
		return n
	case n == 0:
		return mail.NotifyFailure | mail.NotifyDelay
	}
	return n | mail.NotifyDelay
}

// tooLate tells whether the host cannot be given a message that is to be returned unless it is delivered in time. A host of LMTP delivers
// at once.
func (d *delivery) tooLate(c *conn) bool {
	by := d.task.Envelope.By
	if by == nil || by.Notify || c.peer.lmtp() {
		return false
	}
	left := time.Until(by.Time)
	return !c.offered.Has(smtp.DeliverBy) || left < time.Second || left < c.minBy
}
