package mime

import "bytes"

// contentFields are the fields that describe a part, by name in lower case: RFC 2045, RFC 2183, RFC 1864, RFC 3282, RFC 2557.
var contentFields = map[string]func(*keeper, *Part, []byte){
	"content-type":              readType,
	"content-transfer-encoding": func(k *keeper, p *Part, v []byte) { p.Encoding = k.word(v) },
	"content-disposition":       readDisposition,
	"content-id":                func(k *keeper, p *Part, v []byte) { p.ID = k.text(v) },
	"content-description":       func(k *keeper, p *Part, v []byte) { p.Description = k.text(v) },
	"content-md5":               func(k *keeper, p *Part, v []byte) { p.MD5 = k.text(v) },
	"content-location":          func(k *keeper, p *Part, v []byte) { p.Location = k.text(v) },
	"content-language":          readLanguages,
}

const (
	maxFieldName = 32  // octets of the longest field name looked for
	maxLanguages = 100 // tags of one Content-Language
)

// readHeader fills a part from its header. Of a field that stands twice the first counts; recipients add up.
func (p *Parser) readHeader(part *Part) {
	depth := len(p.open)
	if depth == 1 || p.open[depth-2].part.Message == part {
		part.Envelope = &Envelope{}
	}
	seen := make(map[string]bool, len(contentFields))
	for field := range Fields(p.header) {
		if len(field.Name) > maxFieldName || len(field.Name) == 0 {
			continue
		}
		var buf [maxFieldName]byte
		name := lower(buf[:copy(buf[:], field.Name)])
		if read := contentFields[string(name)]; read != nil && !seen[string(name)] {
			seen[string(name)] = true
			read(&p.keeper, part, field.Value)
		} else if read := envelopeFields[string(name)]; read != nil && part.Envelope != nil {
			read(&p.keeper, part.Envelope, field.Value)
		}
	}
	p.setDefaults(part)
}

// setDefaults gives a part what its header did not: RFC 2045 §5.2, §6.1, RFC 2046 §5.1.5.
func (p *Parser) setDefaults(part *Part) {
	if part.Encoding == "" {
		part.Encoding = "7bit"
	}
	if part.Type != "" {
		return
	}
	part.Type, part.Subtype, part.Params = "text", "plain", []Param{{"charset", "us-ascii"}}
	if n := len(p.open); n > 1 {
		if parent := p.open[n-2].part; parent.Type == "multipart" && parent.Subtype == "digest" {
			part.Type, part.Subtype, part.Params = "message", "rfc822", nil
		}
	}
}

// readType reads a Content-Type. A value that is none makes text/plain (RFC 2045 §5.2); a multipart without a subtype is mixed.
func readType(k *keeper, p *Part, v []byte) {
	typ, rest := cutWord(v)
	sub, hasSub := []byte(nil), len(rest) > 0 && rest[0] == '/'
	if hasSub {
		sub, rest = cutWord(rest[1:])
	}
	p.Type, p.Subtype = k.keepLower(typ), k.keepLower(sub)
	if p.Type == "multipart" && p.Subtype == "" {
		p.Subtype = "mixed"
	}
	if p.Type == "" || p.Subtype == "" {
		p.Type, p.Subtype = "text", "plain"
		return
	}
	p.Params = readParams(k, rest)
}

func readDisposition(k *keeper, p *Part, v []byte) {
	word, rest := cutWord(v)
	p.Disposition = k.keepLower(word)
	if p.Disposition != "" {
		p.DispParams = readParams(k, rest)
	}
}

func readLanguages(k *keeper, p *Part, v []byte) {
	for tag := range bytes.SplitSeq(v, []byte{','}) {
		word, _ := cutWord(tag)
		if s := k.keep(word); s != "" && len(p.Language) < maxLanguages {
			p.Language = append(p.Language, s)
		}
	}
}

// word is the value's first word in lower case.
func (k *keeper) word(v []byte) string {
	w, _ := cutWord(v)
	return k.keepLower(w)
}

func (k *keeper) keepLower(b []byte) string {
	k.scratch = append(k.scratch[:0], b...)
	return k.keep(lower(k.scratch))
}

// cutWord cuts a token (RFC 2045 §5.1) from the front of v, with the space and comments around it. It takes any octets up to a
// delimiter, of whatever kind.
func cutWord(v []byte) (word, rest []byte) {
	v = skipSpace(v)
	end := bytes.IndexAny(v, " \t\r\n\x00;/=,(\"")
	if end < 0 {
		end = len(v)
	}
	return v[:end], skipSpace(v[end:])
}

// skipSpace passes over white space, line ends and comments (RFC 5322 §3.2.2).
func skipSpace(v []byte) []byte {
	for len(v) > 0 {
		switch v[0] {
		case ' ', '\t', '\r', '\n', 0:
			v = v[1:]
		case '(':
			v = v[commentEnd(v):]
		default:
			return v
		}
	}
	return v
}

// commentEnd is the length of the comment v begins with. Comments nest; one that does not end goes to the end of v.
func commentEnd(v []byte) int {
	depth := 0
	for i := 0; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(v)
}
