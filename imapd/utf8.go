package imapd

// utf8Accept is UTF8=ACCEPT, for clients of IMAP4rev1: names of mailboxes and strings are in UTF-8 (RFC 9755 §3). A message with UTF-8 in
// its header is taken and given as it is by whatever way; the older form of APPEND (RFC 6855 §4) is taken, too.
func utf8Accept() extension {
	return extension{
		name: "UTF8=ACCEPT", rfc: "RFC 9755",
		appends: []appendItem{{"UTF8", func(p *parser, m *appended) bool {
			if !p.Word("UTF8") || !p.SP() || !p.Special('(') || !p.Literal8(&m.body) {
				return false
			}
			m.closes = true
			return true
		}}},
		enable: func(s *session) error {
			s.dialect.utf8, s.dialect.accept = true, true
			return nil
		},
	}
}
