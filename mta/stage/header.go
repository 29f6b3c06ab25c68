package stage

import (
	"bytes"
	"strings"

	"posthouse/mail"
	"posthouse/mail/mime"
)

const maxMessageID = 250 // octets of a Message-ID that are kept, as a key to search by

// Header is what the stages ask of a message's header. It is gathered in one pass, field by field.
type Header struct {
	FromFields int
	HasDate    bool
	MessageID  string   // without its angle brackets; empty: there is none
	Received   int      // how many such fields: hops
	from       [][]byte // the values of the From fields, copied

	dates, messageIDs int      // how many such fields
	deliveredTo       []string // the values of the Delivered-To fields
	eightBit          bool     // an octet above 127 in any field
}

// noted are the fields that a Header looks at.
var noted = map[string]func(h *Header, value []byte){
	"from": func(h *Header, value []byte) {
		if h.FromFields++; h.FromFields > maxFromFields {
			return
		}
		h.from = append(h.from, bytes.Clone(value))
	},
	"date": func(h *Header, _ []byte) {
		h.HasDate = true
		h.dates++
	},
	"delivered-to": func(h *Header, value []byte) {
		if len(h.deliveredTo) < maxDelivered {
			h.deliveredTo = append(h.deliveredTo, strings.Trim(string(value), " \t\r\n<>"))
		}
	},
	"received": func(h *Header, _ []byte) { h.Received++ },
	"message-id": func(h *Header, value []byte) {
		h.messageIDs++
		if h.MessageID == "" {
			id := bytes.Trim(bytes.TrimSpace(value), "<>")
			h.MessageID = strings.ToValidUTF8(string(id[:min(len(id), maxMessageID)]), "?")
		}
	},
}

const (
	maxFromFields = 10  // more say nothing new: one is too many already
	maxDelivered  = 100 // Delivered-To fields that are looked at
)

// Note takes a field into account.
func (h *Header) Note(f mime.Field) {
	h.eightBit = h.eightBit || !mail.IsASCII(f.Raw)
	var name [16]byte
	if len(f.Name) > len(name) {
		return
	}
	if note, ok := noted[string(lower(name[:copy(name[:], f.Name)]))]; ok {
		note(h, f.Value)
	}
}

func lower(b []byte) []byte {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return b
}

// Authors are the mailboxes of the From field, or of all of them, groups dissolved.
func (h *Header) Authors() []mime.Address {
	var authors []mime.Address
	for _, value := range h.from {
		for _, a := range mime.ParseAddresses(value) {
			if a.Group == mime.NoGroup {
				authors = append(authors, a)
			}
		}
	}
	return authors
}

// authorDomains are the different domains of the authors; an author without a readable one counts as "".
func (h *Header) authorDomains() []string {
	var domains []string
	seen := map[string]bool{}
	for _, a := range h.Authors() {
		domain, err := mail.ParseDomain(a.Host)
		if err != nil {
			domain = ""
		}
		if !seen[domain] {
			seen[domain] = true
			domains = append(domains, domain)
		}
	}
	return domains
}

// authorDomain is the one domain of a message's authors; empty if there is not just one From field with just one domain.
func (h *Header) authorDomain() string {
	if domains := h.authorDomains(); h.FromFields == 1 && len(domains) == 1 {
		return domains[0]
	}
	return ""
}
