package mta

import (
	"strconv"
	"time"

	"posthouse/mail"
	"posthouse/mail/smtp"
)

// minBy (RFC 2852 §2) is the shortest time that a message to be returned may ask for: the hosts of a domain are tried one after the other.
const minBy = time.Minute

// deliverBy is DELIVERBY: RFC 2852 §3.
func deliverBy() extension {
	return extension{
		name:   "DELIVERBY",
		rfc:    "RFC 2852",
		bit:    smtp.DeliverBy,
		params: func(*session) string { return strconv.Itoa(int(minBy / time.Second)) },
		mail: func(_ *session, m *smtp.Mail, t *transaction) smtp.Reply {
			by := time.Duration(m.By.Seconds) * time.Second
			switch {
			case m.By.Mode == 0:
				return smtp.Reply{}
			case m.By.Mode == smtp.ByReturn && by < minBy:
				return replySoon
			}
			t.env.By = &mail.DeliverBy{Time: t.env.Received.Add(by), Notify: m.By.Mode == smtp.ByNotify, Trace: m.By.Trace}
			return smtp.Reply{}
		},
	}
}
