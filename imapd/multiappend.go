package imapd

// multiAppend is MULTIAPPEND: APPEND takes one message after another, and files all of them or none (RFC 3502 §6.3.11). Its loop is
// appendCommand's.
func multiAppend() extension { return extension{name: "MULTIAPPEND", rfc: "RFC 3502"} }
