package stage

import (
	"context"

	"posthouse/crypto/dkim"
	"posthouse/mail"
	"posthouse/mail/smtp"
)

// Sign signs what leaves for others, with the keys of the author's domain if we have any (RFC 6376).
type Sign struct {
	// Signer is that of a domain; nil: we have no key for it.
	Signer func(domain string) *dkim.Signer
}

// Name is Stage.
func (Sign) Name() string { return mail.SignStage }

var notSigned = smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{4, 3, 0}, Text: "the message cannot be signed now, try again later"}

// Judge is Stage.
func (s Sign) Judge(_ context.Context, m *Message) Verdict {
	domain := m.Header.authorDomain()
	if domain == "" {
		return Verdict{Result: "none", Detail: "there is not one author domain"}
	}
	signer := s.Signer(domain)
	if signer == nil {
		return Verdict{Result: "none", Detail: domain + " has no key here"}
	}
	fields, err := signer.Sign(m.Content, m.Size)
	if err != nil {
		return Verdict{Result: "temperror", Detail: err.Error()}.answered(notSigned)
	}
	return Verdict{Result: mail.Signed, Detail: domain, Fields: fields}
}
