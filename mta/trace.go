package mta

import (
	"crypto/tls"
	"net/netip"
	"strconv"

	"posthouse/mta/stage"
)

// tlsInfo is what we remember of a handshake; the zero value is no TLS.
type tlsInfo struct{ version, cipher uint16 }

func (t tlsInfo) on() bool { return t.version != 0 }

// names are how stages see it.
func (t tlsInfo) names() stage.TLS {
	if !t.on() {
		return stage.TLS{}
	}
	return stage.TLS{Version: tls.VersionName(t.version), Cipher: tls.CipherSuiteName(t.cipher)}
}

// protocol is the "with" word of the session: RFC 3848, and RFC 6531 §4.3 for SMTPUTF8.
func (s *session) protocol(utf8 bool) string {
	word := s.server.traits.protocol
	switch {
	case utf8:
		word = "UTF8" + word
	case !s.server.traits.lmtp && (s.hello.extended || s.tls.on()):
		word = "E" + word
	}
	if s.tls.on() {
		word += "S"
	}
	if s.account.ID != "" {
		word += "A"
	}
	return word
}

// received is the Received field of RFC 5321 §4.4. It names a recipient only if there is no other who would see it (§7.6).
func (s *session) received(d *incoming) []byte {
	env := d.draft.Envelope()
	b := make([]byte, 0, 512)
	b = append(b, "Received: from "...)
	b = s.appendFrom(b)
	b = append(b, "\r\n\tby "...)
	b = append(b, s.server.opts.Hostname...)
	b = append(b, " with "...)
	b = append(b, env.Origin.Protocol...)
	if s.tls.on() {
		b = append(b, " ("...)
		b = append(b, tls.VersionName(s.tls.version)...)
		b = append(b, ' ')
		b = append(b, tls.CipherSuiteName(s.tls.cipher)...)
		b = append(b, ')')
	}
	b = append(b, "\r\n\tid "...)
	b = append(b, env.ID.String()...)
	b = appendFor(b, s.tx)
	if env.Priority != 0 || s.tx.lowered { // RFC 6710 §4.1
		b = append(b, "\r\n\tPRIORITY "...)
		b = strconv.AppendInt(b, int64(env.Priority), 10)
	}
	b = append(b, "; "...)
	b = env.Received.AppendFormat(b, dateFormat)
	return append(b, "\r\n"...)
}

// hiddenClient stands for the name of a client that is nobody's business: there must be one (RFC 5321 §4.4).
const hiddenClient = "client.invalid"

// appendFrom says who the client is. Where our users are when they write is told to nobody.
func (s *session) appendFrom(b []byte) []byte {
	if s.account.ID != "" && !s.server.opts.ShowClients {
		return append(b, hiddenClient...)
	}
	b = append(b, s.hello.name...)
	if addr := s.remote.Addr(); addr.IsValid() {
		b = append(b, " ("...)
		b = appendLiteral(b, addr)
		b = append(b, ')')
	}
	return b
}

func appendFor(b []byte, t *transaction) []byte {
	if t.taken != 1 {
		return b
	}
	b = append(b, "\r\n\tfor <"...)
	b = append(b, t.first.String()...)
	return append(b, '>')
}

// appendLiteral is an address literal: RFC 5321 §4.1.3.
func appendLiteral(b []byte, addr netip.Addr) []byte {
	b = append(b, '[')
	if addr.Is6() {
		b = append(b, "IPv6:"...)
	}
	b = addr.WithZone("").AppendTo(b)
	return append(b, ']')
}
