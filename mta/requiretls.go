package mta

import (
	"bytes"
	"strings"

	"posthouse/mail"
	"posthouse/mail/mime"
	"posthouse/mail/smtp"
)

// requireTLS is REQUIRETLS: RFC 8689 §2, offered only where the message came over TLS itself.
func requireTLS() extension {
	return extension{
		name:    "REQUIRETLS",
		rfc:     "RFC 8689",
		bit:     smtp.RequireTLS,
		offered: func(s *session) bool { return s.tls.on() },
		mail: func(_ *session, m *smtp.Mail, t *transaction) smtp.Reply {
			if m.RequireTLS {
				t.env.TLS = mail.TLSRequired
			}
			return smtp.Reply{}
		},
	}
}

// noteTLSRequired is the field by which a sender does without TLS; the parameter goes before it: RFC 8689 §4.1.
func noteTLSRequired(env *mail.Envelope, f mime.Field) {
	if env.TLS == mail.TLSByPolicy && strings.EqualFold(string(f.Name), "TLS-Required") && bytes.EqualFold(bytes.TrimSpace(f.Value), []byte("No")) {
		env.TLS = mail.TLSIgnored
	}
}
