package imapd

// uidOnly is UIDONLY: RFC 9586. The view writes UIDs where it wrote numbers, and commands with numbers are refused.
func uidOnly() extension {
	return extension{name: "UIDONLY", rfc: "RFC 9586", enable: func(s *session) error {
		s.client.uidOnly = true
		s.view.countByUID()
		return nil
	}}
}
